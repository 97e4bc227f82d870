"""What `SpeechEncoder` reads, in which batches, when it stops, and which checkpoints it refuses."""

import json
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
import transformers
from checkpoints import SYMBOLS, save_hubert
from conftest import CLIPS

from hubert_llama.audio import load_audio
from hubert_llama.errors import Stopped
from hubert_llama.hubert import SpeechEncoder, plan_batches
from hubert_llama.models import hub
from hubert_llama.models.device import DeviceConfig

EXACT = DeviceConfig("cpu", "float32")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save_hubert(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def encoder(tiny) -> SpeechEncoder:
    return SpeechEncoder.from_pretrained(str(tiny), EXACT)


def frames(symbols) -> np.ndarray:
    """Emissions whose best symbols are these, `_` being the blank."""
    return np.eye(32)[[SYMBOLS.index("<pad>" if s == "_" else s) for s in symbols]]


@pytest.mark.parametrize(
    ("lengths", "most", "equal", "batches"),
    [
        ([5, 30, 30, 4], 60, False, [[1, 2], [0, 3]]),
        ([5, 30, 30, 4], 60, True, [[1, 2], [0], [3]]),
        ([5, 30, 20, 3], 90, False, [[1], [2], [0], [3]]),  # no padding to speak of
        ([100], 60, False, [[0]]),  # longer than a batch may be
        ([], 60, False, []),
    ],
)
def test_batches_hold_clips_of_like_length(lengths, most, equal, batches):
    assert plan_batches(lengths, most, equal) == batches


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("_TT_EELL__LL_||_|MM_E", "TELL ME"),  # the blank keeps double letters apart
        ("_TTEELLLL_", "TEL"),
        (["<s>", "S", "_", "S", "<unk>", "S", "</s>"], "SSS"),
        ("__|_", ""),
    ],
)
def test_repeats_are_merged_and_blanks_dropped(encoder, path, text):
    assert encoder.read(frames(path)) == text


@pytest.mark.parametrize("named", [True, False], ids=["named", "not named by the tokenizer"])
@pytest.mark.parametrize("delimiter", [" ", "_", "▁"])
def test_whatever_stands_between_words_the_labels_have_a_bar(tmp_path, delimiter, named):
    save_hubert(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({delimiter if s == "|" else s: i for i, s in enumerate(SYMBOLS)}))
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings["word_delimiter_token"] = delimiter if named else "|"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    other = SpeechEncoder.from_pretrained(str(tmp_path), EXACT)
    assert other.labels == SYMBOLS
    assert other.read(frames("_TT_EELL__LL_||_|MM_E")) == "TELL ME"


def test_progress_rises_to_one_and_who_says_stop_is_obeyed(encoder):
    fractions = []
    clips = [np.zeros(n, np.float32) for n in (400, 8000, 16000)]
    encoder.encode(clips, on_fraction=fractions.append)
    assert len(fractions) > 1 and fractions == sorted(fractions) and fractions[-1] == 1
    with pytest.raises(Stopped):
        encoder.encode(clips, should_stop=lambda: True)


@pytest.mark.parametrize(
    ("config", "message"),
    [({"conv_stride": (5, 2, 2, 2, 2, 2, 1)}, "step by 160"), ({"pad_token_id": 99}, "pad_token_id")],
)
def test_unusual_models_are_refused(tmp_path, config, message):
    folder = save_hubert(tmp_path, **config)
    with pytest.raises(hub.ModelFormatError, match=message):
        SpeechEncoder.from_pretrained(str(folder), EXACT)


def test_a_model_that_was_not_taught_to_spell_is_refused(tmp_path, tiny):
    save_hubert(tmp_path)
    transformers.HubertModel.from_pretrained(tiny).save_pretrained(tmp_path)
    with pytest.raises(hub.ModelFormatError, match="not fine-tuned"):
        SpeechEncoder.from_pretrained(str(tmp_path), EXACT)


def test_foreign_and_missing_letters_are_refused(tmp_path):
    folder = save_hubert(tmp_path)
    (folder / "vocab.json").write_text('{"<pad>": 0, "|": 1, "A": 2}')
    with pytest.raises(hub.ModelFormatError, match="of the 32 symbols"):
        SpeechEncoder.from_pretrained(str(folder), EXACT)
    (folder / "vocab.json").unlink()
    with pytest.raises(hub.ModelNotFoundError, match=r"vocab\.json"):
        SpeechEncoder.from_pretrained(str(folder), EXACT)


def test_the_bundled_hubert_spells_by_ear():
    encoder = SpeechEncoder.from_pretrained(hub.HUBERT_MINI)
    (encoding,) = encoder.encode([load_audio(CLIPS / "photosynthesis.ogg")])
    assert encoder.labels == SYMBOLS
    words = encoding.text.lower().split()
    assert words[:2] == ["what", "is"]
    assert SequenceMatcher(None, words[-1], "photosynthesis").ratio() > 0.6, words
