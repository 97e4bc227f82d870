"""Checkpoints of the big models' build and file layout, small and random, through the loading code of the real ones."""

import json

import numpy as np
import pytest
import torch
from checkpoints import save_hubert, save_llama

from hubert_llama.audio import n_frames
from hubert_llama.chat import Sampling
from hubert_llama.hubert import SpeechEncoder
from hubert_llama.llama import ChatLlama
from hubert_llama.models import hub
from hubert_llama.models.device import DeviceConfig
from hubert_llama.pipeline import SpeechUnderstanding
from hubert_llama.words.ctc import judge, letters
from hubert_llama.words.search import BeamSearch

FP32 = DeviceConfig("cpu", "float32")
LARGE = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "feat_proj_dropout": 0.1,
    "mask_time_prob": 0.05,
}
MESSAGES = [{"role": "system", "content": "You are a tutor."}, {"role": "user", "content": "what is light"}]


def test_hubert_in_the_layout_of_facebook_hubert_large_ls960_ft(tmp_path):
    folder = save_hubert(tmp_path, safe=False, **LARGE)
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "preprocessor_config.json",
        "pytorch_model.bin",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "vocab.json",
    ]
    encoder = SpeechEncoder.from_pretrained(str(folder), FP32)
    assert encoder.masked and encoder.labels[4] == "|" and encoder.labels[0] == "<pad>"
    norms = [
        encoder.model.hubert.encoder.pos_conv_embed.conv.get_parameter(f"parametrizations.weight.original{i}")
        for i in (0, 1)
    ]
    saved = torch.load(folder / "pytorch_model.bin", weights_only=True)
    assert all(
        torch.equal(norm, saved[f"hubert.encoder.pos_conv_embed.conv.weight_{old}"])
        for norm, old in zip(norms, "gv", strict=True)
    )
    assert (
        encoder.read(
            np.eye(32)[
                [
                    encoder.labels.index(symbol)
                    for symbol in ["T", "E", "L", "L", "<pad>", "L", "|", "<pad>", "|", "M", "E", "E"]
                ]
            ]
        )
        == "TELL ME"
    )
    clips = [np.random.default_rng(i).standard_normal(n).astype(np.float32) for i, n in enumerate((480_000, 16_000))]
    long, short = encoder.encode(clips)
    assert long.shape == (1, 1499, 64) and short.shape == (1, n_frames(16_000), 64)
    assert np.abs(short.emissions - encoder.encode(clips[1:])[0].emissions).max() < 1e-3


def test_hubert_whose_blank_comes_last(tmp_path):
    folder = save_hubert(
        tmp_path, pad_token_id=31
    )  # as in vocabularies that are made of a corpus's letters, and get their bookkeeping afterwards
    symbols = [*"abcdefghijklmnopqrstuvwxyz'|", "<s>", "</s>", "[UNK]", "[PAD]"]
    (folder / "vocab.json").write_text(json.dumps({symbol: i for i, symbol in enumerate(symbols)}))
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "bos_token": "<s>", "eos_token": "</s>"}
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / file).write_text(
            json.dumps({**names, "word_delimiter_token": "|", "do_lower_case": False} if "config" in file else names)
        )
    encoder = SpeechEncoder.from_pretrained(str(folder), FP32)
    assert encoder.labels == ["[PAD]", *symbols[:-1]]
    waveform = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    encoding = encoder.encode([waveform])[0]
    with torch.inference_mode():
        inputs = encoder.processor(waveform, sampling_rate=16_000, return_tensors="pt").input_values
        plain = encoder.model(inputs).logits[0].log_softmax(-1).numpy()
    assert np.allclose(encoding.emissions[:, 0], plain[:, 31], atol=1e-4) and np.allclose(
        encoding.emissions[:, 1:], plain[:, :31], atol=1e-4
    )
    said = np.log(
        0.97
        * np.eye(32, dtype=np.float32)[
            [encoder.labels.index(symbol) for symbol in ["t", "e", "l", "[PAD]", "l", "|", "m", "e"]]
        ]
        + 1e-3
    )
    assert encoder.read(said) == "tell me"
    assert (
        letters(judge(said, "tell me", "sell me", encoder.labels)[0]) == "tell me"
        and BeamSearch.from_pretrained(str(folder), encoder.labels)(said)[0].text == "tell me"
    )


def test_llama_in_the_layout_of_meta_llama_3_8b_instruct(tmp_path):
    folder = save_llama(
        tmp_path,
        shards=4,
        dtype=torch.bfloat16,
        num_hidden_layers=6,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
    )
    names = {p.name for p in folder.iterdir()}
    shards = sorted(n for n in names if n.startswith("model-"))
    assert len(shards) >= 4 and "model.safetensors.index.json" in names and "generation_config.json" in names
    llama = ChatLlama.from_pretrained(str(folder), FP32, load_in_4bit=True)
    assert {llama.tokenizer.convert_ids_to_tokens(i) for i in llama.stop_ids} == {"<|end_of_text|>", "<|eot_id|>"}
    assert (llama.recommended.temperature, llama.recommended.top_p) == (0.6, 0.9)
    assert llama.prompt(MESSAGES) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nYou are a tutor.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nwhat is light<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert llama.complete(MESSAGES, Sampling(max_new_tokens=5)).n_new > 0


def test_a_missing_shard_is_named(tmp_path):
    folder = save_llama(tmp_path, shards=3)
    gone = sorted(folder.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(hub.ModelNotFoundError, match=gone.name):
        ChatLlama.from_pretrained(str(folder), FP32)


def test_bf16_and_4_bit_together(tmp_path):
    llama = ChatLlama.from_pretrained(
        str(save_llama(tmp_path, dtype=torch.bfloat16)), DeviceConfig("cpu", "bfloat16"), load_in_4bit=True
    )
    assert llama.model.lm_head.weight.dtype == torch.bfloat16
    assert llama.complete(MESSAGES, Sampling(max_new_tokens=5)).n_new > 0


def test_any_pair_of_folders_makes_a_pipeline(tiny_hubert, tiny_llama):
    pipeline = SpeechUnderstanding.from_pretrained(hubert=str(tiny_hubert), llama=str(tiny_llama))
    result = pipeline(np.zeros(16_000, np.float32))
    assert result.profile == "custom" and result.no_speech and result.notice is None
    assert json.dumps(result.to_dict())


@pytest.mark.gpu
def test_4_bit_on_cuda(tmp_path):
    llama = ChatLlama.from_pretrained(str(save_llama(tmp_path)), DeviceConfig("cuda", "auto"), load_in_4bit=True)
    assert llama.model.device.type == "cuda" and llama.complete(MESSAGES, Sampling(max_new_tokens=5)).n_new > 0
    assert llama.graph and llama.graph.recordings == 1  # bitsandbytes' kernels can be recorded, too


@pytest.mark.slow
def test_full_shapes_load_and_run(tmp_path):
    """HuBERT-large's true shape, 1.3 GB, random: loads and encodes."""
    folder = save_hubert(
        tmp_path,
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        conv_dim=[512] * 7,
        num_conv_pos_embeddings=128,
        num_conv_pos_embedding_groups=16,
    )
    encoder = SpeechEncoder.from_pretrained(str(folder))
    assert encoder.encode([np.zeros(16_000, np.float32)])[0].shape == (1, 49, 1024)
