"""What one token costs on a CPU with the shapes of Llama 3 8B, part by part: PyTorch's way and this project's, in turns.

    python benchmarks/decode.py --threads 2
    python benchmarks/decode.py --context 300

The weights are random; speed does not depend on what they are. A 4-bit matrix is read by bitsandbytes' kernel from codes that begin on a line of
the CPU's cache (as `hubert_llama.nf4` keeps them) and from codes that begin eight bytes beside (where safetensors puts them unasked);
attention and the output layer are PyTorch's and `hubert_llama.decode`'s. Matrices are taken in turns, so that none is still in the cache.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import bitsandbytes  # noqa: F401 - brings the kernel
import torch
from big_pair import machine
from full_size import LLAMA_3_8B

from hubert_llama.decode import OutputLayer, few_queries_attention
from hubert_llama.nf4 import BLOCK, Linear4bit, has_kernel


def placed(tensor: torch.Tensor, beside: int) -> torch.Tensor:
    """A copy that begins so many bytes after a line of the cache."""
    n = tensor.numel() * tensor.element_size()
    space = torch.empty(n + 128, dtype=torch.uint8)
    view = space[-space.data_ptr() % 64 + beside :][:n]
    return view.copy_(tensor.contiguous().view(torch.uint8).reshape(-1)).view(tensor.dtype).view(tensor.shape)


def in_turns(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each way; a first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            times[name] += [1000 * (time.perf_counter() - start)] * (turn > 0)
    return {name: statistics.median(t) for name, t in times.items()}


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
    width, wide, heads, groups = (LLAMA_3_8B[x] for x in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"))
    layers = LLAMA_3_8B["num_hidden_layers"]
    x = torch.randn(1, width, dtype=torch.bfloat16)
    codes, scales = torch.randint(0, 256, (wide, width // 2), dtype=torch.uint8), (torch.rand(width // BLOCK, wide) / 50).bfloat16()
    sets = {beside: [Linear4bit(placed(codes, beside), placed(scales, beside)) for _ in range(8)] for beside in (0, 8)}
    query, key = torch.randn(1, heads, 1, width // heads, dtype=torch.bfloat16), torch.randn(1, groups, args.context, width // heads, dtype=torch.bfloat16)
    ours = OutputLayer(width, LLAMA_3_8B["vocab_size"], bias=False, dtype=torch.bfloat16)
    spread = lambda t: t[:, :, None].expand(-1, -1, heads // groups, -1, -1).reshape(1, heads, args.context, -1)
    with torch.inference_mode():
        ways = {
            "8 matrices, codes beside the lines": lambda: [layer.few(x) for layer in sets[8]],
            "8 matrices, codes on the lines": lambda: [layer.few(x) for layer in sets[0]],
            "attention of a layer, PyTorch": lambda: torch.nn.functional.scaled_dot_product_attention(query, spread(key), spread(key)),
            "attention of a layer, this project": lambda: few_queries_attention(torch.nn.Module(), query, key, key, None),
            "output layer, PyTorch": lambda: torch.nn.functional.linear(x, ours.weight),
            "output layer, this project": lambda: ours(x),
        }
        found = in_turns(ways, args.repeats)
    print(machine())
    size = {"8": 8 * (codes.nbytes + scales.nbytes), "output": 2 * ours.weight.numel()}
    for name, milliseconds in found.items():
        read = size.get(name.split()[0])
        print(f"{name:38s} {milliseconds:8.2f} ms" + (f"  {read / milliseconds / 1e6:5.1f} GB/s" if read else f"  {layers} of them {layers * milliseconds:.0f} ms"))


if __name__ == "__main__":
    main()
