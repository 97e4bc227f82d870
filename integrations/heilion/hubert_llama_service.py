#!/usr/bin/env python3
"""Heilion's sidecar: finds the Python that has hubert_llama, and becomes its server.

Heilion runs `python3 hubert_llama_service.py 8766`, and that python3 is seldom the one that the package is installed for.
This file needs Python 3.7 and nothing else.

    HUBERT_LLAMA_PYTHON   the Python to use, for example /home/me/hubert_llama/.venv/bin/python
    HUBERT_LLAMA_ARGS     options for the server, for example "--profile llama3.2-1b"
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

PORT = "8766"  # where Heilion looks for its sidecar
IMPORTS = "import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, ('hubert_llama.server', 'websockets', 'torch'))))"
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
    """Where a .venv may be: in the sidecar's or the app's folder, beside the app, or in a clone there; in the clone, if this is a link."""
    here, linked = Path(__file__).absolute().parent, Path(__file__).resolve().parent
    folders = [here, here.parent, here.parent.parent, here.parent.parent / "hubert_llama", linked.parent.parent]
    return [folder / ".venv" / IN_VENV for folder in folders]


def candidates() -> "list[str]":
    """Pythons to try: the one that runs this, then the one that the user names or else those of the environments nearby."""
    named = os.environ.get("HUBERT_LLAMA_PYTHON")
    return [sys.executable, *([os.path.expanduser(named)] if named else map(str, filter(Path.exists, environments())))]


def become(command: "list[str]") -> int:
    """Run a command in this process's place, so that signals and the end of standard input reach it."""
    if os.name == "posix":
        os.execvp(command[0], command)
    return subprocess.call(command)  # Windows has no exec; the server ends with the app, whose pipe it inherits


def main() -> int:
    """Start the server with the port (and options) given; the exit code."""
    tried = list(dict.fromkeys(candidates()))
    python = next(filter(has_package, tried), None)
    if python is None:
        sys.stderr.write(HELP.format(tried="\n".join(f"  {path}" for path in tried), venv=f".venv/{IN_VENV}"))
        return 1
    options = shlex.split(os.environ.get("HUBERT_LLAMA_ARGS", ""))
    return become([python, "-m", "hubert_llama.server", *(sys.argv[1:] or [PORT]), *options])


if __name__ == "__main__":
    sys.exit(main())
