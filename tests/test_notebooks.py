"""Every notebook runs from top to bottom without a GPU and a network: cells that need one say so in a line."""

import json
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUN_ALL = """
import json, os, sys
from pathlib import Path
from execnb.nbio import read_nb
from execnb.shell import CaptureShell
for path in map(Path, sys.argv[1:]):
    notebook = read_nb(path)
    os.chdir(path.parent)
    CaptureShell(path).run_all(notebook, exc_stop=True)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = {cell.id: "".join("".join(out.get("text", "")) for out in cell.outputs) for cell in code}
    print(json.dumps(texts), flush=True)
"""


def flags() -> list[str]:
    """The marks of cells that `nbdev_test` leaves out."""
    settings = ConfigParser(delimiters=["="], interpolation=None)
    settings.read(ROOT / "settings.ini")
    return settings["DEFAULT"]["tst_flags"].split()


def marked(path: Path) -> dict[str, tuple[str, str]]:
    """The cells that `nbdev_test` leaves out: their ids, marks and sources."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"}
    marks = {cell: source.split("\n")[0].removeprefix("#| ") for cell, source in sources.items()}
    return {cell: (mark, sources[cell]) for cell, mark in marks.items() if mark in flags()}


NOTEBOOKS = sorted((ROOT / "nbs").rglob("*.ipynb"))
MARKED = [path for path in NOTEBOOKS if marked(path)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_is_left_out_but_by_a_known_mark(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
        assert not re.search(r"^#\|\s*(eval|skip)", source, re.M), f"{path.name}, {cell['id']}: it never runs"


def test_notebooks_run_from_top_to_bottom_without_a_gpu_and_a_network(tmp_path):
    """Those with marked cells; `nbdev_test` runs the others, which have none, whole."""
    shutil.copytree(ROOT / "nbs", tmp_path / "nbs")
    for folder in ("training", "tests", "benchmarks", "hubert_llama"):  # notebooks look into them
        (tmp_path / folder).symlink_to(ROOT / folder)
    env = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "home"),
        "CUDA_VISIBLE_DEVICES": "",
        "IN_TEST": "1",
        "MPLBACKEND": "agg",
        "PYTHONPATH": str(ROOT),
    }
    copies = [str(tmp_path / path.relative_to(ROOT)) for path in MARKED]
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, *copies], env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    ran = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for path, outputs in zip(MARKED, ran, strict=True):
        for cell, (mark, source) in marked(path).items():
            guarded = "needs " in source
            assert guarded or mark != "gpu", f"{path.name}, {cell}: it does not say that it needs a GPU"
            assert not guarded or outputs[cell].startswith("needs ") and outputs[cell].count("\n") == 1, (
                f"{path.name}, {cell}"
            )
    assert len(MARKED) >= 5
