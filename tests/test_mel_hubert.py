"""A MelHuBERT in the service: loaded as a HuBERT is, with the same remedies for what is wrong with its files."""

import json
import subprocess
import sys

import numpy as np
import pytest
from checkpoints import SYMBOLS, save_mel_hubert

from hubert_llama.audio import SAMPLING_RATE, n_frames
from hubert_llama.hubert import SpeechEncoder
from hubert_llama.models import hub
from hubert_llama.models.device import DeviceConfig
from hubert_llama.pipeline import SpeechUnderstanding

FP32 = DeviceConfig("cpu", "float32")


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(int(seconds * SAMPLING_RATE)).astype(np.float32) * 0.1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "auto"])
def test_segments_of_thirty_seconds_and_of_one_frame_are_encoded(tmp_path, dtype):
    encoder = SpeechEncoder.from_pretrained(str(save_mel_hubert(tmp_path)), DeviceConfig("cpu", dtype))
    clips = [noise(30), noise(0.025), noise(27), noise(26.99)]
    for clip, encoding in zip(clips, encoder.encode(clips), strict=True):
        alone = encoder.encode([clip])[0].emissions
        assert encoding.emissions.shape == (n_frames(len(clip)), 32) and encoding.center == 0
        assert np.abs(encoding.emissions - alone).max() < (1e-4 if dtype == "float32" else 0.1)
    assert encoder.labels == SYMBOLS


def without_head(folder):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state.pop("lm_head.weight")
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def changed(name: str, **values):
    def change(folder):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


FAULTS = {
    "no letters": (lambda f: (f / "vocab.json").unlink(), hub.ModelNotFoundError, "lacks vocab.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), hub.ModelNotFoundError, "lacks model.safetensors"),
    "no head": (without_head, hub.ModelFormatError, "lacks lm_head.weight"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), hub.ModelFormatError, "is empty"),
    "no extractor": (
        lambda f: (f / "preprocessor_config.json").unlink(), hub.ModelNotFoundError, "preprocessor_config.json"),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
        hub.ModelFormatError, "Damaged"),
    "foreign letters": (
        lambda f: (f / "vocab.json").write_text('{"<pad>": 0, "|": 1}'), hub.ModelFormatError, "5 of the 32 symbols"),
    "other sizes": (changed("config.json", hidden_size=48), hub.ModelFormatError, "Damaged"),
    "odd heads": (changed("config.json", num_attention_heads=5), hub.ModelFormatError, "do not divide"),
    "blank": (changed("config.json", pad_token_id=77), hub.ModelFormatError, "pad_token_id"),
    "rate": (changed("preprocessor_config.json", sampling_rate=8000), hub.ModelFormatError, "8000 samples"),
}


@pytest.mark.parametrize(("damage", "error", "words"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_with_its_files_is_told_as_of_a_hubert(tmp_path, damage, error, words):
    damage(save_mel_hubert(tmp_path))
    with pytest.raises(error, match=words):
        SpeechEncoder.from_pretrained(str(tmp_path), FP32)


def test_a_pair_with_a_melhubert_makes_a_pipeline(tmp_path, tiny_llama):
    pipeline = SpeechUnderstanding.from_pretrained(hubert=str(save_mel_hubert(tmp_path)), llama=str(tiny_llama))
    result = pipeline(np.zeros(16_000, np.float32))
    assert result.no_speech and result.speech_features_shape == (1, 0, 32)


def test_importing_the_pipeline_loads_no_model_code():
    code = "import hubert_llama.pipeline, sys; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
