"""Models as people keep them: other programs' files beside or instead of the weights, damaged files, other letters."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import SYMBOLS, save_hubert, save_llama

from hubert_llama.chat import Sampling
from hubert_llama.fast import code_store
from hubert_llama.hubert import SpeechEncoder
from hubert_llama.llama import ChatLlama
from hubert_llama.models import hub
from hubert_llama.models.device import DeviceConfig
from hubert_llama.models.hub import user_message
from hubert_llama.words.ctc import judge, letters
from hubert_llama.words.search import BeamSearch, LetterSearch

FP32 = DeviceConfig("cpu", "float32")
MESSAGES = [{"role": "system", "content": "You are a tutor."}, {"role": "user", "content": "what is light"}]
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
STRAYS = (
    "adapter_model.safetensors",
    "model.fp16.safetensors",
    "consolidated.safetensors",
    "consolidated.00.pth",
    "lora.safetensors",
    "ggml-q4_0.gguf",
    "training_args.bin",
    "optimizer.pt",
    "scheduler.bin",
    "tf_model.h5",
    "flax_model.msgpack",
    "original/params.json",
)


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to, dirs_exist_ok=True))


def with_strays(folder: Path) -> Path:
    for name in STRAYS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not for us")
    return folder


def in_bin(folder: Path, safe: Path) -> Path:
    """The same Llama with its weights in pytorch_model.bin."""
    from safetensors.torch import load_file

    copied(safe, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def said(folder: Path, **how) -> str:
    return ChatLlama.from_pretrained(str(folder), FP32, **how).complete(MESSAGES, Sampling(max_new_tokens=5)).text


# other files beside the weights


@pytest.mark.parametrize("layout", ["whole", "shards", "bin"])
def test_other_files_beside_the_weights_change_nothing(tmp_path, tiny_llama, layout):
    if layout == "bin":
        folder = in_bin(tmp_path / "llama", tiny_llama)
    else:
        folder = save_llama(tmp_path / "llama", shards=3 if layout == "shards" else 1)
    before = (
        hub.weight_files(folder),
        hub.weight_bytes(folder),
        hub.fingerprint(folder),
        code_store.cache_folder(folder),
        said(folder),
    )
    with_strays(folder)
    assert before == (
        hub.weight_files(folder),
        hub.weight_bytes(folder),
        hub.fingerprint(folder),
        code_store.cache_folder(folder),
        said(folder),
    )
    assert hub.missing_files(folder) == []
    if layout != "bin":  # quantised by ourselves
        assert said(folder, load_in_4bit=True)


def test_other_files_beside_a_huberts_weights_change_nothing(tmp_path):
    folder, clip = save_hubert(tmp_path, safe=False), np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    before = SpeechEncoder.from_pretrained(str(folder), FP32).encode([clip])[0].emissions
    assert np.array_equal(
        SpeechEncoder.from_pretrained(str(with_strays(folder)), FP32).encode([clip])[0].emissions, before
    )


@pytest.mark.parametrize("load_in_4bit", [None, True])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["adapter_model.safetensors"],
            "adapter (LoRA) for meta-llama/Llama-3.2-1B-Instruct, not a whole model. "
            "Name meta-llama/Llama-3.2-1B-Instruct",
        ),
        (["adapter_model.bin"], "adapter (LoRA) for meta-llama/Llama-3.2-1B-Instruct"),
        (["model.fp16.safetensors"], "variant"),
        (["pytorch_model.fp16.bin"], "variant"),
        (["consolidated.00.pth", "params.json"], "makers' original files"),
        (["consolidated.safetensors"], "makers' original files"),
        (["original/consolidated.00.pth"], "makers' original files"),
        (["llama-3.2-1b-q4_k_m.gguf", "llama-3.2-1b-q8_0.gguf"], "llama.cpp"),
        (["tf_model.h5"], "TensorFlow or Flax"),
        (["flax_model.msgpack"], "TensorFlow or Flax"),
        (["onnx/model.onnx"], "another program"),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], "shards without their index"),
        (["training_args.bin", "optimizer.pt"], "save_pretrained"),
        (["checkpoint-500/model.safetensors", "checkpoint-500/config.json"], "A model lies in checkpoint-500"),
        (["weights.safetensors"], "exact names"),
    ],
)
def test_what_is_there_instead_of_weights_is_named_with_what_to_do(tmp_path, tiny_llama, names, words, load_in_4bit):
    folder = copied(tiny_llama, tmp_path / "llama")
    (folder / "model.safetensors").unlink()
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"something")
    if names[0].startswith("adapter"):
        (folder / "config.json").unlink()
        (folder / "adapter_config.json").write_text(
            json.dumps({"base_model_name_or_path": "meta-llama/Llama-3.2-1B-Instruct", "peft_type": "LORA"})
        )
    with pytest.raises(hub.ModelFormatError) as e:
        ChatLlama.from_pretrained(str(folder), FP32, load_in_4bit)
    assert (
        words in str(e.value)
        and names[0] in str(e.value)
        and "fault of the service" not in user_message(e.value, "Not loaded")
    ), str(e.value)


def test_a_folder_without_a_model_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(
        hub.ModelNotFoundError, match="lacks config.json, model.safetensors, tokenizer.json; there are notes.txt"
    ):
        hub.fetch(str(tmp_path))
    with pytest.raises(hub.ModelNotFoundError, match="is a file"):
        hub.fetch(str(tmp_path / "notes.txt"))


# damaged files


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(
    ("content", "words"), [(POINTER, "git lfs pull"), (b"", "is empty"), (b"<!DOCTYPE html><title>Log in", "web page")]
)
def test_weights_that_are_none_are_told(tmp_path, tiny_llama, shards, content, words):
    folder = copied(tiny_llama, tmp_path / "llama") if shards == 1 else save_llama(tmp_path / "llama", shards)
    path = hub.weight_files(folder)[-1]
    path.write_bytes(content)
    for load_in_4bit in (False, True):
        with pytest.raises(hub.ModelFormatError, match=words) as e:
            ChatLlama.from_pretrained(str(folder), FP32, load_in_4bit)
        assert path.name in str(e.value)


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("index", "error", "words"),
    [
        ({"metadata": {}, "weight_map": {"a": "../secret.safetensors"}}, hub.ModelFormatError, "outside"),
        ({"metadata": {}, "weight_map": {"a": "/etc/passwd"}}, hub.ModelFormatError, "outside"),
        ({"metadata": {}, "weight_map": {"a": "gone.safetensors"}}, hub.ModelNotFoundError, "gone.safetensors"),
        ({"metadata": {}, "weight_map": {}}, hub.ModelFormatError, "weight_map"),
        ({"metadata": {}, "weight_map": {"a": ["b"]}}, hub.ModelFormatError, "weight_map"),
        ({}, hub.ModelFormatError, "weight_map"),
        ([], hub.ModelFormatError, "a list where a JSON object"),
    ],
)
def test_an_index_is_not_followed_anywhere(tmp_path, tiny_llama, index, error, words):
    folder = copied(tiny_llama, tmp_path / "llama")
    (folder / "model.safetensors").rename(tmp_path / "secret.safetensors")
    (folder / INDEX).write_text(json.dumps(index))
    for load_in_4bit in (False, True):
        with pytest.raises(error, match=words):
            ChatLlama.from_pretrained(str(folder), FP32, load_in_4bit)


WRONG = {
    b"": "is empty",
    b"[]": "a list where",
    b"null": "null where",
    b'"x"': "a string where",
    b"3": "a number where",
    b"{": "not JSON",
    b"\xff\xfe{\x00}\x00": "not UTF-8",
    b"\xef\xbb\xbf{}": "byte order mark",
    b"<html>Log in": "web page",
    POINTER: "git lfs pull",
}


@pytest.mark.parametrize("content", WRONG, ids=lambda content: content[:12].decode("latin-1"))
def test_json_of_the_wrong_kind_is_told(tmp_path, tiny_hubert, tiny_llama, content):
    for base, load, names in (
        (
            tiny_hubert,
            SpeechEncoder.from_pretrained,
            ("config.json", "vocab.json", "preprocessor_config.json", "tokenizer_config.json"),
        ),
        (tiny_llama, ChatLlama.from_pretrained, ("config.json", "tokenizer_config.json", "generation_config.json")),
    ):
        for name in names:
            folder = copied(base, tmp_path / f"{base.name}-{name}")
            (folder / name).write_bytes(content)
            with pytest.raises(hub.ModelFormatError, match=WRONG[content]) as e:
                load(str(folder), FP32)
            assert name in str(e.value)


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b"3", b"{}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"model": {"type": "Zork"}}']
)
def test_a_foreign_tokenizer_is_told(tmp_path, tiny_llama, content):
    folder = copied(tiny_llama, tmp_path / "llama")
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(hub.ModelFormatError, match="tokenizer|Damaged"):
        ChatLlama.from_pretrained(str(folder), FP32)


def changed(base: Path, to: Path, file: str, **values) -> str:
    folder = copied(base, to)
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | values))
    return str(folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "zork"}, "a 'zork' model"),
        ({"model_type": None}, "Not a Llama"),
        ({"hidden_act": "zork"}, "KeyError"),
        ({"hidden_size": 63}, "not a multiple"),
        ({"num_attention_heads": 0}, "ZeroDivisionError"),
        ({"max_position_embeddings": "many"}, "max_position_embeddings"),
        ({"rope_parameters": {"rope_type": "zork"}}, "KeyError"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "Python package"),
        ({"quantization_config": "4 bits"}, "AttributeError"),
        ({"transformers_weights": "../elsewhere.safetensors"}, "elsewhere|lacks"),
    ],
)
def test_whatever_a_foreign_config_raises_is_no_fault_of_the_service(tmp_path, tiny_llama, values, words):
    with pytest.raises(hub.ModelFormatError, match=words):
        ChatLlama.from_pretrained(changed(tiny_llama, tmp_path / "llama", "config.json", **values), FP32)


def test_a_fault_with_the_bundled_models_stays_one(monkeypatch):
    monkeypatch.setattr("hubert_llama.hubert._load_processor", lambda folder, name: {}["oops"])
    with pytest.raises(KeyError) as e:
        SpeechEncoder.from_pretrained(hub.HUBERT_MINI)
    assert "fault of the service" in user_message(e.value, "The models could not be loaded")


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('System role not supported') }}", "{% if", "{{ messages[0]['nope'].x }}"]
)
def test_a_chat_template_that_refuses_is_told_when_the_model_is_loaded(tmp_path, tiny_llama, template):
    folder = copied(tiny_llama, tmp_path / "llama")
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(hub.ModelFormatError, match="Chat template not usable"):
        ChatLlama.from_pretrained(str(folder), FP32)


def test_code_in_a_model_is_neither_run_nor_asked_about(tmp_path, tiny_llama, monkeypatch):
    monkeypatch.setattr(
        "builtins.input", lambda *prompt: pytest.fail("standard input belongs to the server's requests")
    )
    folder = changed(
        tiny_llama,
        tmp_path / "llama",
        "tokenizer_config.json",
        tokenizer_class="Zork",
        auto_map={"AutoTokenizer": ["zork.Zork", "zork.Zork"]},
    )
    (Path(folder) / "zork.py").write_text("raise SystemExit('run')")
    try:
        ChatLlama.from_pretrained(folder, FP32)  # tokenizer.json may do without
    except hub.ModelFormatError as e:
        assert "not run" in str(e) or "tokenizer" in str(e)


def test_a_wrong_device_is_not_blamed_on_the_model(tiny_llama):
    with pytest.raises(ValueError, match="Unknown device 'toaster'"):
        ChatLlama.from_pretrained(str(tiny_llama), DeviceConfig("toaster"))


# a HuBERT's letters


def with_delimiter(folder: Path, delimiter: str, told_so: bool = True) -> Path:
    save_hubert(folder)
    (folder / "vocab.json").write_text(json.dumps({delimiter if s == "|" else s: i for i, s in enumerate(SYMBOLS)}))
    if told_so:
        config = folder / "tokenizer_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"word_delimiter_token": delimiter}))
    return folder


@pytest.mark.parametrize("told_so", [True, False])
@pytest.mark.parametrize("delimiter", [" ", "_", "▁", "<space>"])
def test_any_word_delimiter_is_searched_like_the_usual_one(tmp_path, delimiter, told_so):
    folder = with_delimiter(tmp_path, delimiter, told_so)
    encoder = SpeechEncoder.from_pretrained(str(folder), FP32)
    said = np.log(
        0.97 * np.eye(32, dtype=np.float32)[[SYMBOLS.index(s) for s in ["T", "E", "L", "<pad>", "L", "|", "M", "E"]]]
        + 1e-3
    )
    assert encoder.labels == SYMBOLS and encoder.read(said) == "TELL ME"
    search = BeamSearch.from_pretrained(str(folder), encoder.labels)
    assert isinstance(search, LetterSearch) and search(said, 5)[0].text == "tell me" and len(search(said, 5)) == 5
    assert letters(judge(said, "tell me", "sell me", encoder.labels)[0]) == "tell me"
    (folder / "language_model").mkdir()
    (folder / "language_model" / "words.arpa").write_text(
        "\\data\\\n\n\\1-grams:\n-1\ttell\n-1\tme\n-1\tmet\n-1\t<s>\n-1\t</s>\n\n\\end\\\n"
    )
    words = BeamSearch.from_pretrained(str(folder), encoder.labels)
    assert isinstance(words, BeamSearch) and words(said, 5)[0].text == "tell me"


def test_a_hubert_without_a_word_delimiter_is_read_greedily_with_a_warning(tmp_path, caplog):
    folder = with_delimiter(tmp_path, "#", told_so=False)
    (folder / "language_model").mkdir()
    (folder / "language_model" / "words.arpa").write_text("\\data\\\n\n\\1-grams:\n-1\ttell\n\n\\end\\\n")
    with caplog.at_level(logging.WARNING):
        assert BeamSearch.from_pretrained(str(folder), SpeechEncoder.from_pretrained(str(folder), FP32).labels) is None
    assert "no symbol between words" in caplog.text


def test_a_blank_that_looks_like_a_delimiter_stays_the_blank(tmp_path):
    folder = save_hubert(tmp_path)
    (folder / "vocab.json").write_text(
        json.dumps({{"<pad>": "_", "|": " "}.get(s, s): i for i, s in enumerate(SYMBOLS)})
    )
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | {"pad_token": "_"}))
    assert SpeechEncoder.from_pretrained(str(folder), FP32).labels == ["_", *SYMBOLS[1:]]


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("config.json", {"pad_token_id": 77}, "pad_token_id"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, "8000 samples a second"),
        ("tokenizer_config.json", {"target_lang": "eng"}, "vocab.json"),
        ("config.json", {"model_type": "wav2vec2"}, "Not a HuBERT"),
    ],
)
def test_a_hubert_that_does_not_fit_is_told(tmp_path, tiny_hubert, file, values, words):
    with pytest.raises(hub.ModelFormatError, match=words):
        SpeechEncoder.from_pretrained(changed(tiny_hubert, tmp_path / "hubert", file, **values), FP32)


def test_letters_of_another_model_are_told(tmp_path, tiny_hubert):
    for vocabulary in ({}, {"A": 0}, {s: i + 100 for i, s in enumerate(SYMBOLS)}, {"A": "x"}, {"eng": {"A": 1}}):
        folder = copied(tiny_hubert, tmp_path / "hubert")
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        with pytest.raises(hub.ModelFormatError, match="letters"):
            SpeechEncoder.from_pretrained(str(folder), FP32)


# the worker


def test_a_worker_that_loads_writes_no_bars(tiny_hubert, tiny_llama):
    command = [
        sys.executable,
        "-m",
        "hubert_llama.serve.worker",
        "--hubert",
        str(tiny_hubert),
        "--llama",
        str(tiny_llama),
    ]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    worker.stdin.write('{"op": "load"}\n')
    worker.stdin.flush()
    loaded = next(event for event in map(json.loads, worker.stdout) if event["event"] == "loaded")
    _, errors = worker.communicate(timeout=60)
    assert loaded["success"] and "models loaded" in errors and "%|" not in errors and "\r" not in errors, errors
