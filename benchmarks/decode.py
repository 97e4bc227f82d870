"""What one token costs on a CPU with the shapes of Llama 3 8B, part by part: PyTorch's way and this project's.

    python benchmarks/decode.py --threads 2
    python benchmarks/decode.py --context 300

As on a CPU with AVX2 alone:

    python benchmarks/avx2.py python benchmarks/decode.py

The weights are random; speed does not depend on what they are. 4-bit matrices are read by bitsandbytes' kernel and by
this project's (`hubert_llama.fast.matmul`), the latter also from codes that begin eight bytes beside a line of the
CPU's cache, where safetensors puts them unasked, or unpacked first (in fp32, as where a CPU has no units for bf16).
Attention is PyTorch's, that of `hubert_llama.fast.attention`, and that of `hubert_llama.fast.decode_attention`, keys
and values in a buffer with space left; the output layer is PyTorch's, this project's, and its sketch with exact values
for the likeliest tokens. Matrices are taken in turns, so that none is still in the cache.
"""

import argparse
import statistics
from collections.abc import Callable

import bitsandbytes
import torch
from big_pair import bytes_in_4_bit, machine
from full_size import LLAMA_3_8B
from timing import in_turns

from hubert_llama.fast.attention import attend
from hubert_llama.fast.decode_attention import decode_attention
from hubert_llama.fast.layout import BLOCK, part_shapes
from hubert_llama.fast.linear import Linear4bit
from hubert_llama.fast.matmul import has_kernel
from hubert_llama.fast.nf4 import LEVELS
from hubert_llama.fast.output_layer import OutputLayer


def placed(tensor: torch.Tensor, offset: int) -> torch.Tensor:
    """A copy that begins so many bytes after a line of the cache."""
    n = tensor.numel() * tensor.element_size()
    space = torch.empty(n + 128, dtype=torch.uint8)
    view = space[-space.data_ptr() % 64 + offset :][:n]
    return view.copy_(tensor.contiguous().view(torch.uint8).reshape(-1)).view(tensor.dtype).view(tensor.shape)


def four_bits(n: int, k: int, offset: int = 0) -> Linear4bit:
    """A matrix of random codes, which begin so many bytes after a line of the cache."""
    codes, scales, _ = part_shapes(n, k, Linear4bit.bits)
    parts = (placed(torch.randint(0, 256, shape, dtype=torch.uint8), offset) for shape in (codes, scales))
    return Linear4bit(*parts, torch.full((n,), 1e-4))


WIDTH, WIDE, HEADS, GROUPS, VOCABULARY = (
    LLAMA_3_8B[name]
    for name in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "vocab_size")
)
Ways = dict[str, Callable[[], object]]  # by what they do
Sizes = dict[str, int]  # bytes of weights that a way reads


def matrices() -> tuple[Ways, Sizes]:
    """Eight matrices of four bits times one row."""
    x = torch.randn(1, WIDTH, dtype=torch.bfloat16)
    straddling, aligned = ([four_bits(WIDE, WIDTH, n) for _ in range(8)] for n in (8, 0))
    absmax = [torch.ones(WIDTH // BLOCK, WIDE, dtype=torch.bfloat16) for _ in aligned]
    levels, theirs = torch.from_numpy(LEVELS), torch.ops.bitsandbytes.gemv_4bit
    pairs = list(zip(aligned, absmax, strict=True))
    ways = {
        "bitsandbytes": lambda: [theirs(x, m.codes, [WIDE, WIDTH], scales, levels, BLOCK) for m, scales in pairs],
        "codes beside the lines": lambda: [m.multiply_bytes(x) for m in straddling],
        "this project": lambda: [m.multiply_bytes(x) for m in aligned],
        "unpacked first, fp32": lambda: [m.multiply_unpacked(x.float()) for m in aligned],
    }
    sizes = dict.fromkeys(ways, 8 * bytes_in_4_bit(aligned[0]))
    sizes["bitsandbytes"] = 8 * (aligned[0].codes.nbytes + absmax[0].nbytes)
    if not bitsandbytes.functional.has_avx512bf16():  # its kernel for single rows; its codes lie otherwise then
        del ways["bitsandbytes"]
    return tuple({f"8 matrices, {way}": x for way, x in of.items()} for of in (ways, sizes))


def attention(context: int) -> Ways:
    """A token of a layer's heads that looks back."""
    query = torch.randn(1, HEADS, 1, WIDTH // HEADS, dtype=torch.bfloat16)
    buffer = torch.randn(1, GROUPS, context + 256, WIDTH // HEADS, dtype=torch.bfloat16)
    sdpa, module, key = torch.nn.functional.scaled_dot_product_attention, torch.nn.Module(), buffer[:, :, :context]
    return {
        "attention of a layer, PyTorch": lambda: sdpa(query, key, key, enable_gqa=True),
        "attention of a layer, plain products": lambda: attend(module, query, key, key, None),
        "attention of a layer, this project": lambda: decode_attention(module, query, key, key, None),
    }


def output_layer() -> tuple[Ways, Sizes]:
    """The logits of one token."""
    x = torch.randn(1, WIDTH, dtype=torch.bfloat16)
    layer = OutputLayer(WIDTH, VOCABULARY, bias=False, dtype=torch.bfloat16)
    layer.sketch = four_bits(VOCABULARY, WIDTH)
    ways = {
        "output layer, PyTorch": lambda: torch.nn.functional.linear(x, layer.weight),
        "output layer, this project": lambda: layer(x),
        "output layer's sketch": lambda: layer.likely(x),
    }
    return ways, dict.fromkeys(ways, 2 * layer.weight.numel()) | {"output layer's sketch": bytes_in_4_bit(layer.sketch)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--context", type=int, default=1000, help="tokens that the new one looks back on")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if not has_kernel():
        raise SystemExit("There is no kernel for this CPU (it needs AVX2): nothing to compare.")
    (products, read), (logits, read_for_logits) = matrices(), output_layer()
    read |= read_for_logits
    with torch.inference_mode():
        found = in_turns(products | attention(args.context) | logits, args.repeats)
    print(machine())
    layers = LLAMA_3_8B["num_hidden_layers"]
    for name, times in found.items():
        seconds = statistics.median(times)
        rate = f"{read[name] / seconds / 1e9:5.1f} GB/s" if name in read else ""
        print(f"{name:38s} {1000 * seconds:8.2f} ms  {rate or f'{layers} of them {1000 * layers * seconds:.0f} ms'}")


if __name__ == "__main__":
    main()
