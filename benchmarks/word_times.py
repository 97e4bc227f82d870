"""How far the words' times are from the truth, on sentences cut together from words spoken one by one.

    python benchmarks/word_times.py --profile mini

Each word is spoken alone by espeak-ng (Debian: espeak-ng), cut to its sound, and joined to the next with a pause of 0 to 80 ms, so that
its beginning and end are known to the sample. Printed: how far `hubert_llama.ctc.time_words` is off, in milliseconds.
"""

import argparse
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from hubert_llama import hub
from hubert_llama.audio import SAMPLING_RATE, load_audio
from hubert_llama.ctc import Calibration, time_words
from hubert_llama.hubert import DeviceConfig, SpeechEncoder
from hubert_llama.profiles import choose_profile

SENTENCES = """what is gravity; can you explain photosynthesis; how does a magnet work; tell me about the cell wall; what is the difference between mass and weight; why is the sky blue;
    a dropped ball falls because the earth pulls it; plants make sugar from light; give me an example of a metaphor; what is seven plus eight; how do i calculate the area of a circle; who discovered radium""".replace("\n", " ").split(";")
VOICES = ("en-us", "en-gb", "en-us+f2", "en-gb+m3")


def speak_word(word: str, voice: str, folder: Path) -> np.ndarray:
    """One word's sound, without the silence around it."""
    path = folder / "word.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", str(path), word], check=True, capture_output=True, timeout=60)
    waveform = load_audio(path)
    loud = np.flatnonzero(np.abs(waveform) > 0.01)
    return waveform[loud[0] : loud[-1] + 1]


def cut_together(sentence: str, voice: str, rng: random.Random, folder: Path) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """A sentence, and where each of its words begins and ends, in seconds."""
    pieces, times, at = [np.zeros(SAMPLING_RATE // 5, np.float32)], [], SAMPLING_RATE // 5
    for word in sentence.split():
        sound = speak_word(word, voice, folder)
        times.append((at / SAMPLING_RATE, (at + len(sound)) / SAMPLING_RATE))
        pause = np.zeros(int(rng.uniform(0, 0.08) * SAMPLING_RATE), np.float32)
        pieces += [sound, pause]
        at += len(sound) + len(pause)
    return np.concatenate([*pieces, pieces[0]]), times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--hubert", help="another HuBERT: hub id or folder")
    args = parser.parse_args()
    name = choose_profile(args.profile, args.hubert, None).hubert
    encoder, calibration, rng = SpeechEncoder.from_pretrained(name, DeviceConfig("cpu", "float32")), Calibration.from_folder(hub.fetch(name)) or Calibration(), random.Random(0)
    off = []
    with tempfile.TemporaryDirectory() as folder:
        for sentence in map(str.strip, SENTENCES):
            for voice in VOICES:
                waveform, times = cut_together(sentence, voice, rng, Path(folder))
                words = time_words(encoder.encode([waveform])[0].emissions, sentence, encoder.labels, calibration=calibration)
                off += [(w.start - start, w.end - end) for w, (start, end) in zip(words, times, strict=True)] if words else []
    off = 1000 * np.array(off)
    print(f"{len(off)} words of {len(SENTENCES) * len(VOICES)} sentences; milliseconds from the true times (positive: too late)")
    for name, column in (("start", off[:, 0]), ("end", off[:, 1])):
        print(f"{name:6} median {np.median(column):6.1f}, median distance {np.median(np.abs(column)):5.1f}, 90 % within {np.percentile(np.abs(column), 90):5.1f}, {np.mean(np.abs(column) <= 60):.0%} within 60 ms")
    lead, tail = calibration.lead + np.median(off[:, 0]) / 1000, calibration.tail - np.median(off[:, 1]) / 1000
    print(f'calibration.json has "lead": {calibration.lead}, "tail": {calibration.tail}; without this offset "lead": {lead:.3f}, "tail": {tail:.3f}')


if __name__ == "__main__":
    main()
