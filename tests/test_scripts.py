"""Scripts of training, benchmarks and tools start, have the options that prose gives them, and name no old module."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path for folder in ("training", "benchmarks", "tools") for path in (ROOT / folder).glob("*.py"))
HELP = """
import contextlib, io, json, runpy, sys
from pathlib import Path
for path in sys.argv[1:]:
    text, code = io.StringIO(), "ran"
    sys.argv, sys.path[0] = [path, "--help"], str(Path(path).parent)
    try:
        with contextlib.redirect_stdout(text):
            runpy.run_path(path, run_name="__main__")
    except SystemExit as e:
        code = e.code
    except Exception as e:
        code = repr(e)
    print(json.dumps([path, code, text.getvalue()]))
"""
COMMAND = re.compile(r"python3? (?:\.\./)?((?:training|benchmarks|tools)/\w+\.py)((?:\\\n|(?!python)[^\n`|;&#])*)")


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple]:
    """Exit code and text of each script's --help; one process, so that PyTorch is imported once."""
    command = [sys.executable, "-c", HELP, *map(str, SCRIPTS)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stderr
    rows = map(json.loads, done.stdout.splitlines())
    return {Path(path).relative_to(ROOT).as_posix(): (code, text) for path, code, text in rows}


def test_every_script_starts_and_says_what_it_does(helps):
    assert len(helps) == len(SCRIPTS) > 30
    for name, (code, text) in helps.items():
        source = (ROOT / name).read_text(encoding="utf-8")
        if "__main__" in source:
            assert code == 0 and source.split('"""')[1].splitlines()[0] in text, (name, code)
        else:
            assert code == "ran", (name, code)  # a module of the others


def test_prose_gives_scripts_only_options_they_have(helps):
    kinds = ("*.md", "docs/*.md", "training/**/*.md", "training/runs/*.sh", "benchmarks/results/*.md")
    texts = [*SCRIPTS, *(path for kind in kinds for path in ROOT.glob(kind))]
    seen = 0
    for path in texts:
        for script, arguments in COMMAND.findall(path.read_text(encoding="utf-8")):
            assert script in helps, f"{path.relative_to(ROOT)}: there is no {script}"
            for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", arguments):
                assert re.search(rf"{option}\b(?!-)", helps[script][1]), f"{path.relative_to(ROOT)}: {script} {option}"
                seen += 1
    assert seen > 50


OLD = (  # where modules and notebooks stood before they got rooms
    r"nbs/0[0-4](_0|[a-g])_\w+|\b0[0-4][a-g]_[a-z]\w+\.ipynb|"
    r"hubert_llama[./](attention|cache|containers|ctc|decode|evaluate|hub|int8|kernels|nf4|"
    r"profiles|quotes|search|worker)\b"
)


def test_nothing_names_a_module_where_it_stood_before():
    patterns = ["-e", OLD, "--", ".", ":!tests/test_scripts.py"]
    done = subprocess.run(["git", "grep", "-nIP", *patterns], cwd=ROOT, capture_output=True, text=True)
    if done.returncode > 1:
        pytest.skip("no clone of git")
    ours = "HF_HOME/hubert_llama/nf4"  # a folder of the cache
    assert [line[:200] for line in done.stdout.splitlines() if ours not in line] == []
