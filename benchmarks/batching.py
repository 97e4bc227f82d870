"""What it would save to hear the questions of several requests in one batch, which the service does not do.

    python benchmarks/batching.py
    python benchmarks/batching.py --hubert /tmp/full-size/hubert --device cuda

Questions of five seconds, as long as each other, so that nothing is padded: the best case. They are heard one by one,
as the worker does, and all together, in turns. Beside the seconds for all stands after how many, on average, the
first one is heard: in a batch it waits for everybody.
"""

import argparse
import statistics
from functools import partial

import numpy as np
import torch
from big_pair import machine, recording
from timing import in_turns

from hubert_llama.audio import SAMPLING_RATE
from hubert_llama.hubert import MAX_BATCH, SpeechEncoder
from hubert_llama.models.device import DeviceConfig
from hubert_llama.models.profiles import PROFILES


def questions(n: int, seconds: float) -> list[np.ndarray]:
    """So many stretches of speech, from the notebooks' clips over and over."""
    samples = round(seconds * SAMPLING_RATE)
    return [*recording(n * seconds + 1)[: n * samples].reshape(n, samples)]


def one_by_one(encoder: SpeechEncoder, sounds: list[np.ndarray]) -> None:
    """As requests come."""
    for sound in sounds:
        encoder.encode([sound])


def main() -> None:
    """Measure and print a row for each number of requests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hubert", default=PROFILES["mini"].hubert, help="hub id or folder (default: the bundled one)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--requests", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each question (default: %(default)g)")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    if max(args.requests) * args.seconds > MAX_BATCH:
        parser.error(f"A batch holds {MAX_BATCH:g} s: fewer --requests, or shorter ones.")
    torch.set_num_threads(args.threads)
    encoder = SpeechEncoder.from_pretrained(args.hubert, DeviceConfig(args.device))
    dtype = str(encoder.dtype).removeprefix("torch.")
    print(f"{machine()}, {args.threads} threads, {encoder.device}, {dtype}\n")
    print("| requests | one by one, s | the first after | together, s | ratio |\n|---|---|---|---|---|")
    for n in args.requests:
        sounds = questions(n, args.seconds)
        ways = {"apart": partial(one_by_one, encoder, sounds), "together": partial(encoder.encode, sounds)}
        times = in_turns(ways, args.repeats)
        apart, together = (statistics.median(times[how]) for how in ways)
        shown = {how: f"{statistics.median(t):.3f} ({min(t):.3f}–{max(t):.3f})" for how, t in times.items()}
        row = f"| {n} | {shown['apart']} | {apart / n:.3f} | {shown['together']} | {apart / together:.2f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
