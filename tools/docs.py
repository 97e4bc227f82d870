"""Build the docs site: README, docs/, the notebooks, a list of these, and a page of the API for each module.

    pip install -e ".[docs]"
    python tools/docs.py             # into build/site; warnings (a broken link is one) are errors
    python tools/docs.py --serve     # and show it on http://127.0.0.1:8000

Pages are copied to build/docs with the repository's own folders, so a link works here and on GitHub.
A link to a file that is no page (a test, a folder) leads to the repository.
"""

import argparse
import configparser
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "build" / "docs"
PAGES = ("*.md", "docs/**/*.md", "nbs/**/*.ipynb", "nbs/images/*.png", "training/**/*.md", "integrations/**/*.md",
         "hubert_llama/mini/*/README.md")


def git_url() -> str:
    """Where the repository is, from settings.ini."""
    config = configparser.ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]["git_url"]


def copy_pages() -> None:
    """Copy every page, its links to other files turned into links to the repository."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    pages = sorted({path for pattern in PAGES for path in ROOT.glob(pattern)} - {ROOT / "nbs" / "index.ipynb"})
    for path in pages:
        copy = SOURCE / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            copy.write_text(linked(path.read_text(encoding="utf-8"), path, pages), encoding="utf-8")
        elif path.suffix == ".ipynb":
            copy.write_text(json.dumps(linked_notebook(path, pages)), encoding="utf-8")
        else:
            shutil.copy(path, copy)


def linked_notebook(path: Path, pages: list[Path]) -> dict:
    """A notebook with the links of its Markdown cells as `linked` makes them."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = linked("".join(cell["source"]), path, pages)
    return notebook


def linked(text: str, page: Path, pages: list[Path]) -> str:
    """The text of a page with its links to what is no page leading to the repository."""
    def target(match: re.Match) -> str:
        """The link, as the site has it."""
        link, _, part = match[1].partition("#")
        path = (page.parent / link).resolve()
        if not link or re.match(r"[a-z]+:", link) or not path.exists():
            return match[0]
        end = f"#{part}" if part else ""
        if path not in pages:
            kind = "tree" if path.is_dir() else "blob"
            return f"]({git_url()}/{kind}/main/{path.relative_to(ROOT).as_posix()}{end})"
        if page.suffix == ".ipynb" and path.suffix != ".png":  # mkdocs leaves links of notebooks as they are
            return f"]({os.path.relpath(address(path), address(page))}/{end})"
        return match[0]

    return re.sub(r"\]\(([^)\s]+)\)", target, text)


def address(page: Path) -> Path:
    """The folder of the site that a page becomes."""
    return page.parent if page.stem in ("README", "index") else page.with_suffix("")


def write_reference() -> list[str]:
    """A page for each module's public names; the modules' dotted names."""
    files = [p.relative_to(ROOT).with_suffix("") for p in (ROOT / "hubert_llama").rglob("*.py")]
    names = sorted(".".join(p.parts) for p in files if p.name not in ("__init__", "_modidx", "__main__"))
    (SOURCE / "reference").mkdir(parents=True, exist_ok=True)
    for name in names:
        (SOURCE / "reference" / f"{name}.md").write_text(f"# {name}\n\n::: {name}\n", encoding="utf-8")
    listed = "\n".join(f"- [{name}]({name}.md)" for name in names)
    (SOURCE / "reference" / "index.md").write_text(f"# Reference\n\n{listed}\n", encoding="utf-8")
    return names


def write_notebook_list() -> list[Path]:
    """A page that lists every notebook with the line below its title, folder by folder; the notebooks."""
    folder, text = SOURCE / "nbs", "# Notebooks\n"
    paths = sorted(folder.rglob("*.ipynb"), key=lambda path: (path.parent, path.name))
    for place in dict.fromkeys(path.parent for path in paths):
        text += "\n" if place == folder else f"\n## {place.relative_to(folder).as_posix()}\n\n"
        text += "".join(_listed(path, folder) for path in paths if path.parent == place)
    (folder / "index.md").write_text(text, encoding="utf-8")
    return paths


def _listed(path: Path, folder: Path) -> str:
    """A notebook's line of the list."""
    first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    about = next((line.lstrip("> ") for line in first.splitlines() if line.startswith(">")), "")
    return f"- [{path.stem}]({path.relative_to(folder).as_posix()}): {about}\n"


def broken_links(site: Path) -> list[str]:
    """Links of a built site that lead nowhere in it: page -> target. (mkdocs itself looks into Markdown only.)"""
    broken = []
    for page in sorted(site.rglob("*.html")):
        for link in re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:|//|/", link):
                continue
            target = page.parent / unquote(html.unescape(link))
            if not (target / "index.html").exists() and not target.is_file():
                broken.append(f"{page.relative_to(site)} -> {link}")
    return broken


def main() -> int:
    """Build or serve the site; the exit code of mkdocs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help="show it on http://127.0.0.1:8000")
    args = parser.parse_args()
    copy_pages()
    write_notebook_list()
    write_reference()
    command = ["serve"] if args.serve else ["build", "--strict", "--site-dir", str(ROOT / "build" / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    code = subprocess.run([sys.executable, "-m", "mkdocs", *command, "-q"], cwd=ROOT, env=environment).returncode
    broken = [] if code or args.serve else broken_links(ROOT / "build" / "site")
    print(*(f"broken link: {link}" for link in broken), sep="\n", end="\n" if broken else "", file=sys.stderr)
    return code or bool(broken)


if __name__ == "__main__":
    sys.exit(main())
