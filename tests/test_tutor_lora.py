"""The recipe of a tutor's LoRA, on a tiny model: conversations in the model's style, learning, going on, merging."""

from itertools import islice

import pytest
import torch

peft = pytest.importorskip("peft")

import tutor_lora as recipe  # noqa: E402
from tutor import load_material  # noqa: E402

from hubert_llama.llama import ChatLlama  # noqa: E402
from hubert_llama.models.device import DeviceConfig  # noqa: E402
from hubert_llama.models.hub import ModelFormatError  # noqa: E402
from hubert_llama.styles import TYPED  # noqa: E402

FP32, SETTINGS = DeviceConfig("cpu", "float32"), recipe.Settings(rank=4, lr=0.02, warmup=1, dropout=0.0, together=1)
QUESTION = [{"role": "user", "content": "what is light"}]


def test_turns_are_in_the_models_style():
    material = load_material()
    first, again = (list(islice(recipe.examples(3, material, [], TYPED, SETTINGS), 40)) for _ in "ab")
    assert first == again
    assert all(e.messages[0]["content"].startswith(TYPED.system) and e.messages[-1]["role"] == "user" for e in first)
    assert not any("student said" in m["content"] for e in first for m in e.messages)
    assert any(len(e.messages) > 2 for e in first)  # follow-ups
    assert any(e.messages[-1]["content"].startswith(TYPED.quotes) for e in first)
    assert any("do not know" in e.answer for e in first)


def test_a_real_exchange(tmp_path):
    said = [("tutor", "Add them."), ("tutor", "What is 2 + 3?"), ("student", "6")]
    row = {"c_h": [{"user": u, "text": t} for u, t in said], "lesson_topic": "2.1A.Sums",
           "c_r_": [{"user": "tutor", "text": "Close. Count again."}]}
    (tmp_path / "train.json").write_text(recipe.json.dumps([row]))
    (example,) = recipe.read_bridge(tmp_path / "train.json", TYPED)
    assert [m["role"] for m in example.messages] == ["system", "user", "assistant", "user"]
    assert (example.messages[2]["content"], example.messages[3]["content"]) == ("Add them. What is 2 + 3?", "6")
    assert example.answer == "Close. Count again."


def test_it_learns_goes_on_and_is_merged(tmp_path, tiny_llama):
    llama = ChatLlama.from_pretrained(str(tiny_llama), FP32, False)
    batch = recipe.encode(llama.tokenizer, recipe.Example(QUESTION, "a wave"), 512)
    assert llama.tokenizer.decode(batch[1][batch[1] >= 0]) == "a wave<|eot_id|>"
    before = llama.log_likelihoods(QUESTION, ["a wave"])[0]
    training = recipe.Training(llama.model, SETTINGS, tmp_path)
    assert training.measure([batch]) == pytest.approx(-before / int((batch[1] >= 0).sum()), abs=1e-3)
    losses = [training.learn([batch], 1.0) for _ in range(20)]
    assert losses[-1] < losses[0] - 0.5  # of 1.2 that a random output layer lets it gain
    training.save()
    weight = training.measure([batch])
    again = recipe.Training(ChatLlama.from_pretrained(str(tiny_llama), FP32, False).model, SETTINGS, tmp_path)
    assert again.state.step == 20
    assert again.measure([batch]) == pytest.approx(weight, abs=1e-4)
    merged = ChatLlama.from_pretrained(str(tiny_llama), FP32, False, adapter=tmp_path)
    after = merged.log_likelihoods(QUESTION, ["a wave"])[0]
    assert after == pytest.approx(-weight * int((batch[1] >= 0).sum()), abs=1e-2)
    assert after > before + 1
    with pytest.raises(ModelFormatError, match="no-load-in-4bit"):
        ChatLlama.from_pretrained(str(tiny_llama), FP32, True, adapter=tmp_path)


def test_too_long_conversations_are_left_out(tiny_llama):
    tokenizer = ChatLlama.from_pretrained(str(tiny_llama), FP32, False).tokenizer
    assert recipe.encode(tokenizer, recipe.Example(QUESTION, "word " * 200), 64) is None
    assert isinstance(recipe.encode(tokenizer, recipe.Example(QUESTION, "word"), 64)[0], torch.Tensor)


def test_the_command_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["tutor_lora.py", "--rank", "4", "--bridge", "train.json", "--bridge-share", "0.5"])
    args = recipe.parse_args()
    assert (args.rank, args.bridge.name, args.bridge_share, args.minutes) == (4, "train.json", 0.5, 30.0)
