"""The rules that hold the house together: a room imports only from lower floors, and nothing grows too long."""

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hubert_llama"
NOTEBOOKS = sorted((ROOT / "nbs").rglob("*.ipynb"))

FLOORS = (  # lowest first; a room is a module or a package, and may import only from floors below its own
    ("errors",),
    ("sound", "models"),
    ("audio",),
    ("fast",),
    ("mel_hubert",),
    ("hubert",),
    ("words",),
    ("styles", "lora"),
    ("chat",),
    ("llama",),
    ("course",),
    ("answers",),
    ("events",),
    ("timings", "pair", "plots"),
    ("listener", "transcriber", "tutor"),
    ("pipeline",),
    ("measure",),
    ("serve",),
    ("server",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: n for n, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> list[str]:
    """Every module of the package, dotted, without the package's own name."""
    files = [p for p in PACKAGE.rglob("*.py") if p.stem not in ("__init__", "_modidx")]
    return sorted(".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in files)


def imported(module: str) -> set[str]:
    """The package's own modules that a module imports, at its top or anywhere in it."""
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    here = ["hubert_llama", *module.split(".")[:-1]]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names |= {stem} | {f"{stem}.{alias.name}" for alias in node.names}
    known = set(modules())
    return {name for n in names if (name := n.removeprefix("hubert_llama.")) in known}


def room(module: str) -> str:
    return module.split(".")[0]


def test_every_room_has_a_floor():
    assert {room(m) for m in modules()} == set(FLOOR)


@pytest.mark.parametrize("module", modules())
def test_no_arrow_up(module):
    others = {name for name in imported(module) if room(name) != room(module)}
    up = sorted(name for name in others if FLOOR[room(name)] >= FLOOR[room(module)])
    assert not up, f"{module} (floor {FLOOR[room(module)]}) imports {up}"


def test_no_circle_within_a_room():
    left = {m: {n for n in imported(m) if room(n) == room(m)} - {m} for m in modules()}
    while free := [m for m, needed in left.items() if not needed & left.keys()]:
        for m in free:
            del left[m]
    assert not left, f"these import each other: {sorted(left)}"


def test_the_pipeline_is_seen_to_import():  # else the two tests above could pass by reading nothing
    assert imported("pipeline") >= {"hubert", "tutor", "words.search", "models.hub"}


def test_every_module_has_its_notebook():
    exported = {line.split()[-1] for p in NOTEBOOKS for line in _default_exports(p)}
    assert set(modules()) - {"__main__"} == exported  # which holds nothing but a call


def _default_exports(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [s for c in cells for s in "".join(c["source"]).splitlines() if s.startswith("#| default_exp")]


def test_notebooks_stand_in_folders_named_as_the_packages():
    for path in NOTEBOOKS:
        for line in _default_exports(path):
            *package, _ = line.split()[-1].split(".")
            assert path.parent == ROOT.joinpath("nbs", *package), path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_stay_small(path):
    assert path.stat().st_size < 400_000, "fewer or smaller pictures and sounds: figure.dpi of 70, clips under 2 s"


MOST_CHARACTERS, MOST_CELL_LINES, MOST_FUNCTION_LINES = 120, 60, 40
FOLDERS = ("hubert_llama", "benchmarks", "tests", "tools", "training", "integrations")
SOURCES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py") if p.name != "_modidx.py")


def _too_long(lines: list[str]) -> list[str]:
    """Lines over the limit; `__all__` is nbdev's, which fills lines without counting the name before them."""
    return [line for line in lines if len(line) > MOST_CHARACTERS and not line.startswith("__all__ = [")]


def _long_functions(source: str) -> list[str]:
    """Functions over the limit, decorators left out."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in nodes}
    return [f"{name} ({n})" for name, n in lengths.items() if n > MOST_FUNCTION_LINES]


def _long_cells(cells: list[dict]) -> list[str]:
    """Exported cells over the limit."""
    exported = [cell for cell in cells if "".join(cell["source"]).startswith("#| export")]
    lengths = {cell["id"]: len("".join(cell["source"]).splitlines()) for cell in exported}
    return [f"{cell} ({n})" for cell, n in lengths.items() if n > MOST_CELL_LINES]


@pytest.mark.parametrize("folder", FOLDERS)
def test_lines_and_functions_stay_short(folder):
    found = {}
    for path in SOURCES:
        source = path.read_text(encoding="utf-8")
        if path.relative_to(ROOT).parts[0] == folder and (
            long := _too_long(source.splitlines()) + _long_functions(source)
        ):
            found[str(path.relative_to(ROOT))] = long
    assert not found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_exported_cells_stay_short(path):
    assert not _long_cells(json.loads(path.read_text(encoding="utf-8"))["cells"])


def test_what_is_too_long_is_found():  # else the two tests above could pass by seeing nothing
    function = "def f():\n" + "    pass\n" * MOST_FUNCTION_LINES
    assert _long_functions(function) == [f"f ({MOST_FUNCTION_LINES + 1})"]
    assert _long_functions(function.replace("def", "async def").removesuffix("    pass\n")) == []
    assert _too_long(["x" * MOST_CHARACTERS, "y" * (MOST_CHARACTERS + 1)]) == ["y" * (MOST_CHARACTERS + 1)]
    lines = ["#| export\n", *["x = 1\n"] * MOST_CELL_LINES]
    assert _long_cells([{"id": "a", "source": lines}, {"id": "b", "source": lines[:-1]}]) == ["a (61)"]
    assert len(SOURCES) > 100 and len(NOTEBOOKS) > 50
