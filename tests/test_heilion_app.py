"""What integrations/heilion brings, the drop-in and the patch; and Heilion's own code with both, where it is at hand.

HEILION_APP=/path/to/heilion pytest tests/test_heilion_app.py
"""

import ast
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import CLIPS
from test_heilion import alive, free_port, heilion, is_free  # noqa: F401  (heilion is a fixture)
from websockets.sync.client import connect

HERE = Path(__file__).parent
FOLDER = HERE.parent / "integrations" / "heilion"
DROP_IN, PATCH = FOLDER / "hubert_llama_service.py", FOLDER / "heilion.patch"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
posix = pytest.mark.skipif(os.name == "nt", reason="exec, signals and shell scripts are POSIX's")


# The drop-in


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory) -> Path:
    """A Python without packages, as the python3 of an app often is."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=os.name == "posix")
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without what would lead to the package, and with these."""
    ours = {"PYTHONPATH", "HUBERT_LLAMA_PYTHON", "HUBERT_LLAMA_ARGS", "HUBERT_LLAMA_TOKEN"}
    return {name: value for name, value in os.environ.items() if name not in ours} | variables


def has_package(folder: Path) -> Path:
    """A Python in a .venv there that says yes to every question, and what it was asked to run."""
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$0" "$@"\n')
    python.chmod(0o755)
    return python


def installed(app: Path) -> Path:
    """The drop-in where Heilion looks for it."""
    (app / "hubert-llama-sidecar").mkdir(parents=True)
    return Path(shutil.copy(DROP_IN, app / "hubert-llama-sidecar"))


def drop_in(python: Path | str, *args: str, file: Path = DROP_IN, **variables: str) -> subprocess.CompletedProcess:
    options = {"env": environment(**variables), "stdin": subprocess.DEVNULL, "timeout": 60}
    return subprocess.run([python, file, *args], capture_output=True, text=True, **options)


@posix
@pytest.mark.parametrize("place", ["app/hubert-llama-sidecar", "app", ".", "hubert_llama"])
def test_it_finds_an_environment_beside_it(bare_python, tmp_path, place):
    file, python = installed(tmp_path / "app"), has_package(tmp_path / place)
    done = drop_in(bare_python, file=file)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{python} -m hubert_llama.server 8766\n", "")


@posix
def test_a_link_leads_to_the_environment_of_its_clone(bare_python, tmp_path):
    python = has_package(tmp_path / "elsewhere" / "clone")
    file = tmp_path / "elsewhere" / "clone" / "integrations" / "heilion" / DROP_IN.name
    file.parent.mkdir(parents=True)
    shutil.copy(DROP_IN, file)
    link = installed(tmp_path / "app")
    link.unlink()
    link.symlink_to(file)
    assert drop_in(bare_python, file=link).stdout == f"{python} -m hubert_llama.server 8766\n"


@posix
def test_the_named_python_comes_before_those_beside_it_and_gets_port_and_options(bare_python, tmp_path):
    file, named = installed(tmp_path / "app"), has_package(tmp_path / "named, with a blank")
    has_package(tmp_path)
    variables = {"HUBERT_LLAMA_PYTHON": str(named), "HUBERT_LLAMA_ARGS": "--profile mini --hubert 'my models/h'"}
    done = drop_in(bare_python, "8799", file=file, **variables)
    assert done.stdout == f"{named} -m hubert_llama.server 8799 --profile mini --hubert my models/h\n"


def test_without_a_python_it_says_what_to_do(bare_python, tmp_path):
    file = installed(tmp_path / "app")
    done = drop_in(bare_python, "8766", file=file)
    assert done.returncode == 1 and not done.stdout
    assert str(bare_python) in done.stderr and "make install" in done.stderr and "HUBERT_LLAMA_PYTHON" in done.stderr
    wrong = drop_in(bare_python, "8766", file=file, HUBERT_LLAMA_PYTHON=str(tmp_path / "nowhere"))
    assert wrong.returncode == 1 and str(tmp_path / "nowhere") in wrong.stderr and "Traceback" not in wrong.stderr


def test_options_that_no_shell_could_read_are_named():
    done = drop_in(sys.executable, PYTHONPATH=str(HERE.parent), HUBERT_LLAMA_ARGS="--profile 'mini")
    assert done.returncode == 1 and "HUBERT_LLAMA_ARGS cannot be read" in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken_ends_it_with_a_message():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = drop_in(sys.executable, port, PYTHONPATH=str(HERE.parent))
    assert done.returncode == 1 and f"port {port} is in use" in done.stderr


PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline(), flush=True)
child.wait()
"""


@posix
@pytest.mark.parametrize("end", ["the app dies", "the app stops it"])
def test_it_becomes_the_server_and_ends_as_it_does(bare_python, end):
    port = free_port()
    variables = {"HUBERT_LLAMA_PYTHON": sys.executable, "HUBERT_LLAMA_ARGS": "--profile mini"}
    env = environment(PYTHONPATH=str(HERE.parent), **variables)
    command = [sys.executable, "-c", PARENT, bare_python, DROP_IN, str(port)]
    parent = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        pid, line = parent.stdout.readline().split(maxsplit=1)
        assert f"listening on ws://127.0.0.1:{port}" in line
        with connect(f"ws://localhost:{port}") as client:
            client.send('{"type": "ping"}')
            assert json.loads(client.recv(10)) == {"type": "pong"}
        parent.kill() if end == "the app dies" else os.kill(int(pid), signal.SIGTERM)
        within = time.monotonic() + 5
        while time.monotonic() < within and (alive(int(pid)) or not is_free(port)):
            time.sleep(0.05)
        assert not alive(int(pid)) and is_free(port)  # the pid is the drop-in's: there is no process between
    finally:
        parent.kill()
        parent.wait()


def test_it_runs_on_a_python_that_the_package_does_not_support():
    ast.parse(DROP_IN.read_text(encoding="utf-8"), feature_version=(3, 7))
    assert os.access(DROP_IN, os.X_OK) or os.name == "nt"


# The patch


def added(file: str) -> list[str]:
    """Lines that the patch adds to a file of Heilion's."""
    part = PATCH.read_text(encoding="utf-8").split(f"+++ b/{file}\n")[1].split("diff --git")[0]
    return [line[1:].strip() for line in part.splitlines() if line.startswith("+")]


def test_the_patch_is_one_that_git_reads_and_starts_and_stops_the_sidecar():
    done = subprocess.run(["git", "apply", "--numstat", str(PATCH)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    files = [line.split("\t")[2] for line in done.stdout.splitlines()]
    assert files == ["main.js", "main/sidecarManager.js", "src/utils/sttManager.js"]
    assert added("main.js") == ["hubertLlamaAvailable = startHubertLlamaSidecar();", "stopHubertLlamaSidecar();"]
    commit = re.search(r"\b[0-9a-f]{40}\b", PATCH.read_text(encoding="utf-8"))[0]
    assert commit[:7] in README


def test_the_lines_that_the_readme_shows_are_those_of_the_patch():
    code = "\n".join(re.findall(r"```js\n(.*?)```", README, re.S))
    shown = [line.split("//")[0].strip() for line in code.splitlines()]
    assert [line for line in shown if line] == added("main.js")


def test_the_readmes_name_what_is_there():
    main = (HERE.parent / "README.md").read_text(encoding="utf-8")
    for text in (main, README):
        for name in re.findall(r"integrations/heilion/([\w.]+)", text):
            assert (FOLDER / name).exists(), name
    assert set(re.findall(r"HUBERT_LLAMA_[A-Z]+", README)) == {"HUBERT_LLAMA_PYTHON", "HUBERT_LLAMA_ARGS"}


# Heilion's own code


@pytest.fixture(scope="session")
def sources(heilion) -> tuple[Path, Path]:  # noqa: F811
    """A checkout of Heilion, and a folder with `ws` installed."""
    return Path(os.environ["HEILION_APP"]), heilion


@pytest.fixture
def app(request, sources, tmp_path) -> tuple[Path, int, bool]:
    """The app's files with the drop-in, the port that they use (any free one), and whether they are patched."""
    checkout, with_ws = sources
    folder, port = tmp_path / "app", free_port()
    shutil.copytree(checkout / "main", folder / "main")
    (folder / "src" / "utils").mkdir(parents=True)
    for name in ("main.js", "src/utils/sttManager.js"):
        shutil.copy(checkout / name, folder / name)
    (folder / "node_modules").symlink_to(with_ws / "node_modules")
    installed(folder)
    if request.param == "patched":
        subprocess.run(["git", "apply", PATCH], cwd=folder, check=True)
    (folder / "src" / "utils" / "sttManager.js").rename(folder / "sttManager.mjs")  # for Node; the app bundles it
    manager = folder / "main" / "sidecarManager.js"
    before = manager.read_text(encoding="utf-8")
    assert before.count("hubertLlamaPort = 8766;") == 1
    manager.write_text(before.replace("hubertLlamaPort = 8766;", f"hubertLlamaPort = {port};"), encoding="utf-8")
    return folder, port, request.param == "patched"


def with_app(*kinds: str):
    """A test with Heilion's own code, as it is or patched; skipped where no checkout of it is named."""
    reason = "HEILION_APP names no checkout of https://github.com/Mbstudio101/heilion"

    def mark(test):
        skip = pytest.mark.skipif(not os.environ.get("HEILION_APP"), reason=reason)
        return skip(pytest.mark.parametrize("app", kinds, indirect=True)(test))
    return mark


def play(folder: Path, scenario: str) -> tuple[int, dict[str, list[dict]]]:
    """Run a scenario with Heilion's code: Node's exit code, and what happened, by the name of the step."""
    env = {**os.environ, "HUBERT_LLAMA_PYTHON": sys.executable, "HUBERT_LLAMA_ARGS": "--profile mini"}
    node = ["node", str(HERE / "heilion_app.js"), str(folder), str(CLIPS), scenario]
    done = subprocess.run(node, env=env, stdout=subprocess.PIPE, text=True, timeout=300)
    steps = defaultdict(list)
    for line in map(json.loads, done.stdout.splitlines()):
        steps[line["step"]].append(line)
    assert not steps["failed"] and not steps["never came"], steps
    return done.returncode, steps


@with_app("as it is", "patched")
def test_its_client_starts_hears_fails_restarts_and_stops(app):
    folder, port, patched = app
    _, steps = play(folder, "sidecar")
    assert [steps[x][0]["available"] for x in ("before", "available", "killed")] == [False, True, False]
    assert steps["available"][0]["connected"] and steps["models loaded"][0]["ok"]
    words = {"gravity": "gravity", "lesson": "plants", "photosynthesis": "photosynthesis", "sum": "seven"}
    heard = {step["name"]: step for step in steps["heard"]}
    assert set(heard) == set(words)
    for name, step in heard.items():
        assert step["success"] and words[name] in step["transcript"].lower() and step["response"], step
    assert steps["wrong path"][0]["error"].startswith("Audio file not found: /nowhere/heilion_recording_1.wav")
    assert "not available" in steps["transcribe without a server"][0]["error"]
    for after in ("after it", "after the restart", "after the second restart"):
        assert steps[after][0]["success"] and "gravity" in steps[after][0]["transcript"].lower()
    # as it is, the client forgets the second server when it hears of the first one's end, and `stop` cannot end it
    assert steps["stopped"][0]["ended"] == patched
    within = time.monotonic() + 5
    while time.monotonic() < within and not is_free(port):
        time.sleep(0.1)
    assert is_free(port) and not (patched and steps["uncaught"])  # as it is, a question's timer may throw, see below


@posix
@with_app("as it is", "patched")
def test_the_server_ends_when_the_app_is_killed(app):
    folder, port, _ = app
    code, steps = play(folder, "die")
    assert code == -signal.SIGKILL and steps["dying"]
    within, pid = time.monotonic() + 5, steps["spawned"][0]["pid"]
    while time.monotonic() < within and (alive(pid) or not is_free(port)):
        time.sleep(0.1)
    assert not alive(pid) and is_free(port)


@with_app("as it is")
def test_an_app_that_is_not_patched_finds_a_server_that_somebody_started(app):
    folder, port, _ = app
    command = [sys.executable, "-m", "hubert_llama.server", str(port), "--profile", "mini"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as server:
        try:
            assert "listening" in server.stdout.readline()
            _, steps = play(folder, "byHand")
        finally:
            server.kill()
    assert steps["available"][0]["available"] and "gravity" in steps["heard"][0]["transcript"].lower()


@with_app("as it is", "patched")
def test_only_the_patched_timer_outlives_its_socket(app):
    folder, _, patched = app
    _, steps = play(folder, "timer")
    assert steps["heard"][0]["success"]
    assert ["removeListener" in step["error"] for step in steps["uncaught"]] == ([] if patched else [True])


@with_app("patched")
def test_main_starts_it_answers_a_recording_and_stops_it(app):
    folder, port, _ = app
    if ffmpeg := shutil.which("ffmpeg"):  # as Chromium's MediaRecorder writes: Opus at 48 kHz in WebM of unknown length
        opus = ["-ac", "1", "-ar", "48000", "-c:a", "libopus", "-f", "webm", "-live", "1", "pipe:1"]
        with open(folder / "recorded.webm", "wb") as webm:
            subprocess.run([ffmpeg, "-v", "error", "-i", CLIPS / "gravity.ogg", *opus], stdout=webm, check=True)
    soundfile.write(folder / "silence.wav", np.zeros(32000), 16000)
    _, steps = play(folder, "main")
    assert steps["models loaded"][0]["ok"] and "gravity" in steps["heard"][0]["transcript"].lower()
    for step in steps["recorded"]:
        assert step["filePath"].endswith(".wav") and "gravity" in step["transcript"].lower()
    assert len(steps["recorded"]) == bool(ffmpeg)
    silence = steps["silence"][0]
    assert not silence["success"] and silence["error"].startswith("I could not hear a question.")
    assert steps["server ended"][0]["code"] == 0 and is_free(port)  # at before-quit
    console = [step["text"] for step in steps["console"] if step["text"].startswith("HuBERT+Llama sidecar")]
    assert len([text for text in console if "sidecar error" not in text]) == 2  # that it listens, and that it ended
    assert not re.search("WARNING|ERROR|Traceback|\r", "\n".join(console)) and not steps["uncaught"]
