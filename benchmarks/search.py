"""What reading emissions costs a second of sound, and what is read, on recordings and on the worst of letters.

    python benchmarks/search.py ../shared/speech/manifest.jsonl --where split=dev --clips 40
    python benchmarks/search.py ../shared/speech/manifest.jsonl --where split=dev --clips 40 --beams 100 300 600

A reading is the search, the totals of its list, what the sound allows of it, and the words' times and confidence.
Its seconds are the processor's, of one thread, the median and the worst over recordings. "Weighed" is the most
partial readings that any frame made, beside the bound that `BeamConfig` gives. The worst of letters are made here:
all alike, random ones, recordings joined to half a minute, and those with a context of 6000 words.
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from hubert_llama.audio import FRAME_STRIDE, SAMPLING_RATE, load_audio
from hubert_llama.hubert import Encoding, SpeechEncoder
from hubert_llama.measure.manifest import read_manifest
from hubert_llama.models.device import DeviceConfig
from hubert_llama.models.profiles import choose_profile
from hubert_llama.words.confidence import Calibration
from hubert_llama.words.ctc import edit_distance, letters
from hubert_llama.words.recogniser import Recogniser
from hubert_llama.words.search import BeamSearch, ContextWords

LONG = 30.0  # seconds, the longest segment
WORDS = 6000  # of the long context
HEAD = "| what | greedy | read | best of list | median | worst | weighed | bound |\n|---|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Heard:
    """Emissions, and what was said."""

    encoding: Encoding
    said: list[str]  # words; empty where nothing is known

    @property
    def seconds(self) -> float:
        """Of sound."""
        return len(self.encoding.emissions) * FRAME_STRIDE / SAMPLING_RATE


def made(encoder: SpeechEncoder, emissions: np.ndarray) -> Heard:
    """Emissions that no recording stands behind."""
    return Heard(Encoding(emissions, encoder.read(emissions), hidden_size=1), [])


def weighed(search: BeamSearch, heard: Heard, words: ContextWords) -> int:
    """The most partial readings that a frame makes."""
    decoding = search.start(words, letters(heard.encoding.text))
    decoding.advance(search.leaning(heard.encoding.emissions, words.new))
    return decoding.most_weighed


def row(name: str, recogniser: Recogniser, heard: list[Heard], words: ContextWords = ContextWords()) -> str:
    """A row of the table."""
    search, errors, costs = recogniser.search, np.zeros(3), []
    for h in heard:
        start = time.process_time()
        reading = recogniser.read(h.encoding, 0.0, words)
        recogniser.words(reading, reading.text)
        costs.append((time.process_time() - start) / h.seconds)
        listed = [x.text for x in reading.hypotheses] or [reading.text]
        first = [edit_distance(h.said, letters(text).split()) for text in (reading.greedy, reading.text)]
        errors += [*first, min(edit_distance(h.said, text.split()) for text in listed)]
    n = sum(len(h.said) for h in heard)
    rates = [f"{100 * e / n:.1f} %" if n else "–" for e in errors]
    most = max(weighed(search, h, words) for h in heard)
    figures = [*rates, f"{np.median(costs):.3f} s", f"{max(costs):.3f} s", str(most), str(search.config.most_weighed)]
    return f"| {name} | {' | '.join(figures)} |"


def long_context(search: BeamSearch) -> str:
    """Rare words of the vocabulary, and some that it lacks."""
    rare = sorted(w for w in search.lm.words if search.lm.score((), w) < search.config.rare and len(w) > 3)
    new = [word[::-1] for word in rare[:: max(1, len(rare) // 500)]]
    return " ".join([*new, *rare][:WORDS])


def worst(encoder: SpeechEncoder, search: BeamSearch, heard: list[Heard]) -> Iterable[tuple[str, Heard, ContextWords]]:
    """The worst of letters, each half a minute."""
    frames, V = int(LONG * SAMPLING_RATE / FRAME_STRIDE), len(encoder.labels)
    alike = np.full((frames, V), -np.log(V), np.float32)
    random = np.log(np.random.default_rng(0).dirichlet(np.ones(V), frames)).astype(np.float32)
    joined = np.concatenate([h.encoding.emissions for h in heard])[:frames]
    nothing = ContextWords()
    yield "letters all alike, 30 s", made(encoder, alike), nothing
    yield "random letters, 30 s", made(encoder, random), nothing
    yield "recordings joined, 30 s", made(encoder, joined), nothing
    yield f"the same, a context of {WORDS} words", made(encoder, joined), search.words_of(long_context(search))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--where", nargs="*", default=[], metavar="FIELD=VALUE", help="only such lines of the manifest")
    parser.add_argument("--clips", type=int, default=40, help="recordings of each corpus (default: %(default)s)")
    parser.add_argument("--beams", type=int, nargs="+", default=[300], help="partial readings kept (default: 300)")
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--hubert", help="another HuBERT: hub id or folder")
    parser.add_argument("--language-model", help="of another HuBERT's folder")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    args = parse_args()
    torch.set_num_threads(1)
    name = choose_profile(args.profile, args.hubert, None).hubert
    encoder = SpeechEncoder.from_pretrained(name, DeviceConfig("cpu"))
    search = BeamSearch.from_pretrained(args.language_model or name, encoder.labels)
    if not isinstance(search, BeamSearch):
        raise SystemExit(f"{name} has no language model: name one with --language-model.")
    spoken = [u for u in read_manifest(args.manifest, dict(x.split("=", 1) for x in args.where)) if letters(u.text)]
    corpora = {
        corpus: [
            Heard(encoder.encode([load_audio(u.audio)])[0], letters(u.text).split())
            for u in [u for u in spoken if u.corpus == corpus][: args.clips]
        ]
        for corpus in sorted({u.corpus for u in spoken})
    }
    print("Wrong words (%), and processor seconds a second of sound\n\n" + HEAD)
    calibration = Calibration.from_folder(name) or Calibration()
    for beam in args.beams:
        own = BeamSearch(search.labels, search.lm, replace(search.config, beam=beam))
        recogniser = Recogniser(encoder.labels, own, calibration)
        own.tree()
        for corpus, heard in corpora.items():
            title = f"{corpus or 'recordings'}, {len(heard)}, beam {beam}"
            print(row(title, recogniser, heard), flush=True)
        everything = [h for heard in corpora.values() for h in heard]
        for title, one, words in worst(encoder, own, everything):
            own.tree(words.new)
            print(row(f"{title}, beam {beam}", recogniser, [one], words), flush=True)


if __name__ == "__main__":
    main()
