"""Starting servers for tests, in this process or in one of their own, and talking to them."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from websockets.asyncio.client import connect

from hubert_llama.server import ServerConfig, Service

FAKE = (sys.executable, str(Path(__file__).parent / "fake_worker.py"))


@asynccontextmanager
async def serving(**config):
    """A service in this event loop, on a free port, with the worker that has no models."""
    service = Service(ServerConfig(**{"port": 0, "worker": FAKE, **config}))
    await service.start()
    try:
        yield service
    finally:
        await service.close()


class Talk:
    """A client: says and hears messages."""

    def __init__(self, socket):
        self.socket = socket

    async def say(self, type: str, **fields) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def ask(self, audio_path: str = "q.wav", context: str = "", **fields) -> None:
        await self.say("transcribe", audio_path=audio_path, context=context, **fields)

    async def hear(self, seconds: float = 20, progress: bool = False) -> dict:
        """The next message; progress is passed over, as Heilion does, unless it is asked for."""
        while True:
            message = json.loads(await asyncio.wait_for(self.socket.recv(), seconds))
            if progress or message["type"] != "progress":
                return message

    async def hear_all(self, n: int) -> list[dict]:
        return [await self.hear() for _ in range(n)]


@asynccontextmanager
async def talking(service, **options):
    """A client of a service."""
    async with connect(f"ws://localhost:{service.port}", **options) as socket:
        yield Talk(socket)


def first_line(process: subprocess.Popen, seconds: float) -> str:
    """The first line of its standard output; empty when it takes too long."""
    lines: list[str] = []
    thread = threading.Thread(target=lambda: lines.append(process.stdout.readline()), daemon=True)
    thread.start()
    thread.join(seconds)
    return lines[0] if lines else ""


@contextmanager
def running(
    *args: str, stdin=subprocess.PIPE, env: dict | None = None, port: str = "0", limit_files: int | None = None
):
    """The server as a process, with so many open files at the most; yields it and its port once it listens."""
    command = [sys.executable, "-m", "hubert_llama.server", port, *args]
    if limit_files:
        command = ["sh", "-c", f'ulimit -n {limit_files}; exec "$@"', "sh", *command]
    pipe, env = subprocess.PIPE, {**os.environ, **(env or {})}
    process = subprocess.Popen(command, stdin=stdin, stdout=pipe, stderr=pipe, text=True, env=env)
    errors: list[str] = []
    threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True).start()
    process.errors = errors
    try:
        line = first_line(process, 60)
        assert "127.0.0.1:" in line, f"the server did not start: {line!r} {errors}"
        yield process, int(line.split("127.0.0.1:")[1].split()[0])
    finally:
        process.kill()
        process.wait()
