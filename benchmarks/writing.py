"""Llama 3 8B in four bits writing, beside llama.cpp, in turns: the memory's speed changes from minute to minute, and both are as fast as it.

    pip install xllamacpp gguf
    python benchmarks/full_size.py /tmp/full-size
    python benchmarks/writing.py /tmp/full-size --threads 2

Both have read the same number of tokens; then one writes --new tokens, then the other, and so on for --rounds. The four-bit codes are those that
benchmarks/big_pair.py makes (FOLDER/home), the file of llama.cpp that of benchmarks/llama_cpp.py; both are made when they are not there. In each round the memory is read once, too: what that allows is the bound.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROMPT_TOKENS = 512


def ours(folder: Path, new: int) -> Iterator[dict]:
    """Seconds a token, and the bytes that a token reads; a round each time it is asked."""
    import torch
    from big_pair import bytes_in_4_bit, read_bandwidth

    from hubert_llama.hubert import DeviceConfig
    from hubert_llama.llama import ChatLlama, _prefill

    llama = ChatLlama.from_pretrained(str(folder / "llama"), DeviceConfig("cpu"), load_in_4bit=True)
    read = bytes_in_4_bit(llama.model)
    _prefill(llama, torch.randint(0, 100_000, (PROMPT_TOKENS,)).tolist(), lambda: False)
    while True:
        llama.prefix.keep(PROMPT_TOKENS)
        _prefill(llama, [1], lambda: False)
        start = time.perf_counter()
        for _ in range(new):
            token = int(_prefill(llama, [1], lambda: False)[-1].argmax()) % 2 + 1
        yield {"seconds": (time.perf_counter() - start) / new, "bytes": read, "GB/s": read_bandwidth(), "last": token}


def theirs(folder: Path, new: int, threads: int) -> Iterator[dict]:
    """Seconds a token, by llama.cpp's own clock."""
    import numpy as np
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.warmup, p.verbosity = str(folder / "llama-32.gguf"), 1024, 1, False, -1
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
    server, prompt = xllamacpp.Server(p), np.random.default_rng(1).integers(0, 100_000, PROMPT_TOKENS).tolist()
    while True:
        told = server.handle_completions({"prompt": prompt, "n_predict": new, "cache_prompt": True, "ignore_eos": True, "temperature": 0})
        timings = (json.loads(told) if isinstance(told, (str, bytes)) else told)["timings"]
        yield {"seconds": timings["predicted_ms"] / 1000 / (timings["predicted_n"] - 1)}  # its clock starts when the first token is there


def serve(rounds: Iterator[dict]) -> None:
    """A round for each line that comes."""
    answers = os.fdopen(os.dup(1), "w")  # llama.cpp prints what it likes
    os.dup2(2, 1)
    for _ in sys.stdin:
        print(json.dumps(next(rounds)), file=answers, flush=True)


def child(who: str, args: argparse.Namespace) -> Callable[[], dict]:
    """A process that has one of the two loaded; call it for a round."""
    command = [sys.executable, __file__, str(args.folder), "--part", who, "--threads", str(args.threads), "--new", str(args.new)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "HF_HOME": str(args.folder / "home"), "OMP_NUM_THREADS": str(args.threads)})

    def one() -> dict:
        """Ask, and wait."""
        print(file=process.stdin, flush=True)
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{who}: the process ended; its error is above.")
        return json.loads(line)

    return one


def main() -> None:
    """Measure in turns and print, or, told so, serve one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where benchmarks/full_size.py put the checkpoints")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--new", type=int, default=16, help="tokens written in a round (default: %(default)s)")
    parser.add_argument("--part", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part == "theirs":
        return serve(theirs(args.folder, args.new, args.threads))
    if args.part == "ours":
        return serve(ours(args.folder, args.new))
    from big_pair import machine
    from llama_cpp import write_gguf

    if not (args.folder / "llama-32.gguf").exists():
        write_gguf(args.folder / "llama-32.gguf", 32)
    two = {who: child(who, args) for who in ("ours", "theirs")}
    for one in two.values():
        one()  # reads the prompt
    rounds = [{who: one() for who, one in two.items()} for _ in range(args.rounds)]
    shown = lambda numbers: f"{statistics.median(numbers):.2f} ({min(numbers):.2f}–{max(numbers):.2f})"
    print(f"{machine()}, {args.threads} threads, after {PROMPT_TOKENS} tokens, {args.rounds} rounds of {args.new}: median (least–most)\n")
    print(f"| tokens a second | |\n|---|---|\n| this project | {shown([1 / r['ours']['seconds'] for r in rounds])} |\n| llama.cpp, Q4_K_M | {shown([1 / r['theirs']['seconds'] for r in rounds])} |")
    print(f"| ratio, round by round | {shown([r['theirs']['seconds'] / r['ours']['seconds'] for r in rounds])} |")
    print(f"| bound: {rounds[0]['ours']['bytes'] / 1e9:.2f} GB a token at the memory's {shown([r['ours']['GB/s'] for r in rounds])} GB/s | {shown([1e9 * r['ours']['GB/s'] / r['ours']['bytes'] for r in rounds])} |")


if __name__ == "__main__":
    main()
