"""How far the words' times are from the truth, on sentences cut together from words spoken one by one.

    python benchmarks/word_times.py --profile mini
    python benchmarks/word_times.py --fit              # what calibration.json should say, by other sentences and voices
    python benchmarks/word_times.py --hubert FOLDER --fit --write    # and say it there

Each word is spoken alone by espeak-ng (Debian: espeak-ng), cut to its sound, and joined to the next with a pause, so
that its beginning and end are known to the sample: of 0 to 80 ms, as in one breath, and, in a second round, every
other one of 100 to 700 ms. In a third, festival (Debian: festival, festvox-us-slt-hts) says whole sentences and tells
when it says each word. Printed: how far `hubert_llama.words.times.time_words` is off, in milliseconds.
"""

import argparse
import json
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np

from hubert_llama.audio import SAMPLING_RATE, load_audio
from hubert_llama.hubert import SpeechEncoder
from hubert_llama.models import hub
from hubert_llama.models.device import DeviceConfig
from hubert_llama.models.profiles import choose_profile
from hubert_llama.words import times as word_times
from hubert_llama.words.confidence import Calibration
from hubert_llama.words.times import time_words

SENTENCES = (
    "what is gravity",
    "can you explain photosynthesis",
    "how does a magnet work",
    "tell me about the cell wall",
    "what is the difference between mass and weight",
    "why is the sky blue",
    "a dropped ball falls because the earth pulls it",
    "plants make sugar from light",
    "give me an example of a metaphor",
    "what is seven plus eight",
    "how do i calculate the area of a circle",
    "who discovered radium",
)
VOICES = ("en-us", "en-gb", "en-us+f2", "en-gb+m3")
FITTING = (
    "the moon goes around the earth",
    "water boils when it gets hot",
    "a cell needs food and air",
    "who wrote the first book about plants",
    "add ten to nine",
    "iron rusts in wet air",
    "my teacher said that light is fast",
    "sound cannot cross empty space",
    "is a whale a fish",
    "they built long roads and strong walls",
    "music needs good ears",
    "count from one to twenty",
    "paper was made in china",
    "we read the story of a king",
)
OTHERS = ("en-us+f4", "en-gb+m1", "en-us+m5", "en-029")


def speak_word(word: str, voice: str, folder: Path) -> np.ndarray:
    """One word's sound, without the silence around it."""
    path = folder / "word.wav"
    subprocess.run(
        ["espeak-ng", "-v", voice, "-s", "150", "-w", str(path), word], check=True, capture_output=True, timeout=60
    )
    waveform = load_audio(path)
    loud = np.flatnonzero(np.abs(waveform) > 0.01)
    return waveform[loud[0] : loud[-1] + 1]


def draw_pause(rng: random.Random, long: bool) -> float:
    """Seconds between two words; where there are `long` ones, every other on average is."""
    return rng.uniform(0.1, 0.7) if long and rng.random() < 0.5 else rng.uniform(0, 0.08)


def cut_together(
    sentence: str, voice: str, rng: random.Random, folder: Path, long: bool = False
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """A sentence, and where each of its words begins and ends, in seconds."""
    pieces, times, at = [np.zeros(SAMPLING_RATE // 5, np.float32)], [], SAMPLING_RATE // 5
    for word in sentence.split():
        sound = speak_word(word, voice, folder)
        times.append((at / SAMPLING_RATE, (at + len(sound)) / SAMPLING_RATE))
        pause = np.zeros(int(draw_pause(rng, long) * SAMPLING_RATE), np.float32)
        pieces += [sound, pause]
        at += len(sound) + len(pause)
    return np.concatenate([*pieces, pieces[0]]), times


def spoken_whole(sentence: str, voice: str, folder: Path) -> tuple[np.ndarray, list[tuple[float, float]]] | None:
    """A sentence by festival, and where each word begins and ends by its own account, in seconds.

    NaN for the first beginning, before which it pauses. None where it says other words.
    """
    listed, sound = folder / "words", folder / "whole.wav"
    script = (
        f'({voice})(set! said (utt.synth (Utterance Text "{sentence}")))'
        f'(utt.save.wave said "{sound}" \'riff)(utt.save.words said "{listed}")'
    )
    (folder / "say.scm").write_text(script)
    done = subprocess.run(["festival", "-b", folder / "say.scm"], capture_output=True, text=True, timeout=60)
    if done.returncode or not listed.exists():
        error = done.stderr.strip()[-300:]
        raise SystemExit(f"festival does not speak with {voice}, which Debian's festvox-us-slt-hts brings: {error}")
    rows = [line.split() for line in listed.read_text().splitlines() if len(line.split()) == 3]
    if [word.lower() for *_, word in rows] != sentence.split():
        return None
    ends = [float(end) for end, _, _ in rows]
    return load_audio(sound), list(zip([float("nan"), *ends], ends, strict=False))


def distances(
    encoder: SpeechEncoder,
    calibration: Calibration,
    waveform: np.ndarray,
    sentence: str,
    times: list[tuple[float, float]],  # the true ones
) -> list[tuple[float, float]]:
    """How far the words' times are off, in seconds; none where the sentence is not found."""
    found = encoder.encode([waveform])[0]
    words = time_words(found.emissions, sentence, encoder.labels, calibration=calibration, center=found.center)
    return [(w.start - start, w.end - end) for w, (start, end) in zip(words, times if words else [], strict=True)]


def measure_whole(encoder: SpeechEncoder, calibration: Calibration) -> np.ndarray:  # (words, 2): milliseconds
    """How far times are off in sentences that festival says."""
    off = []
    with tempfile.TemporaryDirectory() as folder:
        for sentence in SENTENCES + FITTING:
            if spoken := spoken_whole(sentence, "voice_cmu_us_slt_arctic_hts", Path(folder)):
                waveform, times = spoken
                off += distances(encoder, calibration, waveform, sentence, times)
    return 1000 * np.array(off).reshape(-1, 2)


def measure(
    encoder: SpeechEncoder,
    calibration: Calibration,
    long: bool,
    sentences: tuple[str, ...] = SENTENCES,
    voices: tuple[str, ...] = VOICES,
    after: int = 0,
) -> np.ndarray:  # (words, 2): milliseconds, of beginnings and ends; positive: too late
    """How far times are off, over all sentences and voices, of the words that come after so many."""
    off, rng = [], random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        for sentence in sentences:
            for voice in voices:
                waveform, times = cut_together(sentence, voice, rng, Path(folder), long)
                off += distances(encoder, calibration, waveform, sentence, times)[after:]
    return 1000 * np.array(off)


def fit(encoder: SpeechEncoder) -> dict[str, float | None]:
    """The medians' offsets; prints how many beginnings would lie within 60 ms, by letters and by the gaps' marks."""
    lead, tail = np.median(measure(encoder, Calibration(lead=0, tail=0), False, FITTING, OTHERS), 0) / 1000
    with patch.object(word_times, "EARLIER", 0):  # which comes on top for words in one breath
        at_gaps = Calibration(lead=lead, tail=-tail, gap=0)
        gap = np.median(measure(encoder, at_gaps, True, FITTING, OTHERS, 1)[:, 0]) / 1000
    ways = {"by letters": Calibration(lead=lead, tail=-tail), "by gaps": Calibration(lead=lead, tail=-tail, gap=gap)}
    near = {
        way: np.mean(np.abs(measure(encoder, calibration, True, FITTING, OTHERS)[:, 0]) <= 60)
        for way, calibration in ways.items()
    }
    print("beginnings within 60 ms: " + ", ".join(f"{way} {share:.1%}" for way, share in near.items()))
    used = gap if near["by gaps"] > near["by letters"] else None
    return {"lead": round(lead, 3), "tail": round(-tail, 3), "gap": None if used is None else round(used, 3)}


def write(fitted: dict[str, float | None], path: Path) -> None:
    """Put the offsets into a calibration.json, whose other numbers stay."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**before, **fitted}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--hubert", help="another HuBERT: hub id or folder")
    parser.add_argument("--fit", action="store_true", help="print the offsets for calibration.json instead")
    parser.add_argument("--write", action="store_true", help="with --fit: write them into the HuBERT's folder")
    args = parser.parse_args()
    name = choose_profile(args.profile, args.hubert, None).hubert
    encoder, calibration = (
        SpeechEncoder.from_pretrained(name, DeviceConfig("cpu", "float32")),
        Calibration.from_folder(hub.fetch(name)) or Calibration(),
    )
    if args.fit:
        print(json.dumps(fitted := fit(encoder)))
        if args.write:
            write(fitted, Path(hub.fetch(name)) / "calibration.json")
        return
    print(f"milliseconds from the true times (positive: too late), {len(SENTENCES) * len(VOICES)} sentences; ", end="")
    print(f"of the gaps' marks {'no use is made' if calibration.gap is None else 'use is made'}")
    rounds = {
        "short pauses": lambda: measure(encoder, calibration, False),
        "long ones too": lambda: measure(encoder, calibration, True),
    }
    if shutil.which("festival"):
        rounds["festival's"] = lambda: measure_whole(encoder, calibration)
    for name, find in rounds.items():
        for side, column in zip(("start", "end"), find().T, strict=True):
            off = column[~np.isnan(column)]
            far = np.abs(off)
            print(f"{name:14} {side:6} {len(off)} words, median {np.median(off):6.1f}, ", end="")
            print(f"median distance {np.median(far):5.1f}, 90 % within {np.percentile(far, 90):5.1f}, ", end="")
            print(f"{np.mean(far <= 60):.1%} within 60 ms")


if __name__ == "__main__":
    main()
