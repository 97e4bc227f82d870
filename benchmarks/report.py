"""Keep what benchmarks print, and write BENCHMARKS.md of it.

    python benchmarks/report.py run server -- python benchmarks/server.py --runs 3    # run it and keep its output
    python benchmarks/report.py write                                                 # BENCHMARKS.md of what is kept

A record is benchmarks/results/NAME.md: the lines command, machine and date, a blank one, then what was printed.
"""

import argparse
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
HEAD = """# Benchmarks

Every figure here was measured by the command above it; `python benchmarks/report.py write` puts the records together.
A record whose table was put together by hand, or that is older than the code, says so or shows its date.
Timings come from shared machines and are noisy: compare within a table, by ratios and medians.
"""
SECTIONS = (  # chapter, then its records in the order of this file: (name, title)
    ("Hearing and answering", (
        ("held-out", "The bundled pair, voices it never heard"),
        ("held-out-answers", "The bundled pair, answers to spoken questions"),
        ("people", "The bundled pair, people"),
        ("asked-again", "Whether the student is asked to say it again"),
        ("usable-prompt", "How long a prompt the bundled Llama can use"),
        ("understanding", "Whether transcripts can be trusted"),
        ("word-times", "Word times"),
        ("search", "What reading costs a second of sound"),
    )),
    ("The server", (
        ("listening", "From the start to listening"),
        ("server", "Start, answers, memory"),
        ("batching", "One by one or together"),
    )),
    ("The big pair's size and speed", (
        ("ratios", "In short"),
        ("start", "Loading"),
        ("encoder", "HuBERT-large beside transformers"),
        ("numerics", "What bytes cost the letters"),
        ("writing", "Llama beside llama.cpp"),
        ("small-llama", "A small Llama beside llama.cpp, with AVX2 alone"),
        ("question", "A whole question"),
        ("token", "One token, part by part"),
    )),
)


@dataclass(frozen=True)
class Record:
    """What a benchmark printed, when and where."""

    command: str
    machine: str
    date: str
    text: str

    @classmethod
    def read(cls, path: Path) -> "Record":
        """A record from its file; SystemExit where the file is none."""
        head, _, text = path.read_text(encoding="utf-8").partition("\n\n")
        fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
        if set(fields) != {"command", "machine", "date"}:
            raise SystemExit(f"{path}: a record begins with the lines command, machine and date, then a blank one.")
        return cls(**fields, text=text.strip())

    def write(self, path: Path) -> None:
        """Keep it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        head = f"command: {self.command}\nmachine: {self.machine}\ndate: {self.date}\n\n"
        path.write_text(head + self.text.strip() + "\n", encoding="utf-8")

    def section(self, title: str) -> str:
        """Its part of BENCHMARKS.md."""
        return f"### {title}\n\n```sh\n{self.command}\n```\n\n{self.text}\n\n{self.machine}, {self.date}.\n"


def machine() -> str:
    """The processor, what it multiplies with, its cores and memory."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in cpu.splitlines())}
    units = {"amx_tile": "AMX", "avx512_bf16": "AVX512-BF16", "avx512_vnni": "AVX512-VNNI", "avx2": "AVX2"}
    has = [shown for flag, shown in units.items() if flag in fields.get("flags", "").split()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0
    model = fields.get("model name") or platform.processor()
    return f"{os.cpu_count()} cores of {model} ({', '.join(has)}), {memory:.0f} GB"


def run(name: str, command: list[str]) -> int:
    """Run a command, show what it prints, and keep it; the exit code."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    print(done.stdout, end="")
    if done.returncode == 0:
        Record(" ".join(command), machine(), date.today().isoformat(), done.stdout).write(RESULTS / f"{name}.md")
    return done.returncode


def document() -> str:
    """BENCHMARKS.md as the records make it; SystemExit where a record stands in no chapter."""
    titled = {name for _, records in SECTIONS for name, _ in records}
    if stray := sorted({p.stem for p in RESULTS.glob("*.md")} - titled):
        raise SystemExit(f"Records without a chapter: {', '.join(stray)}. Name them in SECTIONS.")
    parts = [HEAD]
    for chapter, records in SECTIONS:
        kept = [(RESULTS / f"{name}.md", title) for name, title in records]
        sections = [Record.read(path).section(title) for path, title in kept if path.exists()]
        parts += [f"## {chapter}\n", *sections] if sections else []
    return "\n".join(parts)


def main() -> int:
    """Run one benchmark, or write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    todo = parser.add_subparsers(dest="todo", required=True)
    running = todo.add_parser("run", help="run a command and keep what it prints as benchmarks/results/NAME.md")
    running.add_argument("name")
    running.add_argument("command", nargs=argparse.REMAINDER, help="after --")
    todo.add_parser("write", help="write BENCHMARKS.md")
    args = parser.parse_args()
    if args.todo == "run":
        return run(args.name, [part for part in args.command if part != "--"])
    (ROOT / "BENCHMARKS.md").write_text(document(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
