"""What one token costs on a CPU with the shapes of Llama 3 8B, part by part: PyTorch's way and this project's, in turns.

    python benchmarks/decode.py --threads 2
    python benchmarks/decode.py --context 300

The weights are random; speed does not depend on what they are. A 4-bit matrix is read by bitsandbytes' kernel from codes that begin on a line of
the CPU's cache (as `hubert_llama.nf4` keeps them) and from codes that begin eight bytes beside (where safetensors puts them unasked);
attention and the output layer are PyTorch's and this project's (`hubert_llama.attention`, `hubert_llama.decode`). Matrices are taken in turns, so that none is still in the cache.
"""

import argparse
import statistics
from collections.abc import Callable

import bitsandbytes  # noqa: F401 - brings the kernel
import torch
from big_pair import machine
from full_size import LLAMA_3_8B
from timing import in_turns

from hubert_llama.attention import attend
from hubert_llama.decode import OutputLayer
from hubert_llama.nf4 import BLOCK, Linear4bit, has_kernel


def placed(tensor: torch.Tensor, beside: int) -> torch.Tensor:
    """A copy that begins so many bytes after a line of the cache."""
    n = tensor.numel() * tensor.element_size()
    space = torch.empty(n + 128, dtype=torch.uint8)
    view = space[-space.data_ptr() % 64 + beside :][:n]
    return view.copy_(tensor.contiguous().view(torch.uint8).reshape(-1)).view(tensor.dtype).view(tensor.shape)


def few_tokens(context: int) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """The parts, PyTorch's way and this project's, and the bytes that those read which read weights."""
    width, wide, heads, groups = (LLAMA_3_8B[x] for x in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"))
    x = torch.randn(1, width, dtype=torch.bfloat16)
    codes, scales = torch.randint(0, 256, (wide, width // 2), dtype=torch.uint8), (torch.rand(width // BLOCK, wide) / 50).bfloat16()
    beside, aligned = ([Linear4bit(placed(codes, n), placed(scales, n)) for _ in range(8)] for n in (8, 0))
    query, key = torch.randn(1, heads, 1, width // heads, dtype=torch.bfloat16), torch.randn(1, groups, context, width // heads, dtype=torch.bfloat16)
    layer = OutputLayer(width, LLAMA_3_8B["vocab_size"], bias=False, dtype=torch.bfloat16)
    ways = {
        "8 matrices, codes beside the lines": lambda: [m.few(x) for m in beside],
        "8 matrices, codes on the lines": lambda: [m.few(x) for m in aligned],
        "attention of a layer, PyTorch": lambda: torch.nn.functional.scaled_dot_product_attention(query, key, key, enable_gqa=True),
        "attention of a layer, this project": lambda: attend(torch.nn.Module(), query, key, key, None),
        "output layer, PyTorch": lambda: torch.nn.functional.linear(x, layer.weight),
        "output layer, this project": lambda: layer(x),
    }
    sizes = {"8 matrices": 8 * (codes.nbytes + scales.nbytes), "output layer": 2 * layer.weight.numel()}
    return ways, {name: size for name in ways for part, size in sizes.items() if name.startswith(part)}


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
        raise SystemExit("bitsandbytes has no kernel for this CPU (it needs AVX512-BF16): nothing to compare.")
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
