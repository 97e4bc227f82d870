"""How fast the matrices of Llama 3 8B are on this CPU, in four bits: ours, bitsandbytes', and unquantised bf16.

    python benchmarks/llama.py
    python benchmarks/llama.py --rows 1 64 512 --repeats 5

One layer's seven matrices (random; speed does not depend on what the weights are) are multiplied by so many rows: one
is a token being written, many are a prompt being read. Printed for the whole model: 32 times the layer, and the
output layer (bf16) for one row; attention itself is left out, which is a few percent for short prompts. From these
figures follows what choosing among readings costs at this size, printed below. Needs 4 GB of memory.
"""

import argparse
import random
import statistics
from functools import partial

import bitsandbytes as bnb
import torch
from timing import in_turns, timed

from hubert_llama.fast.linear import NEVER, Linear4bit, unpacking_threshold
from hubert_llama.fast.matmul import has_kernel
from hubert_llama.fast.nf4 import quantize
from hubert_llama.llama import _tree

LAYERS, WIDTH, VOCABULARY = 32, 4096, 128_256
SHAPES = {
    "q": (4096, 4096),
    "k": (1024, 4096),
    "v": (1024, 4096),
    "o": (4096, 4096),
    "gate": (14_336, 4096),
    "up": (14_336, 4096),
    "down": (4096, 14_336),
}
PROMPT = 160  # tokens of a conversation without course context
ASKING = 12  # of asking what a student may say
READING = 12  # of a spoken question
READINGS = 16  # to choose from


def ours(weight: torch.Tensor) -> torch.nn.Module:
    """A matrix in this project's four bits."""
    return Linear4bit(*quantize(weight))


def theirs(weight: torch.Tensor) -> torch.nn.Module:
    """A matrix as transformers loads it with bitsandbytes."""
    linear = bnb.nn.Linear4bit(
        weight.shape[1], weight.shape[0], bias=False, compute_dtype=torch.bfloat16, quant_type="nf4"
    )
    linear.weight = bnb.nn.Params4bit(weight.clone(), requires_grad=False, quant_type="nf4")
    return linear.to("cpu").eval()


def unquantised(weight: torch.Tensor) -> torch.nn.Module:
    """A matrix in bf16."""
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.bfloat16)
    linear.weight = torch.nn.Parameter(weight, requires_grad=False)
    return linear


WAYS = {"ours": ours, "bitsandbytes": theirs, "bf16": unquantised}


def time_layer(rows: list[int], repeats: int) -> dict[str, dict[int, list[float]]]:
    """Seconds of the seven matrices in each way and for each number of rows, turn by turn: the ways take turns."""
    seconds = {way: {m: [0.0] * repeats for m in rows} for way in WAYS}
    for n, k in SHAPES.values():
        weight = (torch.randn(n, k) * 0.02).bfloat16()
        linear = {way: make(weight) for way, make in WAYS.items()}
        for m in rows:
            x = torch.randn(m, k).bfloat16()
            for way, times in in_turns({way: partial(layer, x) for way, layer in linear.items()}, repeats).items():
                seconds[way][m] = [a + b for a, b in zip(seconds[way][m], times, strict=True)]
    return seconds


def bare_bytes(m: int, repeats: int) -> list[float]:
    """Seconds of oneDNN's products of bytes of the layer's shapes, without scales: except with AMX, a CPU's limit."""
    seconds = [0.0] * repeats
    for n, k in SHAPES.values():
        rows, weight = (torch.randint(-127, 128, shape, dtype=torch.int8) for shape in ((m, k), (n, k)))
        times = timed(partial(torch._int_mm, rows, weight.t()), repeats)
        seconds = [a + b for a, b in zip(seconds, times, strict=True)]
    return seconds


def tokens_a_second(layer: list[float], head: float, m: int) -> str:
    """Of the whole model, from one layer's times and the output layer's: median and least to most."""
    rates = [m / (LAYERS * seconds + head) for seconds in layer]
    return f"{statistics.median(rates):.1f} ({min(rates):.1f}–{max(rates):.1f})"


def readings() -> int:
    """Tokens of a tree of readings, each of which differs from the first in one place."""
    draw, first = random.Random(0), list(range(READING))
    changed = [(draw.randrange(READING), READING + i) for i in range(READINGS - 1)]
    return len(_tree([first, *([*first[:at], token, *first[at + 1 :]] for at, token in changed)]).tokens)


def choosing(layer: dict[int, float], head: dict[int, float]) -> str:
    """What choosing among readings adds to the time to a transcript, from a layer's times and the output layer's."""
    rows = readings()
    whole = {m: LAYERS * layer[m] + head.get(m, head[1]) for m in layer}
    read, write, weigh = whole[PROMPT], READING * whole[1], whole[ASKING] + whole[rows]
    return (
        f"A question of {READING} tokens, {READINGS} readings: reading the prompt {read:.1f} s, "
        f"writing the transcript {write:.1f} s, weighing the readings {weigh:.1f} s "
        f"(a pass of {ASKING} rows, and one of {rows} for a tree of them): "
        f"choosing adds {100 * weigh / (read + write):.0f} % to Llama's part of the time to the transcript."
    )


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 64, 256, 512])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    rows = sorted({*args.rows, 1, ASKING, readings(), PROMPT})
    output = unquantised((torch.randn(VOCABULARY, WIDTH) * 0.02).bfloat16())
    inputs = {m: torch.randn(m, WIDTH).bfloat16() for m in (1, readings())}
    head = {m: statistics.median(timed(partial(output, x), args.repeats)) for m, x in inputs.items()}
    del output
    kernel, threshold = "yes" if has_kernel() else "no", unpacking_threshold()
    print(f"{torch.get_num_threads()} threads, kernel for bytes: {kernel}, ", end="")
    print(f"unpacking first from {'no' if threshold == NEVER else threshold} rows on\n")
    print("| rows | " + " | ".join(f"{m}" for m in rows) + " |" + "\n|---" + "|---" * len(rows) + "|")
    layers = time_layer(rows, args.repeats)
    for name, times in layers.items():
        print(f"| {name}, tokens a second | " + " | ".join(tokens_a_second(times[m], head[1], m) for m in rows) + " |")
    turns = {m: zip(layers["ours"][m], layers["bitsandbytes"][m], strict=True) for m in rows}
    ratios = [f"{statistics.median(theirs / ours for ours, theirs in turns[m]):.1f}" for m in rows]
    print("| ours to bitsandbytes, turn by turn | " + " | ".join(ratios) + " |")
    bare = tokens_a_second(bare_bytes(rows[-1], args.repeats), head[1], rows[-1])
    print(f"\nBytes without scales, by oneDNN, {rows[-1]} rows: {bare} tokens a second.")
    print("\n" + choosing({m: statistics.median(times) for m, times in layers["ours"].items()}, head))


if __name__ == "__main__":
    main()
