"""What one token costs on a CPU with the shapes of Llama 3 8B, part by part: PyTorch's way and this project's, in turns.

    python benchmarks/decode.py --threads 2
    python benchmarks/decode.py --context 300
    NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma,+f16c,+bmi2,+ssse3 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/decode.py    # as on a CPU with AVX2 alone

The weights are random; speed does not depend on what they are. 4-bit matrices are read by bitsandbytes' kernel and by this project's (`hubert_llama.fast.nf4`), the latter also from codes that
begin eight bytes beside a line of the CPU's cache, where safetensors puts them unasked, or unpacked first (in fp32, as where a CPU has no units for bf16). Attention is PyTorch's, that of `hubert_llama.fast.attention`, and that of `hubert_llama.fast.few_tokens`, keys and values in a room
with space left; the output layer is PyTorch's, this project's, and its sketch with exact values for the likeliest tokens. Matrices are taken in turns, so that none is still in the cache.
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
from hubert_llama.fast.few_tokens import OutputLayer, attend_few
from hubert_llama.fast.nf4 import BLOCK, GROUP, LEVELS, Linear4bit, has_kernel


def placed(tensor: torch.Tensor, beside: int) -> torch.Tensor:
    """A copy that begins so many bytes after a line of the cache."""
    n = tensor.numel() * tensor.element_size()
    space = torch.empty(n + 128, dtype=torch.uint8)
    view = space[-space.data_ptr() % 64 + beside :][:n]
    return view.copy_(tensor.contiguous().view(torch.uint8).reshape(-1)).view(tensor.dtype).view(tensor.shape)


def four_bits(n: int, k: int, beside: int) -> Linear4bit:
    """A matrix of random codes, which begin so many bytes after a line of the cache."""
    return Linear4bit(placed(torch.randint(0, 256, (n, k // 2), dtype=torch.uint8), beside), placed(torch.randint(0, 256, (n // GROUP, k // BLOCK, GROUP), dtype=torch.uint8), beside), torch.full((n,), 1e-4))


def few_tokens(context: int) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """The parts, PyTorch's way and this project's, and the bytes that those read which read weights."""
    width, wide, heads, groups = (LLAMA_3_8B[x] for x in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"))
    x = torch.randn(1, width, dtype=torch.bfloat16)
    beside, aligned = ([four_bits(wide, width, n) for _ in range(8)] for n in (8, 0))
    absmax, levels = [torch.ones(width // BLOCK, wide, dtype=torch.bfloat16) for _ in aligned], torch.from_numpy(LEVELS)
    query, room = torch.randn(1, heads, 1, width // heads, dtype=torch.bfloat16), torch.randn(1, groups, context + 256, width // heads, dtype=torch.bfloat16)
    layer, module, key = OutputLayer(width, LLAMA_3_8B["vocab_size"], bias=False, dtype=torch.bfloat16), torch.nn.Module(), room[:, :, :context]
    layer.sketch = four_bits(LLAMA_3_8B["vocab_size"], width, 0)
    ways = {
        "8 matrices, bitsandbytes": lambda: [torch.ops.bitsandbytes.gemv_4bit(x, m.codes, [wide, width], scales, levels, BLOCK) for m, scales in zip(aligned, absmax)],
        "8 matrices, codes beside the lines": lambda: [m.few(x) for m in beside],
        "8 matrices, this project": lambda: [m.few(x) for m in aligned],
        "8 matrices, unpacked first, fp32": lambda: [m.many(x.float()) for m in aligned],
        "attention of a layer, PyTorch": lambda: torch.nn.functional.scaled_dot_product_attention(query, key, key, enable_gqa=True),
        "attention of a layer, plain products": lambda: attend(module, query, key, key, None),
        "attention of a layer, this project": lambda: attend_few(module, query, key, key, None),
        "output layer, PyTorch": lambda: torch.nn.functional.linear(x, layer.weight),
        "output layer, this project": lambda: layer(x),
        "output layer's sketch": lambda: layer.likely(x),
    }
    sizes = {"8 matrices, bitsandbytes": 8 * (aligned[0].codes.nbytes + absmax[0].nbytes), "8 matrices": 8 * bytes_in_4_bit(aligned[0]), "output layer,": 2 * layer.weight.numel(), "output layer's": bytes_in_4_bit(layer.sketch)}
    if not bitsandbytes.functional.has_avx512bf16():  # its kernel for single rows; its codes lie otherwise then
        del ways["8 matrices, bitsandbytes"]
    return ways, {name: next(size for part, size in sizes.items() if name.startswith(part)) for name in ways if not name.startswith("attention")}


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
    ways, read = few_tokens(args.context)
    with torch.inference_mode():
        found = in_turns(ways, args.repeats)
    print(machine())
    layers = LLAMA_3_8B["num_hidden_layers"]
    for name, times in found.items():
        seconds = statistics.median(times)
        print(f"{name:38s} {1000 * seconds:8.2f} ms" + (f"  {read[name] / seconds / 1e9:5.1f} GB/s" if name in read else f"  {layers} of them {1000 * layers * seconds:.0f} ms"))


if __name__ == "__main__":
    main()
