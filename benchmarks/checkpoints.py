"""Small models with random weights, saved with the hub's file names."""

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SYMBOLS = ["<pad>", "<s>", "</s>", "<unk>", *"|ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
LLAMA3_SPECIAL = (
    ["<|begin_of_text|>", "<|end_of_text|>"]
    + [f"<|reserved_special_token_{i}|>" for i in range(4)]
    + ["<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"]
)
LLAMA3_TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
SMALL_HUBERT = {
    "vocab_size": 32,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
# the files as the hub has them, written by hand since transformers 5 saves a processor_config.json instead
WAV2VEC2_FILES = {
    "vocab.json": {s: i for i, s in enumerate(SYMBOLS)},
    "tokenizer_config.json": {
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "do_lower_case": False,
        "return_attention_mask": True,
        "do_normalize": True,
    },
    "special_tokens_map.json": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
    "preprocessor_config.json": {
        "do_normalize": True,
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0,
        "return_attention_mask": True,
        "sampling_rate": 16000,
    },
}
SMALL_LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}


def save_hubert(folder: Path, safe: bool = True, **config) -> Path:
    """A HuBERT with a CTC head of HuBERT-large's build, random and small unless `config` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    large = {"conv_bias": True, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
    model = transformers.HubertForCTC(transformers.HubertConfig(**{**SMALL_HUBERT, **large, **config}))
    model.save_pretrained(folder)
    if not safe:
        save_old(model, folder)
    return with_processor(folder)


def save_mel_hubert(folder: Path, **config) -> Path:
    """A MelHuBERT, random and small unless `config` says otherwise."""
    from hubert_llama.mel_hubert import MelHubertConfig, MelHubertForCTC

    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    MelHubertForCTC(MelHubertConfig(**{**small, **config})).save_pretrained(folder)
    return with_processor(folder, normalize=False, tokenizer_class="Wav2Vec2CTCTokenizer")


def with_processor(folder: Path, normalize: bool = True, **tokenizer: str) -> Path:
    """A HuBERT's letters and its feature extractor, beside its weights."""
    changed = {
        "tokenizer_config.json": {"do_normalize": normalize, **tokenizer},
        "preprocessor_config.json": {"do_normalize": normalize},
    }
    for name, content in WAV2VEC2_FILES.items():
        (folder / name).write_text(json.dumps(content | changed.get(name, {})))
    return folder


def save_old(model: transformers.HubertForCTC, folder: Path) -> None:
    """The weights as facebook/hubert-large-ls960-ft has them: pytorch_model.bin, weight norm under its former names."""
    norm = "parametrizations.weight.original"
    weights = {
        name.replace(f"{norm}0", "weight_g").replace(f"{norm}1", "weight_v"): weight
        for name, weight in model.state_dict().items()
    }
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def llama3_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A byte tokenizer with Llama 3's control tokens and chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=LLAMA3_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["a patient tutor explains"], trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        chat_template=LLAMA3_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def save_llama(folder: Path, shards: int = 1, dtype: torch.dtype = torch.float32, **config) -> Path:
    """A Llama with Llama 3's control tokens and chat template, random and small unless `config` says otherwise."""
    tokenizer = llama3_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    llama3 = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 9, "tie_word_embeddings": False}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SMALL_LLAMA, **llama3, **config})).to(dtype)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=0, eos_token_id=[1, 9], do_sample=True, temperature=0.6, top_p=0.9, max_length=4096
    )
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    model.save_pretrained(folder, max_shard_size=size if shards == 1 else size // (shards - 1))
    return folder
