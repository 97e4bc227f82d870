"""Write README.md from nbs/index.ipynb.

    python tools/readme.py            # write it
    python tools/readme.py --check    # exit with 1 where README.md is not what the notebook says

nbdev's own nbdev_readme needs quarto, which the package registries lack.
"""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INDEX = ROOT / "nbs" / "index.ipynb"
README = ROOT / "README.md"


def readme() -> str:
    """The notebook as Markdown, with links as seen from the repository's root."""
    cells = json.loads(INDEX.read_text(encoding="utf-8"))["cells"]
    shown = [cell for cell in cells if not "".join(cell["source"]).startswith("#| hide")]
    return "\n\n".join(part for cell in shown for part in _parts(cell)) + "\n"


def _parts(cell: dict) -> list[str]:
    """What a cell says: its text, or its code and what that printed."""
    source = "".join(cell["source"]).strip()
    if cell["cell_type"] == "markdown":
        return [_rooted(source)]
    language, source = ("sh", source[1:]) if source.startswith("!") else ("python", source)
    printed = "".join(_text(output) for output in cell["outputs"] if output.get("name") != "stderr").strip()
    return [f"```{language}\n{source}\n```", *([f"```\n{printed}\n```"] if printed else [])]


def _text(output: dict) -> str:
    """The plain text of an output."""
    text = "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return text.replace("\r\n", "\n")  # as a terminal has it


def _rooted(text: str) -> str:
    """Links to files beside the notebook lead into nbs/; those to files above it, to the root."""
    def target(match: re.Match) -> str:
        """The link, as seen from the root."""
        link = match[1]
        if re.match(r"[a-z]+:|#|/", link):
            return f"]({link})"
        return f"]({link.removeprefix('../') if link.startswith('../') else f'nbs/{link}'})"

    return re.sub(r"\]\(([^)\s]+)\)", target, text)


def main() -> int:
    """Write README.md, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where README.md is stale")
    args = parser.parse_args()
    text = readme()
    if not args.check:
        README.write_text(text, encoding="utf-8")
    elif README.read_text(encoding="utf-8") != text:
        print("README.md is not what nbs/index.ipynb says: run `python tools/readme.py`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
