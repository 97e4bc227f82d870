#!/usr/bin/env python3
"""Heilion's sidecar: finds the Python that has hubert_llama, and becomes its server.

Heilion runs `python3 hubert_llama_service.py 8766`, and that python3 is seldom the one that has the package.
This file itself needs Python 3.7 and nothing else.

    HUBERT_LLAMA_PYTHON   the Python to use, for example /home/me/hubert_llama/.venv/bin/python
    HUBERT_LLAMA_ARGS     options for the server, for example "--profile llama3.2-1b"
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

PORT = "8766"  # where Heilion looks for its sidecar
NEEDED = ("hubert_llama.server", "websockets", "torch")
IMPORTS = f"import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, {NEEDED})))"  # finds, but does not load
IN_VENV = "Scripts/python.exe" if os.name == "nt" else "bin/python"
HELP = """hubert_llama: no Python was found that has the package. Looked at:
{tried}
Install it in its clone (make install), then set HUBERT_LLAMA_PYTHON to the clone's {venv},
or put the clone beside Heilion's folder under the name hubert_llama.
"""


def has_package(
    python: str,  # a path, or a command's name
) -> bool:
    """Whether this Python can import the server and what it needs."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        return subprocess.run([python, "-c", IMPORTS], timeout=30, **quiet).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def environments() -> "list[Path]":
    """Pythons of a .venv in the sidecar's folder, the app's, beside it, in a clone there, or in the clone linked to."""
    here, linked = Path(__file__).absolute().parent, Path(__file__).resolve().parent
    folders = [here, here.parent, here.parent.parent, here.parent.parent / "hubert_llama", linked.parent.parent]
    return [folder / ".venv" / IN_VENV for folder in folders]


def candidates() -> "list[str]":
    """Pythons to try: the one that runs this, then the one that the user names, else those of environments nearby."""
    named = os.environ.get("HUBERT_LLAMA_PYTHON")
    others = [os.path.expanduser(named)] if named else [str(path) for path in environments() if path.exists()]
    return list(dict.fromkeys([sys.executable, *others]))


def options() -> "list[str]":
    """What the user sets for the server; ends with a message where that cannot be read."""
    try:
        return shlex.split(os.environ.get("HUBERT_LLAMA_ARGS", ""))
    except ValueError as e:
        sys.exit(f"hubert_llama: HUBERT_LLAMA_ARGS cannot be read: {e}. Write it as in a shell.")


def become(command: "list[str]") -> int:
    """Run a command in this process's place, so that signals and the end of standard input reach it."""
    if os.name == "posix":
        os.execvp(command[0], command)
    return subprocess.call(command)  # Windows has no exec; the server ends with the app, whose pipe it inherits


def main() -> int:
    """Start the server with the port (and options) given; the exit code."""
    python = next(filter(has_package, candidates()), None)
    if python is None:
        sys.stderr.write(HELP.format(tried="\n".join(f"  {path}" for path in candidates()), venv=f".venv/{IN_VENV}"))
        return 1
    return become([python, "-m", "hubert_llama.server", *(sys.argv[1:] or [PORT]), *options()])


if __name__ == "__main__":
    sys.exit(main())
