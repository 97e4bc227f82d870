"""The rules that hold the house together: a room imports only from lower floors, and committed notebooks stay small."""

import ast
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
    ("hubert",),
    ("words",),
    ("styles", "lora"),
    ("chat",),
    ("llama",),
    ("course",),
    ("answers",),
    ("events",),
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
    assert imported("pipeline") >= {"hubert", "llama", "words.search", "models.hub"}


def test_every_module_has_its_notebook():
    exported = {line.split()[-1] for p in NOTEBOOKS for line in _default_exports(p)}
    assert set(modules()) - {"__main__"} == exported  # which holds nothing but a call


def _default_exports(path: Path) -> list[str]:
    import json

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
