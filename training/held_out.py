"""Recordings to measure the whole service on, as a manifest for `hubert-llama evaluate`: nothing in it was trained on.

    python training/held_out.py --out build/held-out
    hubert-llama evaluate build/held-out/manifest.jsonl --profile mini --out build/results

Sentences of the curriculum that training never saw, in voices that it never heard; students' questions in unseen phrasings, with
contexts, and what their answers must carry; and a hundred recordings in which nobody speaks. Everything follows from the seed. It needs
espeak-ng, festival with the voice cmu_us_slt_arctic_hts, and WordNet (Debian: espeak-ng festival festvox-us-slt-hts wordnet).
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from speech import HELD_OUT_ESPEAK, Job, glosses, load_sentences, speak, test_jobs
from tutor import Turn, load_material, make_turns, plain

from hubert_llama.audio import SAMPLING_RATE

QUESTIONS = {"passage": 80, "invented": 40, "definition": 80, "arithmetic": 60, "unknown": 60}  # answered turns of each kind
LIKE = ("definition",)  # kinds whose answers need most words of a sentence; the others' need a phrase

Clip = tuple[np.ndarray, dict]  # int16 samples, and what the manifest says about them


def sentences(seed: int) -> Iterator[Clip]:
    """Unseen sentences of the curriculum in unheard voices."""
    drawn = load_sentences()
    for name, corpus in (("test-held-out-espeak-curriculum", "espeak-ng, curriculum"), ("test-held-out-festival-curriculum", "festival slt, curriculum")):
        for job in test_jobs(name, drawn, seed):
            for samples, text, voice in speak(job):
                yield samples, {"text": text, "corpus": corpus, "voice": voice}


def questions(seed: int) -> Iterator[Clip]:
    """Spoken questions with what their answers must carry."""
    turns = held_out_turns(QUESTIONS, seed)
    for i, turn in enumerate(turns):
        voice = HELD_OUT_ESPEAK[i % len(HELD_OUT_ESPEAK)]
        for samples, _, _ in speak(Job("espeak", voice, (plain(turn.transcript),), seed * 10**6 + i)):
            yield samples, {"text": turn.transcript, "corpus": "espeak-ng, questions", "voice": f"espeak {voice}", "context": turn.context, "kind": turn.kind, **wanted(turn)}


def wanted(turn: Turn) -> dict[str, str]:
    """What the answer must carry, in the manifest's words: of a sum the whole last sentence."""
    if turn.kind in LIKE:
        return {"like": turn.key}
    return {"key": turn.response.split(". So ")[-1].rstrip(".") if turn.kind == "arithmetic" else turn.key}


def held_out_turns(counts: dict[str, int], seed: int) -> list[Turn]:
    """So many turns of each kind, no question twice."""
    material, chosen = load_material(held_out=True, sentences=glosses()), {}
    for turn in make_turns(sum(counts.values()) * 60, seed, material):
        if sum(t.kind == turn.kind for t in chosen.values()) < counts.get(turn.kind, 0):
            chosen.setdefault(turn.transcript, turn)
    return list(chosen.values())


# Recordings in which nobody speaks


def silence(rng: np.random.Generator, n: int) -> np.ndarray:
    """Nothing, or the last bit's rustle."""
    return rng.choice([-1, 0, 1], n) / 32768 * rng.choice([0, 1])


def white(rng: np.random.Generator, n: int) -> np.ndarray:
    """White noise."""
    return rng.standard_normal(n) * 0.3


def pink(rng: np.random.Generator, n: int) -> np.ndarray:
    """Noise whose power falls with frequency."""
    spectrum = np.fft.rfft(rng.standard_normal(n)) / np.sqrt(np.maximum(1, np.arange(n // 2 + 1)))
    return normal(np.fft.irfft(spectrum, n))


def hum(rng: np.random.Generator, n: int) -> np.ndarray:
    """Mains hum with its harmonics."""
    t, base = np.arange(n) / SAMPLING_RATE, rng.choice([50, 60])
    return normal(sum(rng.uniform(0.1, 1) / k * np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6)) for k in range(1, 8)))


def clicks(rng: np.random.Generator, n: int) -> np.ndarray:
    """Keys, taps and knocks."""
    x = np.zeros(n)
    for at in rng.integers(0, n - 800, rng.integers(3, 20)):
        x[at : at + 800] += rng.standard_normal(800) * np.exp(-np.arange(800) / rng.uniform(10, 200))
    return normal(x)


def tones(rng: np.random.Generator, n: int) -> np.ndarray:
    """A melody of plain tones with overtones."""
    x, at = np.zeros(n), 0
    while at < n:
        m = min(n - at, int(rng.uniform(0.15, 0.6) * SAMPLING_RATE))
        t = np.arange(m) / SAMPLING_RATE
        f = 220 * 2 ** (rng.integers(0, 25) / 12)
        x[at : at + m] = sum(np.sin(2 * np.pi * f * k * t) / k**2 for k in range(1, 5)) * np.exp(-3 * t)
        at += m
    return normal(x)


def normal(x: np.ndarray) -> np.ndarray:
    """The waveform with its peak at one half."""
    return 0.5 * x / max(1e-9, np.abs(x).max())


def no_speech(seed: int) -> Iterator[Clip]:
    """A hundred recordings without a voice, loud and quiet, of one to eight seconds."""
    rng = np.random.default_rng(seed)
    for kind, count in ((silence, 10), (white, 20), (pink, 20), (hum, 15), (clicks, 15), (tones, 20)):
        for _ in range(count):
            x = kind(rng, int(rng.uniform(1, 8) * SAMPLING_RATE)) * (1 if kind is silence else 10 ** (-rng.uniform(0, 40) / 20))
            yield (x * 32767).clip(-32768, 32767).astype(np.int16), {"text": "", "corpus": "no speech", "voice": kind.__name__}


def main() -> None:
    """Write the recordings and their manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the recordings and manifest.jsonl; never commit it")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "manifest.jsonl", "w", encoding="utf-8") as manifest:
        for i, (samples, row) in enumerate(clip for make in (sentences, questions, no_speech) for clip in make(args.seed)):
            soundfile.write(args.out / f"{i:04}.wav", samples, SAMPLING_RATE)
            manifest.write(json.dumps({"audio": f"{i:04}.wav", **row}) + "\n")
    print(f"{args.out / 'manifest.jsonl'}: {i + 1} recordings")


if __name__ == "__main__":
    main()
