"""The docs site has a page for everything: nothing has to be added by hand when a room or a notebook comes."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from test_layout import FLOORS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def docs(tmp_path, monkeypatch) -> ModuleType:
    """tools/docs.py, writing its pages elsewhere."""
    spec = importlib.util.spec_from_file_location("docs", ROOT / "tools" / "docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SOURCE", tmp_path)
    module.copy_pages()
    return module


def test_every_module_has_a_page_of_the_api(docs):
    rooms = {p.relative_to(ROOT).with_suffix("") for p in (ROOT / "hubert_llama").rglob("*.py")}
    names = {".".join(room.parts) for room in rooms if not room.name.startswith("_")}
    assert set(docs.write_reference()) == names and len(names) > 70
    index = (docs.SOURCE / "reference" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w.]+)\.md\)", index)) == names
    for name in names:
        assert f"::: {name}\n" in (docs.SOURCE / "reference" / f"{name}.md").read_text(encoding="utf-8")


def test_every_notebook_is_listed_with_what_it_is_about(docs):
    notebooks = {p.relative_to(ROOT / "nbs").as_posix() for p in (ROOT / "nbs").rglob("*.ipynb")} - {"index.ipynb"}
    docs.write_notebook_list()
    page = (docs.SOURCE / "nbs" / "index.md").read_text(encoding="utf-8")
    lines = re.findall(r"^- \[\w+\]\((.*?)\): (.*)$", page, re.M)
    assert {path for path, _ in lines} == notebooks
    assert [path for path, about in lines if len(about.split()) < 3] == []


def test_every_page_of_docs_stands_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[1]
    pages = [p.relative_to(ROOT).as_posix() for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]]
    assert [page for page in pages if page not in menu] == []


def test_architecture_names_every_module_on_its_floor():
    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.*) \|$", table, re.M)
    rooms = [name for floor in FLOORS for name in floor if not name.startswith("_")]
    assert [(int(n), room) for n, room, _ in rows] == [
        (n, room) for n, floor in enumerate(FLOORS, 1) for room in floor if room in rooms
    ]
    for _, room, text in rows:
        modules = {p.stem for p in (ROOT / "hubert_llama" / room).glob("*.py")} - {"__init__"}
        assert {m for m in modules if f"`{m}`" not in text} == set(), room


def test_troubles_are_told_in_the_words_of_the_package():
    files = [p.read_text(encoding="utf-8") for p in (ROOT / "hubert_llama").rglob("*.py")]
    said = re.sub(r'"\s*\n\s*f?"', "", "\n".join(files))  # texts that go on in the next line
    table = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    told = [text for row in re.findall(r"^\| (.*?) \|", table, re.M) for text in re.findall(r"`(.+?)`", row)]
    parts = [part.strip(" .:") for text in told for part in re.split(r"…|\d+|(?<=The model process )", text)]
    assert len(told) > 15 and [part for part in parts if part not in said] == []


def test_links_lead_to_pages_or_to_the_repository(docs):
    page = (docs.SOURCE / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"]({docs.git_url()}/blob/main/tests/test_layout.py)" in page and "](docs/architecture.md)" in page


def test_a_link_that_leads_nowhere_is_found(docs, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text('<a href="gone/">x</a> <a href="https://example.org/">y</a>')
    assert docs.broken_links(tmp_path / "site") == ["index.html -> gone/"]
