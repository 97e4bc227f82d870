"""Recordings to measure the whole service on, as a manifest for `hubert-llama evaluate`: nothing in it was trained on.

    python training/held_out.py --out build/held-out
    hubert-llama evaluate build/held-out/manifest.jsonl --profile mini --out build/results
    python training/held_out.py --out build/noisy --snr 5
    python training/held_out.py --out build/tuning --voices training --seed 8

It has sentences of the curriculum that training never saw, in voices that it never heard; students' questions in unseen
phrasings, with contexts, and what their answers must carry; and a hundred recordings in which nobody speaks. `--snr`
puts noise under the voices. `--voices training` has training's voices say other draws of such sentences, for
training/calibrate.py to fit on. Everything follows from the seed.

It needs espeak-ng, festival with the voice cmu_us_slt_arctic_hts, and WordNet (Debian: espeak-ng festival
festvox-us-slt-hts wordnet).
"""

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import noises
import numpy as np
import soundfile
from speech import HELD_OUT_ESPEAK, Job, glosses, load_sentences, speak, test_jobs, training_voice
from tutor import Turn, load_material, make_turns, plain

from hubert_llama.audio import SAMPLING_RATE
from hubert_llama.measure.noise import add_noise

# answered turns of each kind
QUESTIONS = {"passage": 80, "invented": 40, "definition": 80, "arithmetic": 60, "unknown": 60}
PARTS = ("sentences", "questions", "no-speech")
LIKE = ("definition",)  # kinds whose answers need most words of a sentence; the others' need a phrase

Clip = tuple[np.ndarray, dict]  # int16 samples, and what the manifest says about them


def sentences(seed: int, voices: str) -> Iterator[Clip]:
    """Unseen sentences of the curriculum in unheard voices, or in training's."""
    drawn = load_sentences()
    for name, corpus in (
        ("test-held-out-espeak-curriculum", "espeak-ng, curriculum"),
        ("test-held-out-festival-curriculum", "festival slt, curriculum"),
    ):
        for job in test_jobs(name, drawn, seed):
            engine, voice = (job.engine, job.voice) if voices == "held-out" else training_voice(random.Random(job.seed))
            corpus = corpus if voices == "held-out" else "training's voices, curriculum"
            for samples, text, by in speak(replace(job, engine=engine, voice=voice)):
                yield samples, {"text": text, "corpus": corpus, "voice": by}


def questions(seed: int, voices: str) -> Iterator[Clip]:
    """Spoken questions with what their answers must carry."""
    is_held_out = voices == "held-out"
    corpus = "espeak-ng, questions" if is_held_out else "training's voices, questions"
    for i, turn in enumerate(held_out_turns(QUESTIONS, seed)):
        held_out = "espeak", HELD_OUT_ESPEAK[i % len(HELD_OUT_ESPEAK)]
        engine, voice = held_out if is_held_out else training_voice(random.Random(i))
        row = {"text": turn.transcript, "corpus": corpus, "voice": f"{engine} {voice}"}
        row |= {"context": turn.context, "kind": turn.kind, **wanted(turn)}
        for samples, _, _ in speak(Job(engine, voice, (plain(turn.transcript),), seed * 10**6 + i)):
            yield samples, row


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


def noisy(clips: Iterator[Clip], snr: float | None, seed: int) -> Iterator[Clip]:
    """The clips with noise so many decibels below the voice."""
    rng = np.random.default_rng(seed)
    for samples, row in clips:
        if snr is not None:
            x = add_noise(samples.astype(np.float32) / 32768, rng, snr)
            samples = (x / max(1.0, float(np.abs(x).max())) * 32767).astype(np.int16)
        yield samples, row


def no_speech(seed: int) -> Iterator[Clip]:
    """A hundred recordings without a voice, loud and quiet, of one to eight seconds."""
    rng = np.random.default_rng(seed)
    for kind, count in noises.KINDS.items():
        for _ in range(count):
            x = kind(rng, int(rng.uniform(1, 8) * SAMPLING_RATE))
            if kind is not noises.silence:
                x = x * 10 ** (-rng.uniform(0, 40) / 20)
            samples = (x * 32767).clip(-32768, 32767).astype(np.int16)
            yield samples, {"text": "", "corpus": "no speech", "voice": kind.__name__}


def main() -> None:
    """Write the recordings and their manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the recordings and manifest.jsonl; never commit it"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--voices", choices=["held-out", "training"], default="held-out")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to make (default: all)")
    parser.add_argument("--snr", type=float, help="noise under the voices, so many decibels below them")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    made = {
        "sentences": noisy(sentences(args.seed, args.voices), args.snr, args.seed),
        "questions": noisy(questions(args.seed, args.voices), args.snr, args.seed),
        "no-speech": no_speech(args.seed),
    }
    clips = chain.from_iterable(made[part] for part in PARTS if part in args.parts)
    with open(args.out / "manifest.jsonl", "w", encoding="utf-8") as manifest:
        for i, (samples, row) in enumerate(clips):
            soundfile.write(args.out / f"{i:04}.wav", samples, SAMPLING_RATE)
            manifest.write(json.dumps({"audio": f"{i:04}.wav", **row}) + "\n")
    print(f"{args.out / 'manifest.jsonl'}: {i + 1} recordings")


if __name__ == "__main__":
    main()
