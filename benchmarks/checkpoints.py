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


def save_hubert(folder: Path, safe: bool = True, **config) -> Path:
    """A HuBERT with a CTC head of HuBERT-large's build, random and small unless `config` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    small = {
        "vocab_size": 32,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "conv_dim": [16] * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    }
    model = transformers.HubertForCTC(
        transformers.HubertConfig(
            **{**small, "conv_bias": True, "feat_extract_norm": "layer", "do_stable_layer_norm": True, **config}
        )
    )
    model.save_pretrained(folder)
    if (
        not safe
    ):  # facebook/hubert-large-ls960-ft has pytorch_model.bin, and in it the names that PyTorch's weight norm had then
        weights = {
            name.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            ): weight
            for name, weight in model.state_dict().items()
        }
        torch.save(weights, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
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
    # the files as the hub has them, written by hand since transformers 5 saves a processor_config.json instead
    (folder / "vocab.json").write_text(json.dumps({s: i for i, s in enumerate(SYMBOLS)}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "unk_token": "<unk>",
                "bos_token": "<s>",
                "eos_token": "</s>",
                "pad_token": "<pad>",
                "do_lower_case": False,
                "return_attention_mask": True,
                "do_normalize": normalize,
                **tokenizer,
            }
        )
    )
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"})
    )
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "do_normalize": normalize,
                "feature_extractor_type": "Wav2Vec2FeatureExtractor",
                "feature_size": 1,
                "padding_side": "right",
                "padding_value": 0,
                "return_attention_mask": True,
                "sampling_rate": 16000,
            }
        )
    )
    return folder


def save_llama(folder: Path, shards: int = 1, dtype: torch.dtype = torch.float32, **config) -> Path:
    """A Llama with Llama 3's control tokens and chat template, random and small unless `config` says otherwise."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bpe.train_from_iterator(
        ["a patient tutor explains"],
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=LLAMA3_SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        chat_template=LLAMA3_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    small = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
    }
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            **{**small, "bos_token_id": 0, "eos_token_id": 9, "tie_word_embeddings": False, **config}
        )
    ).to(dtype)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=0, eos_token_id=[1, 9], do_sample=True, temperature=0.6, top_p=0.9, max_length=4096
    )
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    model.save_pretrained(folder, max_shard_size=size if shards == 1 else size // (shards - 1))
    return folder
