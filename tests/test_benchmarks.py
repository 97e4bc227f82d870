"""Benchmarks that this machine may be unable to run in earnest still run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def benchmark(name: str, *args: str | Path) -> list[str]:
    """The lines that a benchmark prints."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / name, *args],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def cells(row: str) -> list[str]:
    """Of a row of a table."""
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_gpus_benchmark_runs_without_a_gpu():
    row = cells(
        benchmark(
            "gpu.py",
            ROOT / "hubert_llama" / "mini",
            "--device",
            "cpu",
            "--weights",
            "bf16",
            "--new",
            "3",
            "--repeats",
            "1",
            "--numbers",
            "1000000",
        )[-1]
    )
    assert row[0] == "bf16" and row[2] == "-" and len(row) == 8
    asked, recorded, heard = (float(row[i].split()[0]) for i in (4, 5, 7))
    assert 0 < asked < heard and 0 < recorded < heard


def test_batching_is_measured():
    *_, row = benchmark("batching.py", "--requests", "2", "--repeats", "1", "--seconds", "1")
    n, apart, first, together, ratio = cells(row)
    assert (
        n == "2"
        and abs(float(apart.split()[0]) / float(together.split()[0]) / float(ratio) - 1) < 0.2
        and abs(2 * float(first) - float(apart.split()[0])) < 0.005
    )


def test_what_bytes_cost_the_letters_is_counted(tmp_path):
    from hubert_llama.fast.matmul import has_kernel

    if not has_kernel():
        pytest.skip("this CPU has no instructions that multiply bytes")
    said = {"gravity": "can you explain gravity", "sum": "what is seven plus eight"}
    lines = [
        json.dumps({"audio": str(ROOT / "nbs" / "clips" / f"{name}.ogg"), "text": text}) for name, text in said.items()
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    rows = [cells(line) for line in benchmark("numerics.py", tmp_path / "manifest.jsonl")[-4:]]
    assert [row[0] for row in rows] == ["fp32", "bf16", "bytes and fp32", "bytes and bf16"] and rows[0][3:] == [
        "2",
        "0.0000",
    ]
    assert all(0 < float(row[4]) < 0.05 and float(row[1]) < 60 for row in rows[1:]), rows


def test_the_ratios_follow_from_their_figures(tmp_path):
    from PIL import Image
    from ratios import rows_of

    shown = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8")
    rows = rows_of(shown)
    assert len(rows) >= 6
    for what, _, ratio in rows:
        row = next(
            line
            for line in shown.splitlines()
            if line.startswith(f"| {what} |") and line.rstrip(" |").endswith(f" {ratio:g}")
        )
        ours, theirs = (float(re.search(r"([\d.]+) (ms|s|tokens/s)", cell)[1]) for cell in cells(row)[1:3])
        assert abs((ours / theirs if "tokens/s" in row else theirs / ours) / ratio - 1) < 0.05, what
    assert f"{len(rows)} ratios" in benchmark("ratios.py", ROOT / "BENCHMARKS.md", tmp_path / "r.png")[-1]
    for picture in (tmp_path / "r.png", ROOT / "nbs" / "images" / "ratios.png"):
        assert json.loads(Image.open(picture).info["Description"]) == [list(row) for row in rows], (
            "draw it anew: python benchmarks/ratios.py BENCHMARKS.md nbs/images/ratios.png"
        )


def test_the_benchmarks_are_written_from_their_records():
    from report import document

    assert (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8") == document(), "python benchmarks/report.py write"


def test_readmes_figures_stand_in_the_benchmarks():
    shown = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8")
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## In figures")[1].split("##")[0]
    figures = re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", table)
    assert len(figures) >= 8 and [f for f in figures if f not in shown] == []
