"""Which beam search reads emissions best: flashlight-text over words or over letters, or one of our own in numba.

    python training/held_out.py --out build/held-out
    python benchmarks/beam_search.py build/held-out/manifest.jsonl --clips 60
    python benchmarks/beam_search.py build/held-out/manifest.jsonl --clips 60 --beams 60 150 300

Printed for each: milliseconds a clip, the share of wrong words of its first reading and of the best of its first
eight (what a perfect choice among them would leave), with 95 % bootstrap intervals over recordings.
"""

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numba import njit

from hubert_llama.audio import load_audio
from hubert_llama.hubert import SpeechEncoder
from hubert_llama.measure.manifest import read_manifest
from hubert_llama.measure.score import interval
from hubert_llama.models import hub
from hubert_llama.models.device import DeviceConfig
from hubert_llama.models.profiles import choose_profile
from hubert_llama.words.ctc import edit_distance, letters
from hubert_llama.words.search import BeamSearch, LetterSearch

BEST_OF = 8
Read = Callable[[np.ndarray], list[str]]  # emissions -> readings, the best first


@njit
def prefix_beam_search(
    emissions: np.ndarray, blank: int, beam: int, symbols: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CTC prefix beam search (Graves and Jaitly 2014): a tree's parents and symbols, and the last beam's nodes."""
    T, V = emissions.shape
    parent, symbol, n = np.full(1 + T * beam * symbols, -1), np.full(1 + T * beam * symbols, -1), 1
    children = {-1: 0}  # node * V + symbol -> node
    beams = np.zeros(1, np.int64)
    scores = np.array([[0.0, -np.inf]])  # log-probability of ending in a blank, and in the symbol
    for t in range(T):
        tried, where = np.argsort(-emissions[t])[:symbols], {-1: 0}
        nodes = np.empty(len(beams) * (symbols + 1), np.int64)
        new, count = np.full((len(nodes), 2), -np.inf), 0
        for i in range(len(beams)):
            node, both = beams[i], np.logaddexp(scores[i, 0], scores[i, 1])
            for v in tried:
                for same in range(
                    2 if v == symbol[node] else 1
                ):  # a repeated symbol stays, or comes anew after a blank
                    stays = v == blank or same == 1
                    key = node * V + v
                    if not stays and key not in children:
                        children[key], parent[n], symbol[n] = n, node, v
                        n += 1
                    to = node if stays else children[key]
                    if to not in where:
                        where[to], nodes[count] = count, to
                        count += 1
                    gained = (
                        both if v == blank or v != symbol[node] else scores[i, 1] if same else scores[i, 0]
                    ) + emissions[t, v]
                    k, side = where[to], 0 if v == blank else 1
                    new[k, side] = np.logaddexp(new[k, side], gained)
        order = np.argsort(-np.logaddexp(new[:count, 0], new[:count, 1]))[:beam]
        beams, scores = nodes[order], new[order]
    return parent, symbol, beams


def ours(labels: list[str], beam: int) -> Read:
    """The numba search, over letters."""

    def read(emissions: np.ndarray) -> list[str]:
        """Follow the best nodes up to the root."""
        parent, symbol, beams = prefix_beam_search(emissions.astype(np.float64), 0, beam, 14)
        readings = []
        for node in beams[:BEST_OF]:
            spelt = []
            while node > 0:
                spelt.append(labels[symbol[node]])
                node = parent[node]
            readings.append(letters("".join(reversed(spelt)).replace("|", " ")))
        return readings

    return read


def flashlight_letters(labels: list[str], beam: int) -> Read:
    """flashlight's search without a vocabulary or a language model: the service's, for a HuBERT that has none."""
    search = LetterSearch(labels, beam)
    return lambda emissions: [h.text for h in search(emissions, BEST_OF)]


def flashlight_words(search: BeamSearch, beam: int) -> Read:
    """The service's own."""
    search = BeamSearch(search.labels, search.lm, replace(search.config, beam=beam))
    return lambda emissions: [h.text for h in search(emissions, BEST_OF)]


def measure(name: str, read: Read, heard: list[tuple[np.ndarray, list[str]]]) -> str:
    """A row of the table."""
    read(heard[0][0])  # compiling, and the tree of the vocabulary
    seconds, first, best = [], [], []
    for emissions, said in heard:
        start = time.perf_counter()
        readings = [reading.split() for reading in read(emissions)] or [[]]
        seconds.append(time.perf_counter() - start)
        first.append(edit_distance(said, readings[0]))
        best.append(min(edit_distance(said, reading) for reading in readings))
    words = [len(said) for _, said in heard]
    rates = (f"{100 * sum(e) / sum(words):.1f} ({interval(e, words)})" for e in (first, best))
    return f"| {name} | {1000 * np.median(seconds):.0f} | {' | '.join(rates)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument(
        "--clips", type=int, default=60, help="so many recordings, drawn at random (default: %(default)s)"
    )
    parser.add_argument("--beams", type=int, nargs="+", default=[300], help="readings kept (default: 300)")
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--hubert", help="another HuBERT with a language model: hub id or folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    name = choose_profile(args.profile, args.hubert, None).hubert
    encoder = SpeechEncoder.from_pretrained(name, DeviceConfig("cpu"))
    search = BeamSearch.from_pretrained(name, encoder.labels)
    if not isinstance(search, BeamSearch):
        raise SystemExit(f"{name} ({hub.fetch(name)}) has no language model: name a HuBERT that brings one.")
    spoken = [u for u in read_manifest(args.manifest) if letters(u.text)]
    drawn = random.Random(0).sample(spoken, min(args.clips, len(spoken)))
    heard = [(encoder.encode([load_audio(u.audio)])[0].emissions, letters(u.text).split()) for u in drawn]
    print(f"{len(heard)} recordings, {sum(len(words) for _, words in heard)} words, one thread\n")
    print(
        f"| search | ms a clip | first reading, wrong words % | best of {BEST_OF}, wrong words % |\n|---|---|---|---|"
    )
    print(measure("no search: the best symbol of each frame", lambda e: [letters(encoder.read(e))], heard), flush=True)
    for beam in args.beams:
        for title, read in (
            (f"numba, letters, beam {beam}", ours(encoder.labels, beam)),
            (f"flashlight-text, letters, beam {beam}", flashlight_letters(encoder.labels, beam)),
            (f"flashlight-text, words and their pairs, beam {beam}", flashlight_words(search, beam)),
        ):
            print(measure(title, read, heard), flush=True)


if __name__ == "__main__":
    main()
