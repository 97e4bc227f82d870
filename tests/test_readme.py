"""README's promises: every command and example runs and prints what stands there; options, links, reasons, versions."""

import ast
import asyncio
import inspect
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from servers import first_line

import hubert_llama

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
PROGRAM = re.compile(r"(make|git|cp|pip|pytest|python3?|hubert-llama|nbdev_\w+|\.venv/bin/[\w-]+)( |$)")
posix = pytest.mark.skipif(os.name == "nt", reason="the commands are a POSIX shell's")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def examples() -> list[tuple[str, str, str]]:
    """The fenced blocks: language, text, and the output that stands below (empty where none does)."""
    blocks = [*BLOCK.findall(README), ("", "")]
    below = [text if not language else "" for language, text in blocks[1:]]
    return [(language, text, out) for (language, text), out in zip(blocks, below, strict=False) if language]


def commands() -> set[str]:
    """Every command: the lines of shell blocks, and in the prose what is a program with arguments."""
    lines = {line for language, text, _ in examples() if language in ("sh", "bash") for line in text.splitlines()}
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", BLOCK.sub("", README))
    return lines | {span for span in spans if (found := PROGRAM.match(span)) and found[2]}


# What holds each command: a test of this file that runs it; or, in DRY, what `make --dry-run` has to print of it,
# because it needs a network (PIP_ARGS, install), a browser (lab) or a port of its own, or is this very test run.
PIP = "-m pip install --disable-pip-version-check -c constraints.txt"
RUN = {
    "make serve": "test_the_websocket_example_talks_to_what_make_serve_starts",
    "python -m asyncio": "test_the_websocket_example_talks_to_what_make_serve_starts",
    "hubert-llama ask nbs/clips/photosynthesis.ogg 2>/dev/null": "test_the_terminal_example_prints_what_stands_below",
    "hubert-llama fetch small": "test_fetch_knows_the_pair_and_what_is_missing",
    "cp integrations/heilion/hubert_llama_service.py ../heilion/hubert-llama-sidecar/": "test_heilion_gets_both_files",
    'git -C ../heilion apply "$PWD/integrations/heilion/heilion.patch"': "test_heilion_gets_both_files",
    "python -m venv .venv": "test_without_make_the_same_is_done",
    ".venv/bin/pip install -c constraints.txt -e .": "test_without_make_the_same_is_done",
    ".venv/bin/python -m hubert_llama.server": "test_without_make_the_same_is_done",
}
DRY = {
    "make serve PORT=8799": ["/python -m hubert_llama.server 8799"],
    "make test": [f'{PIP}  -q -e ".[dev]"', "/nbdev_test\n", "/python -m pytest "],
    "make lab": ["/python -m jupyter lab nbs"],
    "make docs": [f'{PIP}  -q -e ".[docs]"', "/python tools/docs.py\n"],
    "make install": ["python3 -m venv ", f"{PIP}  -q -e .\n"],
    'make serve PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"': [
        f"{PIP} --extra-index-url https://download.pytorch.org/whl/cpu -q -e .\n",
        "/python -m hubert_llama.server 8766",
    ],
}


def test_every_command_is_held_by_a_test():
    assert commands() == RUN.keys() | DRY.keys()
    assert set(RUN.values()) <= globals().keys()
    assert [language for language, *_ in examples() if language != "sh"] == ["python", "python"]


MAKES = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON", "VENV", "PORT", "ARGS", "PIP_ARGS"}


def environment(**variables: str) -> dict[str, str]:
    """A user's who has activated this environment: no network, no token, nothing of a make that runs these tests."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ours = {"PATH": path, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_TOKEN": ""}
    return {name: value for name, value in os.environ.items() if name not in MAKES} | ours | variables


def shell(command: str, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess:
    """Run a command line."""
    options = {"capture_output": True, "text": True, "timeout": 300, "stdin": subprocess.DEVNULL}
    return subprocess.run(command, shell=True, cwd=folder, env=environment(**variables), **options)


@posix
@needs_make
@pytest.mark.parametrize("command", DRY)
def test_make_would_do_what_readme_says(command, tmp_path):
    done = shell(f"{command} --dry-run", VENV=str(tmp_path / "venv"))
    assert done.returncode == 0, done.stderr
    for part in DRY[command]:
        assert part in done.stdout


def test_the_lab_is_there():
    done = shell(f'"{sys.executable}" -m jupyter lab --version')
    assert done.returncode == 0 and re.match(r"\d+\.\d+", done.stdout), done.stderr


@posix
def test_the_terminal_example_prints_what_stands_below():
    [(command, printed)] = [(text, out) for language, text, out in examples() if language == "sh" and out]
    done = shell(command)
    assert done.returncode == 0 and done.stdout == printed


def value_of(code: str) -> object:
    """Run an example as a notebook does; the value of its last line."""
    *_, last = tree = ast.parse(code).body
    body = ast.Module([*tree[:-1], ast.Assign([ast.Name("shown", ast.Store())], last.value)], [])
    run = compile(ast.fix_missing_locations(body), "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    scope: dict = {}
    if (waiting := eval(run, scope)) is not None and inspect.isawaitable(waiting):
        asyncio.run(waiting)
    return scope["shown"]


def test_the_python_example_gives_what_stands_below(monkeypatch):
    monkeypatch.chdir(ROOT)
    [(code, printed)] = [(text, out) for _, text, out in examples() if "from hubert_llama import" in text]
    assert value_of(code) == ast.literal_eval(printed)


@posix
@needs_make
def test_the_websocket_example_talks_to_what_make_serve_starts(monkeypatch):
    monkeypatch.chdir(ROOT)
    [(code, printed)] = [(text, out) for _, text, out in examples() if "websockets" in text]
    patient = "ARGS=--timeout 300"  # the machine may be busy with other tests while the models load
    command = ["make", "serve", "PORT=0", patient, f"VENV={sys.prefix}", "--assume-old", f"{sys.prefix}/installed"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, env=environment(), **pipes) as server:
        ready = first_line(server, 60).strip()
        port = re.search(r"ws://127\.0\.0\.1:(\d+)", ready)[1]
        assert f"`{ready.replace(port, '8766')}`" in README
        monkeypatch.setenv("HUBERT_LLAMA_URL", f"ws://localhost:{port}")
        assert value_of(code) == ast.literal_eval(printed)
        typed = {"input": code, "capture_output": True, "text": True, "timeout": 300}
        shown = subprocess.run([sys.executable, "-m", "asyncio"], **typed).stdout
        assert ast.literal_eval(re.search(r"\{'type.*\}", shown)[0]) == ast.literal_eval(printed)
        server.stdin.close()
        assert server.wait(20) == 0


@posix
@needs_make
def test_without_make_the_same_is_done(tmp_path):
    assert shell("python -m venv --without-pip .venv", tmp_path).returncode == 0  # pip's own installation takes seconds
    assert (tmp_path / ".venv" / "bin" / "python").exists()
    install = shell("make install --dry-run", VENV=str(tmp_path / "venv")).stdout  # CI's first step runs it
    assert "-c constraints.txt" in install and install.splitlines()[1].endswith("-e .")
    start = shell("make serve --dry-run", VENV=".venv").stdout.splitlines()[-1]
    assert start == "exec .venv/bin/python -m hubert_llama.server 8766 "


def test_fetch_knows_the_pair_and_what_is_missing(tmp_path):  # downloading 4.7 GB is not for a test
    done = shell("hubert-llama fetch small", tmp_path, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "SmolLM2-1.7B-Instruct" in done.stderr and "HF_HUB_OFFLINE" in done.stderr


def before(patch: str) -> dict[str, str]:
    """Files to which a patch applies: what it leaves and takes away, at its lines."""
    files = {}
    for part in patch.split("\ndiff --git ")[1:]:
        lines: list[str] = []
        for start, hunk in re.findall(r"^@@ -(\d+).*?\n(.*?)(?=^@@|\Z)", part, re.M | re.S):
            lines += ["//"] * (int(start) - 1 - len(lines))
            lines += [line[1:] for line in hunk.splitlines() if line[:1] in (" ", "-")]
        files[re.search(r"^--- a/(.*)$", part, re.M)[1]] = "".join(f"{line}\n" for line in lines)
    return files


@posix
def test_heilion_gets_both_files(tmp_path):
    """With files in the app's place that have the patch's lines; tests/test_heilion_app.py knows the app itself."""
    app = tmp_path / "heilion"
    (app / "hubert-llama-sidecar").mkdir(parents=True)
    for name, text in before((ROOT / "integrations" / "heilion" / "heilion.patch").read_text(encoding="utf-8")).items():
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "integrations", tmp_path / "clone" / "integrations")
    for command in [line for line in RUN if "../heilion" in line]:
        done = shell(command, tmp_path / "clone", GIT_CEILING_DIRECTORIES=str(tmp_path))
        assert done.returncode == 0, done.stderr
    assert (app / "hubert-llama-sidecar" / "hubert_llama_service.py").is_file()
    assert "    hubertLlamaAvailable = startHubertLlamaSidecar();" in (app / "main.js").read_text(encoding="utf-8")


# What README says of the package


PAGES = (ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md")))


def test_its_options_exist_and_its_files_are_there_and_those_of_docs():
    known = "".join(shell(f"hubert-llama {name} --help").stdout for name in ("serve", "ask", "evaluate"))
    known += "--extra-index-url"  # pip's
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for option in re.findall(r"(?<![\w|-])--[a-z][a-z0-9-]+", text):
            assert option in known, f"{page.name}: {option}"
        for link in re.findall(r"\]\(((?!http|#)[^)#]+)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def settings() -> dict[str, str]:
    """What settings.ini says."""
    config = ConfigParser(delimiters=["="], interpolation=None)
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return dict(config["DEFAULT"])


def test_every_package_has_a_reason():
    for name in ("requirements", "dev_requirements", "evaluate_requirements", "docs_requirements"):
        for package in settings()[name].split():
            assert re.split(r"[<>=[]", package)[0] in README, package


def test_it_stays_short():
    assert len(README.splitlines()) <= 150


def test_one_version_everywhere():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", changelog, re.M)[0]
    assert newest == settings()["version"] == hubert_llama.__version__
    assert changelog.index("## [Unreleased]") < changelog.index(f"## [{newest}]")
