"""Fetching models from a hub on this machine, over real HTTP, and every trouble on the way."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

SHA = "0123456789abcdef0123456789abcdef01234567"
NAME = "facebook/hubert-large-ls960-ft"


PAGE = b"<!DOCTYPE html><html><body>Welcome to the hotel's network. Please log in.</body></html>"
HTML = {"Content_Type": "text/html; charset=utf-8"}
PORTALS = {  # what networks answer that want a login first: a function from the path to an answer, or to None where the hub answers itself
    "a page": lambda path: (200, PAGE, HTML),
    "a page of other letters": lambda path: (200, "Zürich".encode("latin-1"), HTML),
    "a list": lambda path: (200, b"[]", {"Content_Type": "application/json"}),
    "null": lambda path: (200, b"null", {"Content_Type": "application/json"}),
    "an empty page": lambda path: (200, b"", {}),
    "a login elsewhere": lambda path: (200, PAGE, HTML) if path == "/login" else (302, b"", {"Location": "/login"}),
    "a circle": lambda path: (302, b"", {"Location": path}),
    "a refusal": lambda path: (403, PAGE, HTML),
    "no such page": lambda path: (404, PAGE, HTML),
    "login required": lambda path: (511, PAGE, HTML),
    "pages for files": lambda path: None if path.startswith("/api/") else (200, PAGE, HTML),
    "logins for files": lambda path: None if path.startswith("/api/") else (200, PAGE, HTML) if path == "/login" else (302, b"", {"Location": "/login"}),
}


class Hub(ThreadingHTTPServer):
    """Serves one repository from a dict of files, in the way `trouble` says."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], trouble: str = "", sizes: dict[str, int] | None = None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.trouble, self.sizes, self.asked = files, trouble, sizes or {}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Clients that hang up are no news."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def answer(self, status: int, body: bytes = b"", **headers):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        hub, path = self.server, urlsplit(self.path).path
        hub.asked.append((self.command, path))
        if hub.trouble in PORTALS and (answer := PORTALS[hub.trouble](path)):
            status, body, headers = answer
            return self.answer(status, body, **headers)
        if hub.trouble == "broken":
            return self.answer(500, b"oops")
        if hub.trouble == "unknown":
            return self.answer(401, b"", X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        if path.startswith("/api/models/") and "/tree/" in path:
            return self.json([{"type": "file", "path": f, "size": self.size(f), "oid": "a" * 40} for f in hub.files])
        if path.startswith("/api/models/"):
            return self.json({"id": NAME, "sha": SHA, "private": False, "siblings": [{"rfilename": f, "size": self.size(f)} for f in hub.files]})
        self.file(path.rsplit("/", 1)[-1])

    def size(self, name: str) -> int:
        return self.server.sizes.get(name, len(self.server.files[name]))

    def json(self, data) -> None:
        self.answer(200, json.dumps(data).encode(), Content_Type="application/json")

    def file(self, name: str) -> None:
        hub = self.server
        if hub.trouble == "gated":
            status = 403 if self.headers.get("authorization") else 401
            return self.answer(status, b"", X_Error_Code="GatedRepo", X_Error_Message="Access to model is restricted")
        if name not in hub.files:
            return self.answer(404, b"", X_Error_Code="EntryNotFound")
        body, start = hub.files[name], 0
        if (wanted := self.headers.get("range", "")).startswith("bytes="):
            start = int(wanted[6:].split("-")[0])
        headers = {"Content-Length": str(len(body) - start), "ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self.send_response(206 if start else 200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            if hub.trouble == "interrupted" and name == "model.safetensors":
                self.wfile.write(body[start : start + (len(body) - start) // 2])
                self.wfile.flush()
                self.connection.close()
            else:
                self.wfile.write(body[start:])


@pytest.fixture
def hub(request):
    started = []

    def start(files, trouble="", sizes=None) -> Hub:
        started.append(Hub(files, trouble, sizes))
        return started[-1]

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def fetch(tmp_path: Path, endpoint: str, code: str = "", **env: str) -> subprocess.CompletedProcess:
    """Fetch the model in a process of its own, since the hub library reads its environment once."""
    code = code or f"from hubert_llama import hub; print(hub.fetch({NAME!r}, lambda *p: print('progress', p[0], p[1])))"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    env = {**clean, "HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": endpoint, "HF_HUB_ETAG_TIMEOUT": "3", "HF_HUB_DOWNLOAD_TIMEOUT": "3", "NO_PROXY": "127.0.0.1", **env}
    wrapped = f"from hubert_llama.hub import ModelError\ntry:\n    {code}\nexcept ModelError as e:\n    print(type(e).__name__, '|', e)"
    return subprocess.run([sys.executable, "-c", wrapped], env=env, capture_output=True, text=True, timeout=120)


FILES = {"config.json": b"{}", "tokenizer.json": b"[0, 1]", "model.safetensors": b"w" * 300_000, "README.md": b"no", "pytorch_model.bin": b"twice", "original/consolidated.00.pth": b"thrice"}


def test_only_what_is_needed_comes_with_progress_and_stays(tmp_path, hub):
    server = hub(FILES)
    done = fetch(tmp_path, server.url)
    assert SHA in done.stdout, done.stdout + done.stderr
    *told, last = done.stdout.splitlines()
    fractions = [float(line.removeprefix("progress downloading ")) for line in told]  # several files come at once; who listens is told one thing at a time
    assert fractions[-1] == 1.0 and fractions == sorted(set(fractions)), done.stdout
    folder = Path(last)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    asked = len(server.asked)
    again = fetch(tmp_path, server.url)  # the cache is used without asking
    assert str(folder) in again.stdout and server.asked[asked:] == []
    assert str(folder) in fetch(tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1").stdout


@pytest.mark.parametrize(
    ("trouble", "env", "error", "remedy"),
    [
        ("gated", {}, "ModelAccessError", "no hub token is set"),
        ("gated", {"HF_TOKEN": "hf_abc"}, "ModelAccessError", "wait for the grant"),
        ("unknown", {}, "ModelNotFoundError", "Check the spelling"),
        ("broken", {}, "ModelDownloadError", "500"),
        ("", {"HF_HUB_OFFLINE": "1"}, "ModelOfflineError", "HF_HUB_OFFLINE"),
    ],
)
def test_troubles_are_sentences_with_a_remedy(tmp_path, hub, trouble, env, error, remedy):
    said = fetch(tmp_path, hub(FILES, trouble).url, **env)
    assert said.stdout.startswith(error), said.stdout + said.stderr
    assert remedy in said.stdout and "Traceback" not in said.stderr and "hf_abc" not in said.stdout


@pytest.mark.parametrize("portal", PORTALS)
def test_a_network_that_answers_in_the_hubs_place(tmp_path, hub, portal):
    said = fetch(tmp_path, hub(FILES, portal).url)
    assert said.stdout.startswith("ModelOfflineError") and "web page" in said.stdout and "Log in to the network" in said.stdout, said.stdout + said.stderr


def test_no_hub_there(tmp_path):
    said = fetch(tmp_path, "http://127.0.0.1:9")
    assert said.stdout.startswith("ModelOfflineError") and "--profile mini" in said.stdout, said.stdout + said.stderr


def test_a_hub_that_accepts_and_never_answers(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = fetch(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert said.stdout.startswith("ModelOfflineError") and "does not answer" in said.stdout, said.stdout + said.stderr


def test_a_cache_without_a_tokenizer_is_completed(tmp_path, hub):
    server = hub(FILES)
    folder = Path(fetch(tmp_path, server.url).stdout.splitlines()[-1])
    (folder / "tokenizer.json").unlink()
    assert str(folder) in fetch(tmp_path, server.url).stdout
    assert (folder / "tokenizer.json").is_file()


def test_no_room_on_the_disk(tmp_path, hub):
    said = fetch(tmp_path, hub(FILES, sizes={"model.safetensors": 10**15}).url)
    assert said.stdout.startswith("ModelDiskError") and "HF_HOME" in said.stdout, said.stdout + said.stderr


def test_an_interrupted_download_can_be_tried_again(tmp_path, hub):
    server = hub(FILES, "interrupted")
    said = fetch(tmp_path, server.url)
    assert said.stdout.splitlines()[-1].startswith("ModelDownloadError"), said.stdout + said.stderr
    server.trouble = ""
    assert SHA in fetch(tmp_path, server.url).stdout


def test_a_model_loads_by_its_hub_name(tmp_path, hub, tiny_hubert):
    files = {p.name: p.read_bytes() for p in tiny_hubert.iterdir()}
    code = f"from hubert_llama.hubert import SpeechEncoder; import numpy as np; print(SpeechEncoder.from_pretrained({NAME!r}).encode([np.zeros(16000, 'float32')])[0].shape)"
    said = fetch(tmp_path, hub(files).url, code)
    assert "(1, 49, 32)" in said.stdout, said.stdout + said.stderr
