"""Checkpoints of the big pair's exact shapes, types, file names and layout, with random weights.

    python benchmarks/full_size.py /tmp/full-size                  # both; 17.4 GB
    python benchmarks/full_size.py /tmp/full-size --only hubert    # 1.3 GB
    python benchmarks/full_size.py /tmp/full-size --only llama --layers 4    # a slice of the 8B: 5.6 GB
    python benchmarks/full_size.py /tmp/full-size --shape smollm2-1.7b       # profile small's pair; 4.7 GB

Speed and memory do not depend on what the weights are, so what is measured on these holds for
facebook/hubert-large-ls960-ft, meta-llama/Meta-Llama-3-8B-Instruct and HuggingFaceTB/SmolLM2-1.7B-Instruct:

    hubert-llama ask nbs/clips/gravity.ogg --hubert /tmp/full-size/hubert --llama /tmp/full-size/llama

The weights are shifted pieces of one block of random numbers, which takes minutes less than drawing eight billion.
Needs 3 GB of memory.
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from checkpoints import LLAMA3_TEMPLATE, save_hubert
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm

from hubert_llama.models import hub

ROOT = Path(__file__).resolve().parent.parent
HUBERT_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "conv_dim": [512] * 7,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "feat_proj_layer_norm": True,
    "hidden_dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.1,
    "feat_proj_dropout": 0.1,
    "final_dropout": 0.1,
    "layerdrop": 0.1,
    "pad_token_id": 0,
}
LLAMA_3_8B = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": 128_000,
    "eos_token_id": 128_009,
    "attention_bias": False,
    "initializer_range": 0.02,
}
SMOLLM2_17B = {
    "vocab_size": 49_152,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.02,
}
WORDS = 128_000  # entries of Llama 3's BPE, before its 256 control tokens
NAMED = {
    0: "begin_of_text",
    1: "end_of_text",
    4: "finetune_right_pad_id",
    6: "start_header_id",
    7: "end_header_id",
    8: "eom_id",
    9: "eot_id",
    10: "python_tag",
}
SHARD_LAYERS = ((0, 9), (9, 20), (20, 31), (31, 32))  # of the published shards, about


def write_tokenizer(folder: Path) -> None:
    """A byte-level BPE of 128,000 entries, trained on the curriculum and filled up, and 256 control tokens."""
    bpe = Tokenizer(models.BPE(ignore_merges=True))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    paths = sorted((ROOT / "training" / "curriculum").glob("*.jsonl"))
    texts = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=WORDS, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    data = json.loads(bpe.to_str())
    vocabulary = data["model"]["vocab"]
    vocabulary.update({f"<filler {i}>": i for i in range(len(vocabulary), WORDS)})
    bpe = Tokenizer.from_str(json.dumps(data))
    rest = iter(range(256))
    bpe.add_special_tokens(
        [f"<|{NAMED[i]}|>" if i in NAMED else f"<|reserved_special_token_{next(rest)}|>" for i in range(256)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        chat_template=LLAMA3_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=8192,
    )
    assert len(tokenizer) == LLAMA_3_8B["vocab_size"] and tokenizer.convert_tokens_to_ids("<|eot_id|>") == 128_009
    tokenizer.save_pretrained(folder)


def tensors(config: transformers.LlamaConfig, layers: range) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of some layers' weights, and of what the first or the last layer's shard holds besides."""
    h, kv, ff = config.hidden_size, config.num_key_value_heads * config.head_dim, config.intermediate_size
    if 0 in layers:
        yield "model.embed_tokens.weight", (config.vocab_size, h)
    for i in layers:
        layer = f"model.layers.{i}."
        for name, rows, columns in (("q", h, h), ("k", kv, h), ("v", kv, h), ("o", h, h)):
            yield f"{layer}self_attn.{name}_proj.weight", (rows, columns)
        for name, rows, columns in (("gate", ff, h), ("up", ff, h), ("down", h, ff)):
            yield f"{layer}mlp.{name}_proj.weight", (rows, columns)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}{name}.weight", (h,)
    if config.num_hidden_layers - 1 in layers:
        yield "model.norm.weight", (h,)
        if not config.tie_word_embeddings:
            yield "lm_head.weight", (config.vocab_size, h)


def write_config(folder: Path, n_layers: int) -> transformers.LlamaConfig:
    """The configuration, and that of generation."""
    config = transformers.LlamaConfig(
        **{**LLAMA_3_8B, "num_hidden_layers": n_layers},
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    transformers.GenerationConfig(
        bos_token_id=128_000,
        eos_token_id=[128_001, 128_009],
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
        max_length=4096,
    ).save_pretrained(folder)
    return config


def write_llama(folder: Path, n_layers: int) -> None:
    """Four shards in bf16 with their index, configuration and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    config = write_config(folder, n_layers)
    torch.manual_seed(0)
    block = (torch.randn(1 << 24) * config.initializer_range).bfloat16()
    index, total = {}, 0
    for n, (first, last) in enumerate(tqdm(SHARD_LAYERS, desc="shards"), 1):
        name, shard = f"model-{n:05d}-of-{len(SHARD_LAYERS):05d}.safetensors", {}
        end = last * n_layers // 32 if n < len(SHARD_LAYERS) else n_layers
        for key, shape in tensors(config, range(first * n_layers // 32, end)):
            shard[key] = drawn(block, shape)
            index[key], total = name, total + shard[key].nbytes
        save_file(shard, folder / name, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2) + "\n"
    )


def write_smollm2(folder: Path, n_layers: int) -> None:
    """SmolLM2-1.7B in one file of bf16, with the tokenizer of the 135M, which is the same."""
    folder.mkdir(parents=True, exist_ok=True)
    transformers.AutoTokenizer.from_pretrained(hub.fetch(hub.SMOLLM2)).save_pretrained(folder)
    config = transformers.LlamaConfig(
        **{**SMOLLM2_17B, "num_hidden_layers": n_layers},
        rope_parameters={"rope_type": "default", "rope_theta": 130_000.0},
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    transformers.GenerationConfig(bos_token_id=1, eos_token_id=2).save_pretrained(folder)
    torch.manual_seed(0)
    block = (torch.randn(1 << 24) * config.initializer_range).bfloat16()
    weights = {key: drawn(block, shape) for key, shape in tensors(config, range(n_layers))}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def drawn(block: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A norm's ones, or a matrix of the block's numbers, which begin anywhere in it."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    numbers = torch.Size(shape).numel()
    shifted = block.roll(int(torch.randint(len(block), ())))
    return shifted.repeat(-(-numbers // len(block)))[:numbers].view(shape)


def main() -> None:
    """Write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the folders hubert and llama are made")
    parser.add_argument("--only", choices=["hubert", "llama"])
    parser.add_argument("--shape", choices=["llama3-8b", "smollm2-1.7b"], default="llama3-8b", help="the Llama's")
    parser.add_argument("--layers", type=int, help="layers of the Llama (default: all)")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    smol = args.shape == "smollm2-1.7b"
    layers = args.layers or (SMOLLM2_17B if smol else LLAMA_3_8B)["num_hidden_layers"]
    llama_bytes = 0.2e9 + layers * 0.134e9 if smol else 2.1e9 + layers * 0.437e9
    needed = (1.3e9 if args.only != "llama" else 0) + (llama_bytes if args.only != "hubert" else 0)
    if (free := shutil.disk_usage(args.folder).free) < needed:
        raise SystemExit(f"No room in {args.folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free.")
    if args.only != "llama":
        save_hubert(args.folder / "hubert", safe=False, **HUBERT_LARGE)
    if args.only != "hubert":
        (write_smollm2 if smol else write_llama)(args.folder / "llama", layers)


if __name__ == "__main__":
    main()
