"""Benchmarks that this machine may be unable to run in earnest still run."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_gpus_benchmark_runs_without_a_gpu():
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", ROOT / "hubert_llama" / "mini", "--device", "cpu", "--weights", "bf16", "--new", "3", "--repeats", "1", "--numbers", "1000000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    row = [cell.strip() for cell in done.stdout.splitlines()[-1].strip("|").split("|")]
    assert row[0] == "bf16" and row[2] == "-" and len(row) == 8
    asked, recorded, heard = (float(row[i].split()[0]) for i in (4, 5, 7))
    assert 0 < asked < heard and 0 < recorded < heard
