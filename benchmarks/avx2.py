"""Run a command as on a CPU that has AVX2 and nothing more, as most have.

    python benchmarks/avx2.py python benchmarks/decode.py
    python benchmarks/avx2.py hubert-llama serve

numba compiles for such a CPU (and keeps what it compiled apart), PyTorch and oneDNN choose its kernels.
"""

import argparse
import os

from llvmlite import binding

FEATURES = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.1", "sse4.2", "ssse3")
AVX2_ONLY = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": ",".join(f"+{name}" for name in FEATURES),
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}


def main() -> None:
    """Become the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="a program and its arguments")
    command = parser.parse_args().command
    if not command:
        parser.error("name a command to run")
    has = binding.get_host_cpu_features()
    if missing := [name for name in FEATURES if not has.get(name)]:
        raise SystemExit(f"This CPU lacks {', '.join(missing)}: it can pretend to have less, not more.")
    os.execvpe(command[0], command, {**os.environ, **AVX2_ONLY})


if __name__ == "__main__":
    main()
