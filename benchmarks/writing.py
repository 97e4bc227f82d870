"""Llama 3 8B in four bits reading and writing, beside llama.cpp, in turns: a machine's speed changes by the minute.

    pip install xllamacpp gguf
    python benchmarks/full_size.py /tmp/full-size
    python benchmarks/writing.py /tmp/full-size --threads 2

One reads a prompt and writes --new tokens after it, then the other, and so on for --rounds, of which --prompts begin
with a new prompt. The four-bit codes are those that benchmarks/big_pair.py makes (FOLDER/home), the file of llama.cpp
that of benchmarks/llama_cpp.py; both are made when they are not there. In each round the memory is read once, too:
what that allows is the bound.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROMPT_TOKENS = 512
Round = Callable[[bool], dict]  # told whether to read a new prompt first, the figures of a round


def ours(folder: Path, new: int) -> Round:
    """Seconds a token, and the bytes that a token reads."""
    import torch
    from big_pair import bytes_in_4_bit, read_bandwidth

    from hubert_llama.llama import ChatLlama, prefill
    from hubert_llama.models.device import DeviceConfig

    llama = ChatLlama.from_pretrained(str(folder / "llama"), DeviceConfig("cpu"), load_in_4bit=True)
    read = bytes_in_4_bit(llama.model)

    def one(reads: bool) -> dict:
        """A round."""
        figures = {}
        if reads:
            llama.prefix.clear()
            start = time.perf_counter()
            prefill(llama, torch.randint(0, 100_000, (PROMPT_TOKENS,)).tolist(), lambda: False)
            figures["reading"] = (time.perf_counter() - start) / PROMPT_TOKENS
        llama.prefix.keep(PROMPT_TOKENS)
        prefill(llama, [1], lambda: False)
        start = time.perf_counter()
        for _ in range(new):
            token = int(prefill(llama, [1], lambda: False)[-1].argmax()) % 2 + 1
        return {
            **figures,
            "writing": (time.perf_counter() - start) / new,
            "bytes": read,
            "GB/s": read_bandwidth(),
            "last": token,
        }

    return one


def theirs(folder: Path, new: int, threads: int) -> Round:
    """Seconds a token, by llama.cpp's own clock."""
    import numpy as np
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.warmup, p.verbosity = str(folder / "llama-32.gguf"), 1024, 1, False, -1
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
    server, rng, prompt = xllamacpp.Server(p), np.random.default_rng(1), []

    def one(reads: bool) -> dict:
        """A round."""
        if reads:
            prompt[:] = rng.integers(0, 100_000, PROMPT_TOKENS).tolist()
        asked = {"prompt": prompt, "n_predict": new, "cache_prompt": True, "ignore_eos": True, "temperature": 0}
        answer = server.handle_completions(asked)
        timings = (json.loads(answer) if isinstance(answer, (str, bytes)) else answer)["timings"]
        figures = {"reading": 1 / timings["prompt_per_second"]} if reads else {}
        seconds = timings["predicted_ms"] / 1000 / (timings["predicted_n"] - 1)  # from the first token on
        return {**figures, "writing": seconds}

    return one


def serve(one: Round) -> None:
    """A round for each line that comes."""
    answers = os.fdopen(os.dup(1), "w")  # llama.cpp prints what it likes
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(one(line.strip() == "read")), file=answers, flush=True)


def child(who: str, args: argparse.Namespace) -> Round:
    """A process that has one of the two loaded; call it for a round."""
    options = {"--part": who, "--threads": args.threads, "--new": args.new}
    command = [sys.executable, __file__, str(args.folder), *(str(x) for option in options.items() for x in option)]
    env = {**os.environ, "HF_HOME": str(args.folder / "home"), "OMP_NUM_THREADS": str(args.threads)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def one(reads: bool) -> dict:
        """Ask, and wait."""
        print("read" if reads else "", file=process.stdin, flush=True)
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
    parser.add_argument(
        "--prompts",
        type=int,
        default=3,
        help="rounds, the first ones, that begin with a new prompt (default: %(default)s)",
    )
    parser.add_argument("--new", type=int, default=16, help="tokens written in a round (default: %(default)s)")
    parser.add_argument("--part", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part == "theirs":
        serve(theirs(args.folder, args.new, args.threads))
    elif args.part == "ours":
        serve(ours(args.folder, args.new))
    else:
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Measure both in turns, each in a process of its own, and print."""
    from llama_cpp import write_gguf

    if not (args.folder / "llama-32.gguf").exists():
        write_gguf(args.folder / "llama-32.gguf", 32)
    two = {who: child(who, args) for who in ("ours", "theirs")}
    for one in two.values():
        one(True)  # not counted: what is in no cache yet
    rounds = [{who: one(i < args.prompts) for who, one in two.items()} for i in range(args.rounds)]
    print_rounds(rounds, args)


def shown(numbers: list[float]) -> str:
    """Median (least–most)."""
    return f"{statistics.median(numbers):.2f} ({min(numbers):.2f}–{max(numbers):.2f})"


def print_rounds(rounds: list[dict[str, dict]], args: argparse.Namespace) -> None:
    """A table of reading and writing, and what the memory allows."""
    from big_pair import machine

    print(
        f"{machine()}, {args.threads} threads, {args.prompts} prompts of {PROMPT_TOKENS} tokens, "
        f"{args.rounds} rounds of {args.new} tokens after one: median (least–most)\n"
    )
    print("| tokens a second | reading | writing |\n|---|---|---|")
    did = {what: [r for r in rounds if what in r["ours"]] for what in ("reading", "writing")}
    for who, name in (("ours", "this project"), ("theirs", "llama.cpp, Q4_K_M")):
        print(f"| {name} | " + " | ".join(shown([1 / r[who][what] for r in of]) for what, of in did.items()) + " |")
    ratios = (shown([r["theirs"][what] / r["ours"][what] for r in of]) for what, of in did.items())
    print(f"| ratio, round by round | {' | '.join(ratios)} |")
    rates, read = [r["ours"]["GB/s"] for r in rounds], rounds[0]["ours"]["bytes"] / 1e9
    bound = shown([rate / read for rate in rates])
    print(f"| bound: {read:.2f} GB a token at the memory's {shown(rates)} GB/s | | {bound} |")


if __name__ == "__main__":
    main()
