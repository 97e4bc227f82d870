"""The rules that hold the notebooks together: data flows one way, and committed notebooks stay small."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))
ORDER = [match[1] for path in NOTEBOOKS if (match := re.search(r'"#\| default_exp (\w+)"', path.read_text(encoding="utf-8")))]


def imported(module: str) -> set[str]:
    """Modules of this package that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / "hubert_llama" / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("hubert_llama")):
            inside = (node.module or "").removeprefix("hubert_llama").lstrip(".")
            names |= {inside.split(".")[0]} if inside else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("hubert_llama.")}
    return names & set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_nothing_earlier_imports_anything_later(module):
    later = [name for name in imported(module) if ORDER.index(name) >= ORDER.index(module)]
    assert not later, f"{module} imports {later}, of later notebooks"


def test_every_module_has_its_notebook_and_is_in_the_readme():
    exported = {p.stem for p in (ROOT / "hubert_llama").glob("*.py")} - {"__init__", "__main__", "_modidx"}
    assert exported == set(ORDER) and imported("pipeline") >= {"hubert", "llama"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in NOTEBOOKS if f"(nbs/{path.name})" not in readme] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_stay_small(path):
    assert path.stat().st_size < 400_000, "fewer or smaller pictures and sounds: figure.dpi of 70, clips under 2 s"
