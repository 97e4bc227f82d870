"""The kernels as other CPUs would run them: numba is told that this one can less."""

import os
import subprocess
import sys

import pytest
from llvmlite import binding

HAS = binding.get_host_cpu_features()
AVX2 = ("avx", "avx2", "fma", "f16c", "bmi", "bmi2", "sse4.2", "ssse3", "popcnt")
CPUS = {
    "any": ("sse4.2", "ssse3"),
    "AVX2": AVX2,
    "AVX2 and VNNI": (*AVX2, "avx512f", "avx512vl", "avx512vnni"),
    "AVX-512 without VNNI": (*AVX2, "avx512f", "avx512vl", "avx512bw"),
}
FOUND = {  # has_kernel(), kernels.VNNI, kernels.LANES
    "any": ["False", "False", "8"],
    "AVX2": ["True", "False", "8"],
    "AVX2 and VNNI": ["True", "True", "8"],
    "AVX-512 without VNNI": ["True", "False", "8"],
}
MULTIPLY = """
import numpy as np, torch
from hubert_llama.fast import kernels
from hubert_llama.fast.int8 import Linear8bit, is_quicker
from hubert_llama.fast.linear import Linear4bit, unpacking_threshold
from hubert_llama.fast.matmul import has_kernel
from hubert_llama.fast.nf4 import dequantize, quantize

torch.manual_seed(0)
weight = torch.randn(96, 448) * 0.02
weight[:32, 64:128] = 0
layer = Linear4bit(*quantize(weight))
known = dequantize(layer.codes, layer.scales, layer.units).double()
assert (known - weight).norm() < 0.12 * weight.norm()
for m in (1, 2, 3, 5, 8, 21):
    x = torch.randn(m, 448)
    x[0, :64] = 0
    wanted = x.double() @ known.T
    for way in [layer.multiply_unpacked] + [layer.multiply_bytes] * has_kernel():
        bound = 0.012 if kernels.VNNI or way == layer.multiply_unpacked else 0.015  # AVX2's levels have 7 bits
        assert (way(x) - wanted).norm() < bound * wanted.norm(), (m, way)
    if has_kernel():
        rows = torch.cat([layer.multiply_bytes(row[None]) for row in x])
        assert rows.equal(layer.multiply_bytes(x))  # a row's product does not depend on the others
if has_kernel():
    linear = torch.nn.Linear(448, 96).requires_grad_(False)
    linear.weight[:] = weight
    eight = Linear8bit.of(linear)
    rounded = Linear8bit(eight.codes, eight.scales, eight.units)(torch.eye(448)).T
    assert (rounded - weight).norm() < 0.006 * weight.norm()
    for m in (1, 2, 3, 5, 8, 21):
        x = torch.randn(m, 448)
        assert (eight(x) - linear(x)).norm() < 0.012 * linear(x).norm(), m
        short, wanted = eight(x.bfloat16()), eight(x.bfloat16().float()).bfloat16()
        assert short.dtype == torch.bfloat16 and short.equal(wanted)  # rounded as PyTorch rounds
        layered = Linear4bit(layer.codes, layer.scales, layer.units, linear.bias)
        assert (layered.multiply_bytes(x) - layer.multiply_bytes(x) - linear.bias).abs().max() < 1e-5
assert has_kernel() or not is_quicker(torch.float32)
assert (unpacking_threshold() > 0) == has_kernel()
print(has_kernel(), kernels.VNNI, kernels.LANES)
"""


@pytest.mark.parametrize("cpu", CPUS)
def test_products_are_right_on_other_cpus(cpu):
    if missing := [name for name in CPUS[cpu] if not HAS.get(name)]:
        pytest.skip(f"this CPU lacks {', '.join(missing)}")
    features = ",".join(f"+{name}" for name in CPUS[cpu])
    env = {**os.environ, "NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features}
    command = [sys.executable, "-c", MULTIPLY]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == FOUND[cpu]
