"""Draw the table of ratios in BENCHMARKS.md: how many times faster each part is than what one would pick instead.

    python benchmarks/ratios.py BENCHMARKS.md nbs/images/ratios.png

The figures are the document's own: rows of the table whose last column is called "times faster".
The picture says which it was drawn from.
"""

import argparse
import json
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LAST = "times faster"


def rows_of(markdown: str) -> list[tuple[str, str, float]]:
    """What is done, what one would pick instead, how many times faster this is; SystemExit without such a table."""
    lines = [line.strip() for line in markdown.splitlines()]
    head = next((i for i, line in enumerate(lines) if re.search(rf"\| *{LAST} *\|$", line)), None)
    if head is None or not lines[head + 2 : head + 3] or not lines[head + 2].startswith("|"):
        raise SystemExit(f'No table with rows whose last column is called "{LAST}".')
    found = []
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) < 4 or not re.fullmatch(r"\d+(\.\d+)?", cells[-1]):
            raise SystemExit(f'This row has no number of "{LAST}": {line}')
        found.append((cells[0], cells[2].partition(":")[0], float(cells[-1])))
    return found


def draw(rows: list[tuple[str, str, float]], path: Path) -> None:
    """One bar for each row, on a logarithmic axis; the line is what one would pick instead."""
    fig, ax = plt.subplots(figsize=(8, 0.6 + 0.38 * len(rows)), layout="constrained")
    ax.barh(range(len(rows)), [ratio - 1 for _, _, ratio in rows], left=1)
    for y, (_, instead, ratio) in enumerate(rows):
        ax.annotate(f" {ratio:g} × {instead}", (max(1.0, ratio), y), va="center", fontsize=8)
    ax.axvline(1, color="0.4", lw=0.8)
    ax.set_xscale("log")
    ax.set(
        yticks=range(len(rows)),
        yticklabels=[what for what, _, _ in rows],
        xlabel=LAST,
        xlim=(min(0.9, *(ratio for _, _, ratio in rows)), 2.5 * max(ratio for _, _, ratio in rows)),
    )
    ax.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    ax.minorticks_off()
    ax.invert_yaxis()
    fig.savefig(path, dpi=80, metadata={"Description": json.dumps(rows)})


def main() -> None:
    """Read, draw and say where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readme", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    draw(rows := rows_of(args.readme.read_text(encoding="utf-8")), args.picture)
    print(f"{args.picture}: {len(rows)} ratios")


if __name__ == "__main__":
    main()
