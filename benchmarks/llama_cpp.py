"""llama.cpp on Llama 3 8B's shapes in Q4_K_M, beside benchmarks/big_pair.py: reading 512 tokens, and writing.

    pip install xllamacpp gguf
    python benchmarks/llama_cpp.py /tmp/full-size --threads 2
    python benchmarks/llama_cpp.py /tmp/full-size --no-repack     # where its AMX path crashes

The file FOLDER/llama-32.gguf (4.9 GB) is made when it is not there: Q4_K, and Q6_K where Q4_K_M has it (the output
layer, values and half of the down projections); its codes are random, its scales small. Speed does not depend on what
the weights are. xllamacpp is llama.cpp with its own server, in a wheel; nothing is sent anywhere.
"""

import argparse
import json
import os
import statistics
from pathlib import Path

import numpy as np
from full_size import LLAMA_3_8B

PROMPT_TOKENS = 512


def q4_k(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A matrix in Q4_K: 144 bytes for 256 weights, which begin with two scales in fp16."""
    blocks = rng.integers(0, 256, (rows, columns // 256, 144), np.uint8)
    blocks[..., :4] = np.array([0.0004, 0.003], np.float16).view(np.uint8)
    return blocks.reshape(rows, -1)


def q6_k(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A matrix in Q6_K: 210 bytes for 256 weights, which end with a scale in fp16."""
    blocks = rng.integers(0, 256, (rows, columns // 256, 210), np.uint8)
    blocks[..., 208:] = np.array([0.00002], np.float16).view(np.uint8)
    return blocks.reshape(rows, -1)


def more_bits(layer: int, layers: int) -> bool:
    """Whether Q4_K_M spends six bits on this layer's values and down projection."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def write_header(writer, layers: int) -> None:
    """What llama.cpp has to know of the model, and a vocabulary of names."""
    import gguf

    c = LLAMA_3_8B
    writer.add_vocab_size(c["vocab_size"])
    writer.add_context_length(8192)
    writer.add_embedding_length(c["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_rope_dimension_count(128)
    writer.add_head_count(c["num_attention_heads"])
    writer.add_head_count_kv(c["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500_000.0)
    writer.add_file_type(15)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_bos_token_id(128_000)
    writer.add_eos_token_id(128_009)
    writer.add_token_list([f"<{i}>" for i in range(c["vocab_size"])])
    writer.add_token_types([gguf.TokenType.NORMAL] * c["vocab_size"])
    writer.add_token_merges(["a b"])


def write_gguf(path: Path, layers: int) -> None:
    """The whole model; layers share their random numbers."""
    import gguf

    c, rng = LLAMA_3_8B, np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    write_header(writer, layers)
    four, six = gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q6_K
    h, kv, ff = c["hidden_size"], 1024, c["intermediate_size"]
    shared = {(four, shape): q4_k(rng, *shape) for shape in ((h, h), (kv, h), (ff, h), (h, ff))}
    shared |= {(six, shape): q6_k(rng, *shape) for shape in ((kv, h), (h, ff))}
    ones = np.ones(h, np.float32)
    writer.add_tensor("token_embd.weight", q4_k(rng, c["vocab_size"], h), raw_dtype=four)
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", q6_k(rng, c["vocab_size"], h), raw_dtype=six)
    attention = {"attn_q": (h, h), "attn_k": (kv, h), "attn_v": (kv, h), "attn_output": (h, h)}
    shapes = attention | {"ffn_gate": (ff, h), "ffn_up": (ff, h), "ffn_down": (h, ff)}
    for i in range(layers):
        for name, shape in shapes.items():
            kind = six if name in ("attn_v", "ffn_down") and more_bits(i, layers) else four
            writer.add_tensor(f"blk.{i}.{name}.weight", shared[kind, shape], raw_dtype=kind)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{i}.{name}.weight", ones)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file(progress=True)
    writer.close()


def measure(path: Path, threads: int, repack: bool, repeats: int, new: int) -> tuple[list[float], list[float]]:
    """Tokens a second, reading and writing, of each run after a first one."""
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel = str(path), 1024, 1
    p.no_extra_bufts, p.warmup, p.verbosity = not repack, False, -1
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
    server, reading, writing, rng = xllamacpp.Server(p), [], [], np.random.default_rng(1)
    for i in range(repeats + 1):
        asked = {
            "prompt": rng.integers(0, 100_000, PROMPT_TOKENS).tolist(),
            "n_predict": new,
            "cache_prompt": False,
            "ignore_eos": True,
            "temperature": 0,
        }
        answer = server.handle_completions(asked)
        timings = (json.loads(answer) if isinstance(answer, (str, bytes)) else answer)["timings"]
        if i:
            reading.append(timings["prompt_per_second"])
            # its clock starts when the first token is there
            writing.append(1000 * (timings["predicted_n"] - 1) / timings["predicted_ms"])
    return reading, writing


def main() -> None:
    """Make the file, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the file is, or is made")
    parser.add_argument("--layers", type=int, default=LLAMA_3_8B["num_hidden_layers"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--new", type=int, default=16, help="tokens written (default: %(default)s)")
    parser.add_argument("--no-repack", action="store_true", help="without llama.cpp's extra buffer types")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    path = args.folder / f"llama-{args.layers}.gguf"
    if not path.exists():
        write_gguf(path.with_suffix(".part"), args.layers)
        path.with_suffix(".part").rename(path)
    reading, writing = measure(path, args.threads, not args.no_repack, args.repeats, args.new)
    read, written = (f"{statistics.median(r):.2f} ({min(r):.2f}–{max(r):.2f})" for r in (reading, writing))
    threads = f"{args.threads} threads{', without extra buffer types' if args.no_repack else ''}"
    print(f"llama.cpp Q4_K_M, {path.stat().st_size / 1e9:.2f} GB, {threads}: ", end="")
    print(f"reading {PROMPT_TOKENS} tokens {read} tokens/s, writing {written} tokens/s")


if __name__ == "__main__":
    main()
