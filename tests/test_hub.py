"""Fetching models from a hub on this machine, over real HTTP, and every trouble on the way."""

import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

SHA = "0123456789abcdef0123456789abcdef01234567"
NAME = "facebook/hubert-large-ls960-ft"
HUB = "https://huggingface.co"  # never asked here: what is set beside it does not let anybody through


PAGE = b"<!DOCTYPE html><html><body>Welcome to the hotel's network. Please log in.</body></html>"
HTML = {"Content_Type": "text/html; charset=utf-8"}
# what networks answer that want a login first: a function from the path to an answer, or to None where the hub answers
PORTALS = {
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
    "logins for files": lambda path: (
        None
        if path.startswith("/api/")
        else (200, PAGE, HTML)
        if path == "/login"
        else (302, b"", {"Location": "/login"})
    ),
}


class Hub(ThreadingHTTPServer):
    """Serves one repository from a dict of files, in the way `trouble` says."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], trouble: str = "", sizes: dict[str, int] | None = None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.trouble, self.sizes, self.asked = files, trouble, sizes or {}, []
        self.states: list[tuple[dict[str, bytes], str]] = []  # what a request for /become/N makes of the two
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
        for key, value in {
            "Content-Length": str(len(body)),
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        hub, path = self.server, urlsplit(self.path).path
        hub.asked.append((self.command, path))
        if path.startswith("/become/"):
            hub.files, hub.trouble = hub.states[int(path.rsplit("/", 1)[-1])]
            return self.answer(200)
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
            return self.json(
                {
                    "id": NAME,
                    "sha": SHA,
                    "private": False,
                    "siblings": [{"rfilename": f, "size": self.size(f)} for f in hub.files],
                }
            )
        self.file(path.rsplit("/", 1)[-1])
        return None

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
        headers = {
            "Content-Length": str(len(body) - start),
            "ETag": f'"{hashlib.sha1(body).hexdigest()}"',
            "X-Repo-Commit": SHA,
            "Accept-Ranges": "bytes",
        }
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
        return None


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
    code = (
        code
        or f"from hubert_llama.models import hub; print(hub.fetch({NAME!r}, lambda *p: print('progress', p[0], p[1])))"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    env = {
        **clean,
        "HF_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_ETAG_TIMEOUT": "3",
        "HF_HUB_DOWNLOAD_TIMEOUT": "3",
        "NO_PROXY": "127.0.0.1",
        **env,
    }
    wrapped = (
        f"from hubert_llama.models.hub import ModelError\ntry:\n    {code}\n"
        "except ModelError as e:\n    print(type(e).__name__, '|', e)"
    )
    return subprocess.run([sys.executable, "-c", wrapped], env=env, capture_output=True, text=True, timeout=120)


FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"[0, 1]",
    "model.safetensors": b"w" * 300_000,
    "README.md": b"no",
    "pytorch_model.bin": b"twice",
    "original/consolidated.00.pth": b"thrice",
}


def test_only_what_is_needed_comes_with_progress_and_stays(tmp_path, hub):
    server = hub(FILES)
    done = fetch(tmp_path, server.url)
    assert SHA in done.stdout, done.stdout + done.stderr
    *told, last = done.stdout.splitlines()
    fractions = [
        float(line.removeprefix("progress downloading ")) for line in told
    ]  # several files come at once; who listens is told one thing at a time
    assert fractions[-1] == 1.0 and fractions == sorted(set(fractions)), done.stdout
    folder = Path(last)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    asked = len(server.asked)
    again = fetch(tmp_path, server.url)  # the cache is used without asking
    assert str(folder) in again.stdout and server.asked[asked:] == []
    assert str(folder) in fetch(tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1").stdout
    assert (
        str(folder)
        in fetch(
            tmp_path, HUB, ALL_PROXY="socks5://127.0.0.1:9", HTTPS_PROXY="socks5://127.0.0.1:9", NO_PROXY=""
        ).stdout
    )


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


EACH = """
import json, os, sys, urllib.request
from huggingface_hub import close_session
from hubert_llama.models import hub
endpoint, cases = os.environ["HF_ENDPOINT"], json.load(sys.stdin)
for i, env in enumerate(cases):
    if endpoint.startswith("http://127.0.0.1"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{endpoint}/become/{i}").close()
    os.environ.update(env)
    close_session()
    try:
        print(json.dumps(["fetched", str(hub.fetch(f"some/model-{i}"))]))
    except Exception as e:
        print(json.dumps([type(e).__name__, str(e)]))
    for name in env:
        del os.environ[name]
"""


def fetch_each(tmp_path: Path, endpoint: str, cases: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Fetch a model for each of these environments, in one process: an exception's name and its words."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    env = {
        **clean,
        "HF_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_ETAG_TIMEOUT": "3",
        "HF_HUB_DOWNLOAD_TIMEOUT": "3",
    }
    done = subprocess.run(
        [sys.executable, "-c", EACH], input=json.dumps(cases), env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_a_network_that_answers_in_the_hubs_place(tmp_path, hub):
    server = hub(FILES)
    server.states = [(FILES, portal) for portal in PORTALS]
    for portal, (error, words) in zip(PORTALS, fetch_each(tmp_path, server.url, [{}] * len(PORTALS)), strict=True):
        assert error == "ModelOfflineError" and "web page" in words and "Log in to the network" in words, (
            f"{portal}: {error}: {words}"
        )


def test_settings_that_cannot_work_are_named(tmp_path):
    cases = [
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "ModelOfflineError", 'ALL_PROXY.*pip install "httpx\\[socks\\]"'),
        ({"https_proxy": "socks5h://127.0.0.1:9"}, "ModelOfflineError", 'HTTPS_PROXY.*pip install "httpx\\[socks\\]"'),
        ({"HTTPS_PROXY": "socks4://127.0.0.1:9"}, "ModelOfflineError", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://127.0.0.1:9"}, "ModelOfflineError", "through the proxy in HTTPS_PROXY"),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, "ModelDownloadError", "SSL_CERT_FILE"),
        ({"HF_TOKEN": "hf_ümläut", "HTTPS_PROXY": "http://127.0.0.1:9"}, "ModelAccessError", "HF_TOKEN"),
    ]
    for (env, error, words), said in zip(
        cases, fetch_each(tmp_path, HUB, [{"NO_PROXY": "", **env} for env, _, _ in cases]), strict=True
    ):
        assert said[0] == error and re.search(words, said[1]), (env, said)


@pytest.mark.parametrize(
    ("endpoint", "env", "error", "words"),
    [
        ("http://127.0.0.1:port", {}, "ModelOfflineError", "HF_ENDPOINT"),
        ("ftp://127.0.0.1", {}, "ModelOfflineError", "HF_ENDPOINT"),
        ("http://127.0.0.1:9", {"HF_HOME": __file__}, "ModelDiskError", "HF_HOME"),
    ],
)
def test_places_that_there_are_not_are_named(tmp_path, endpoint, env, error, words):
    said = fetch(tmp_path, endpoint, **env)
    assert said.stdout.splitlines()[-1].startswith(error) and words in said.stdout, said.stdout + said.stderr


def test_a_profile_is_chosen_whatever_lies_in_the_cache(tmp_path):
    code = "from hubert_llama.models.profiles import choose_profile; print(choose_profile().name)"
    for name in ("facebook/hubert-large-ls960-ft", "meta-llama/Meta-Llama-3-8B-Instruct"):
        repository = tmp_path / "home" / "hub" / f"models--{name.replace('/', '--')}"
        for file, text in (("refs/main", SHA), (f"snapshots/{SHA}/config.json", "[]")):
            (repository / file).parent.mkdir(parents=True)
            (repository / file).write_text(text)
    assert fetch(tmp_path, HUB, code).stdout == "mini\n"
    assert fetch(tmp_path, HUB, code, HF_HOME=__file__).stdout == "mini\n"


def test_a_proxy_that_wants_a_password(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def answer():
            while True:
                try:
                    connection, _ = proxy.accept()
                except OSError:
                    return
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                    b"Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
                )
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        said = fetch(tmp_path, HUB, HTTPS_PROXY=f"http://127.0.0.1:{proxy.getsockname()[1]}", NO_PROXY="")
    assert said.stdout.startswith("ModelOfflineError") and "password" in said.stdout, said.stdout + said.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_that_nobody_vouches_for(tmp_path, hub):
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            tmp_path / "key.pem",
            "-out",
            tmp_path / "cert.pem",
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = hub(FILES)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    endpoint = server.url.replace("http:", "https:")
    said = fetch(tmp_path, endpoint)
    assert (
        said.stdout.startswith("ModelOfflineError")
        and "SSL_CERT_FILE" in said.stdout
        and "CERTIFICATE_VERIFY_FAILED" in said.stdout
    ), said.stdout + said.stderr
    assert SHA in fetch(tmp_path, endpoint, SSL_CERT_FILE=str(tmp_path / "cert.pem")).stdout  # what the message advises


# what is fetched of a repository that other programs use too


def test_strays_are_not_fetched(tmp_path, hub):
    strays = (
        "adapter_model.safetensors",
        "adapter_config.json",
        "model.fp16.safetensors",
        "consolidated.safetensors",
        "q4.gguf",
        "training_args.bin",
        "optimizer.bin",
        "tf_model.h5",
    )
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "pytorch_model.bin": b"w" * 1000}
    files |= dict.fromkeys(strays, b"s" * 10**6)
    server = hub(files, sizes=dict.fromkeys(strays, 10**15))  # nor counted: no disk has that much room
    folder = Path(fetch(tmp_path, server.url).stdout.splitlines()[-1])
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "pytorch_model.bin", "tokenizer.json"]


def test_shards_are_fetched_by_their_index(tmp_path, hub):
    index = {"metadata": {}, "weight_map": {"a": "first.safetensors", "b": "second.safetensors"}}
    files = {
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "first.safetensors": b"1" * 99,
        "second.safetensors": b"2" * 99,
        "third.safetensors": b"3" * 99,
        "pytorch_model.bin": b"w",
        "model.safetensors.index.json": json.dumps(index).encode(),
    }
    folder = Path(fetch(tmp_path, hub(files).url).stdout.splitlines()[-1])
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "first.safetensors",
        "model.safetensors.index.json",
        "second.safetensors",
        "tokenizer.json",
    ]


def test_a_repository_without_weights_says_what_it_has_before_anything_big_is_fetched(tmp_path, hub):
    cases = [
        (["adapter_model.safetensors", "adapter_config.json", "tokenizer.json"], "adapter (LoRA) for a/base"),
        (["llama-q4.gguf", "config.json"], "llama.cpp"),
        (["original/consolidated.00.pth", "config.json", "tokenizer.json"], "makers' original files"),
        (["tf_model.h5", "config.json"], "TensorFlow"),
        (["README.md"], "holds no weights; there are README.md"),
    ]
    server = hub(FILES)
    server.states = [(dict.fromkeys(names, b'{"base_model_name_or_path": "a/base"}'), "") for names, _ in cases]
    for (names, words), (error, said) in zip(cases, fetch_each(tmp_path, server.url, [{}] * len(cases)), strict=True):
        assert error.startswith("Model") and words in said and names[0] in said, (names, said)
        assert not any(path.endswith(names[0]) for _, path in server.asked)


def test_a_page_in_a_files_place_is_told(tmp_path, hub):
    said = fetch(tmp_path, hub(FILES | {"config.json": PAGE}).url)
    assert (
        said.stdout.splitlines()[-1].startswith("ModelFormatError")
        and "web page" in said.stdout
        and "config.json" in said.stdout
    ), said.stdout + said.stderr


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
    code = (
        "from hubert_llama.hubert import SpeechEncoder; import numpy as np; "
        f"print(SpeechEncoder.from_pretrained({NAME!r}).encode([np.zeros(16000, 'float32')])[0].shape)"
    )
    said = fetch(tmp_path, hub(files).url, code)
    assert "(1, 49, 32)" in said.stdout, said.stdout + said.stderr
