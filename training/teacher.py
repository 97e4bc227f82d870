"""What a teacher makes of speech, for HuBERT-mini to learn from.

It writes transcripts of recordings that have none, and the states of its encoder.

    pip install moonshine-voice==0.0.44 onnxruntime
    python training/teacher.py --recordings build/games --work-dir build/speech --part games
    python training/teacher.py --work-dir build/speech
    python training/train_hubert.py --work-dir build/speech --teacher-weight 1 ...

The teacher is Moonshine tiny (N. Jeffries and others, 2024, "Moonshine: Speech recognition for live transcription and
voice commands"; MIT): its makers' package, in this version, holds the weights, an encoder of 13 MB
that learned from 200,000 hours. The first command writes train-games with what it understands of the recordings under
a folder; the second writes beside every training part that has none NAME.taught, its encoder's last states of every
clip: float16 rows of 288, clip after clip, 41.67 a second. Nothing of the teacher is needed afterwards.
"""

import argparse
import multiprocessing
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile
import soxr
from speech import Clip, parts, plain, read_part, to_int16, write_part
from tqdm import tqdm

from hubert_llama.audio import SAMPLING_RATE

# samples: the encoder's convolutions are of 127, 7 and 3 at strides of 64, 3 and 2
STRIDE = 384  # from one of its states to the next
LENGTH = 895  # that one state sees
WIDTH = 288
BEGIN, END = 1, 2  # tokens
SUREST = -0.45  # nats a token: what is understood less surely is left out
PROCESSES = 2


def frames(samples: int) -> int:
    """How many states the encoder makes of so many samples."""
    return max(0, (samples - LENGTH) // STRIDE + 1)


def weights() -> Path:
    """The folder of the teacher's weights."""
    found = find_spec("moonshine_voice")
    folder = Path(found.submodule_search_locations[0]) / "assets" / "tiny-en" if found else Path()
    if not (folder / "encoder_model.ort").exists() or not find_spec("onnxruntime"):
        raise SystemExit(
            "The teacher is not there. Install the version that holds its weights, and what runs them: "
            "pip install moonshine-voice==0.0.44 onnxruntime"
        )
    return folder


@cache
def session(name: str):
    """The teacher's "encoder_model" or "decoder_model_merged", on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(weights() / f"{name}.ort"), options)


@cache
def tokens() -> list[bytes]:
    """The teacher's tokens: each behind its length, one byte or, from 128 on, two."""
    data, at, found = (weights() / "tokenizer.bin").read_bytes(), 0, []
    while at < len(data):
        n, at = data[at], at + 1
        if n >= 128:
            n, at = data[at] * 128 + n - 128, at + 1
        found.append(data[at : at + n])
        at += n
    return found


def encode(samples: np.ndarray) -> np.ndarray:
    """The encoder's last states of a clip: int16 (n,) -> float32 (frames(n), 288)."""
    if len(samples) < LENGTH:
        return np.zeros((0, WIDTH), np.float32)
    x = samples.astype(np.float32)[None] / 32768
    return session("encoder_model").run(None, {"input_values": x, "attention_mask": np.ones(x.shape, np.int64)})[0][0]


def decode(states: np.ndarray, samples: int) -> tuple[str, float]:
    """The likeliest tokens of a clip of so many samples, one by one, as text, and their mean log-probability."""
    decoder = session("decoder_model_merged")
    past = {i.name: np.zeros((1, 8, 0, 36), np.float32) for i in decoder.get_inputs() if i.name.startswith("past")}
    names = [o.name.replace("present", "past_key_values") for o in decoder.get_outputs()[1:]]
    heard = np.ones((1, samples), np.int64)
    ids, logs = [BEGIN], []
    for n in range(7 * samples // SAMPLING_RATE + 4):
        inputs = {
            "input_ids": np.array([ids[-1:]], np.int64),
            "encoder_hidden_states": states[None],
            "encoder_attention_mask": heard,
            "use_cache_branch": np.array([n > 0]),
        }
        out = decoder.run(None, inputs | past)
        logits = out[0][0, -1]
        ids.append(int(logits.argmax()))
        logs.append(-float(np.log(np.exp(logits - logits.max()).sum())))
        past = {
            name: value if n == 0 or "decoder" in name else past[name]
            for name, value in zip(names, out[1:], strict=True)
        }
        if ids[-1] == END:
            break
    text = b"".join(tokens()[i] for i in ids[1:] if i > END).decode("utf-8", "replace").replace("▁", " ").strip()
    return text, float(np.mean(logs))


# States for a training


def with_states(folder: Path, name: str, clips: list[Clip]) -> list[Clip]:
    """A part's clips with what the teacher made of them, where that has been written."""
    path = folder / f"{name}.taught"
    if not path.exists():
        return clips
    rows = np.memmap(path, np.float16, "r").reshape(-1, WIDTH)
    ends = np.cumsum([0, *(frames(len(clip.samples)) for clip in clips)])
    if ends[-1] != len(rows):
        raise SystemExit(
            f"{path} is not of these clips: it holds {len(rows)} states, they have {ends[-1]}. "
            "Delete it and run training/teacher.py again."
        )
    return [replace(clip, taught=rows[start:end]) for clip, start, end in zip(clips, ends[:-1], ends[1:], strict=True)]


def states_at(taught: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """The teacher's states (F, 288) at places of its clip, (T,) in samples: float32 (T, 288), NaN outside.

    Between two states they are interpolated.
    """
    at = (samples - LENGTH // 2) / STRIDE
    below = at.clip(0, max(0, len(taught) - 1)).astype(np.int64)
    above = np.minimum(below + 1, len(taught) - 1)
    share = (at - below).clip(0, 1)[:, None]
    found = taught[below] * (1 - share) + taught[above] * share if len(taught) else np.zeros((len(samples), WIDTH))
    return np.where(((at > -0.5) & (at < len(taught) - 0.5))[:, None], found, np.nan).astype(np.float32)


# Recordings without a transcript


def understood(path: Path) -> tuple[np.ndarray, str, str] | None:
    """A recording as a clip of its folder's voice, with what the teacher understands of it.

    None where that is nothing, unsure, or no words, or where the recording cannot be read.
    """
    try:  # the service's own reader refuses an MP3 file that is some samples shorter than it says
        x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as e:
        tqdm.write(f"{path}: {e}")
        return None
    samples = to_int16(soxr.resample(x.mean(1), rate, SAMPLING_RATE))
    seconds = len(samples) / SAMPLING_RATE
    if not 0.5 < seconds < 20:
        return None
    text, sure = decode(encode(samples), len(samples))
    if sure < SUREST or not plain(text) or re.search(r"[0-9$%&]", text):
        return None
    return samples, plain(text), path.parent.name


def recordings_in(folder: Path) -> list[Path]:
    """The sound files in a folder and those below it."""
    endings = (".wav", ".mp3", ".ogg", ".opus", ".flac")
    paths = sorted(path for path in folder.resolve().rglob("*") if path.suffix.lower() in endings)
    if not paths:
        raise SystemExit(f"No recordings in {folder}.")
    return paths


def transcribe(paths: list[Path]) -> Iterator[tuple[np.ndarray, str, str]]:
    """What the teacher understands of recordings."""
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for clip in tqdm(pool.imap(understood, paths, chunksize=20), total=len(paths), unit=" recordings"):
            if clip is not None:
                yield clip


# States on disk


def states(samples: np.ndarray) -> np.ndarray:
    """A clip's states, as they are kept."""
    return encode(samples).astype(np.float16)


def teach(folder: Path, name: str) -> None:
    """Write the teacher's states of a part's clips beside it."""
    clips = read_part(folder, name)
    partial = folder / f"{name}.taught.part"
    with open(partial, "wb") as file, multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        found = pool.imap(states, (np.asarray(clip.samples) for clip in clips), chunksize=20)
        for rows in tqdm(found, total=len(clips), desc=name, unit=" clips"):
            file.write(rows.tobytes())
    partial.replace(folder / f"{name}.taught")


def main() -> None:
    """Write a part of recordings, or the states of every training part that has none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of training/speech.py's parts")
    parser.add_argument(
        "--recordings",
        type=Path,
        help="folder of recordings to transcribe; each folder in it counts as a corpus when clips are drawn",
    )
    parser.add_argument(
        "--part",
        default="recordings",
        help="name of the part that they become: train-NAME; it does not begin with synthetic",
    )
    args = parser.parse_args()
    weights()  # a process of the pool that found none would leave this one waiting
    args.work_dir.mkdir(parents=True, exist_ok=True)
    if args.part.startswith("synthetic"):
        raise SystemExit(f"--part {args.part}: that would be taken for synthetic speech.")
    if args.recordings:
        write_part(args.work_dir, f"train-{args.part}", transcribe(recordings_in(args.recordings)))
        return
    for name in parts(args.work_dir, "train-"):
        if not (args.work_dir / f"{name}.taught").exists():
            teach(args.work_dir, name)


if __name__ == "__main__":
    main()
