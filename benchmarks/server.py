"""How quick and how small the socket process is, while the models load and while they work.

    python benchmarks/server.py                      # the bundled pair
    python benchmarks/server.py --runs 5 --profile llama3.2-1b
    python benchmarks/server.py --runs 2 --profile llama3-8b --hubert /tmp/full-size/hubert --llama /tmp/full-size/llama
    python benchmarks/server.py --wait 5             # ask for the models after five seconds
    python benchmarks/server.py --busy 2             # while two other processes compute all the time
    python benchmarks/server.py --listening --runs 15    # only until it accepts connections

Prints, over some starts of the real server: the time from starting the process to the first accepted connection, to
models loaded and to the first answer; the delay of `pong` while models load and while a request runs; the time from a
spoken question of 2 s to its answer; the memory of both processes. And, in a process that imports and loads as the
worker does: torch's import, and the time from there to models loaded (transformers begins with what needs no torch;
that part stands before, and is in "Python's start to models loaded").
"""

import argparse
import asyncio
import json
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from websockets.asyncio.client import connect

CLIP = Path(__file__).parent.parent / "nbs" / "clips" / "photosynthesis.ogg"


LOADING = """
import json, sys, time
marks = [time.perf_counter()]
import gc; gc.disable()  # as import_ahead does
import transformers
marks.append(time.perf_counter())
import torch
marks.append(time.perf_counter())
from hubert_llama.serve import worker
worker.import_ahead()
loader = worker.Worker(worker.config_from(worker.parser().parse_args(sys.argv[2:])), lambda event: None)
loader.handle({"op": "load"})
marks.append(time.perf_counter())
assert loader.pipeline is not None, "the models did not load"
print(json.dumps([marks[2] - marks[1], marks[3] - marks[2], time.time() - float(sys.argv[1])]))
"""


def time_loading(options: list[str]) -> dict[str, list[float]]:
    """Seconds of the parts of loading, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LOADING, str(time.time()), *options], capture_output=True, text=True, check=True
    )
    torch, rest, whole = json.loads(done.stdout.splitlines()[-1])
    return {
        "torch's import (s)": [torch],
        "torch imported to models loaded (s)": [rest],
        "Python's start to models loaded (s)": [whole],
    }


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def time_to_accept(port: int, start: float) -> float:
    """Seconds from `start` until a connection is accepted."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return time.perf_counter() - start
        except OSError:
            time.sleep(0.002)


async def pong_delays(ws, until: str, every: float = 0.01) -> tuple[list[float], dict]:
    """Delays of pongs, in seconds, until a message of type `until` comes, and that message."""
    delays, sent, found = [], asyncio.Queue(), {}

    async def pings() -> None:
        """Ask again and again."""
        while True:
            sent.put_nowait(time.perf_counter())
            await ws.send('{"type": "ping"}')
            await asyncio.sleep(every)

    task = asyncio.create_task(pings())
    while not found:
        message = json.loads(await ws.recv())
        if message["type"] == "pong":
            delays.append(time.perf_counter() - sent.get_nowait())
        elif message["type"] == "error":
            raise SystemExit(f"the service answered: {message['error']}")
        elif message["type"] == until:
            found = message
    task.cancel()
    while not sent.empty():  # the pongs on their way
        if json.loads(await ws.recv())["type"] == "pong":
            sent.get_nowait()
    return delays, found


async def measure(port: int, process: psutil.Process, start: float, wait: float) -> dict[str, list[float]]:
    """Load the models and answer a question, pinging all the time."""
    await asyncio.sleep(wait)
    async with connect(f"ws://localhost:{port}") as ws:
        asked = time.perf_counter()
        await ws.send('{"type": "load_models"}')
        loading, loaded = await pong_delays(ws, "models_loaded")
        ready, loading_took = time.perf_counter() - start, time.perf_counter() - asked
        assert loaded["success"], loaded
        answers, working, first = [], [], 0.0
        for _ in range(5):
            asked = time.perf_counter()
            await ws.send(
                json.dumps({"type": "transcribe", "audio_path": str(CLIP), "context": "Course: Biology 101."})
            )
            delays, result = await pong_delays(ws, "result")
            assert result["success"], result
            answers.append(time.perf_counter() - asked)
            working += delays
            first = first or time.perf_counter() - start
    worker = process.children()[0]
    return {
        "models loaded (s)": [ready],
        "load_models to models loaded (s)": [loading_took],
        "first answer (s)": [first],
        "pong while loading (ms)": [1000 * d for d in loading],
        "pong while answering (ms)": [1000 * d for d in working],
        "question of 2 s to answer (s)": answers,
        "socket process (MB)": [process.memory_info().rss / 1e6],
        "worker process (MB)": [worker.memory_info().rss / 1e6],
    }


@contextmanager
def started(options: list[str]) -> Iterator[tuple[psutil.Process, int, float]]:
    """The server's process, its port, and when it was started; it is stopped in the end."""
    port, start = free_port(), time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "hubert_llama.server", str(port), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(server.pid), port, start
    finally:
        server.stdin.close()
        server.wait(10)


def time_listening(options: list[str]) -> dict[str, list[float]]:
    """Seconds until the server listens, and the CPU's seconds that it took: these say more on a busy machine."""
    with started(options) as (process, port, start):
        accepted = time_to_accept(port, start)
        used = process.cpu_times()
    return {"listening (s)": [accepted], "CPU time until then (s)": [used.user + used.system]}


def one_run(options: list[str], wait: float) -> dict[str, list[float]]:
    """Start the server, measure, stop it; then the parts of loading."""
    with started(options) as (process, port, start):
        accepted = time_to_accept(port, start)
        figures = {"listening (s)": [accepted], **asyncio.run(measure(port, process, start, wait))}
    return {**figures, **time_loading(options)}


@contextmanager
def at_work(n: int) -> Iterator[None]:
    """While so many processes compute."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for other in others:
            other.kill()


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="how many starts (default: %(default)s)")
    parser.add_argument("--profile", default="mini")
    parser.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="between the start and load_models; Heilion takes 2 (default: %(default)g)",
    )
    parser.add_argument(
        "--busy",
        type=int,
        default=0,
        metavar="N",
        help="processes that compute meanwhile, as other programs on the machine may (default: none)",
    )
    parser.add_argument("--listening", action="store_true", help="measure only how soon the server listens")
    parser.add_argument("--hubert", help="another HuBERT: hub id or folder")
    parser.add_argument("--llama", help="another Llama: hub id or folder")
    args = parser.parse_args()
    models = {f"--{name}": getattr(args, name) for name in ("profile", "hubert", "llama")}
    options = [x for option, value in models.items() if value for x in (option, value)]
    table: dict[str, list[float]] = {}
    with at_work(args.busy):
        for _ in range(args.runs):
            figures = time_listening(options) if args.listening else one_run(options, args.wait)
            for name, values in figures.items():
                table.setdefault(name, []).extend(values)
    asked = "" if args.listening else f"load_models after {args.wait:g} s, "
    print(
        f"{args.runs} starts, {asked}profile {args.profile}; {platform.machine()}, "
        f"{psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}, Python {platform.python_version()}\n"
    )
    print("| | median | 99 % | largest | n |\n|---|---|---|---|---|")
    for name, values in table.items():
        p99 = sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]
        print(f"| {name} | {statistics.median(values):.3g} | {p99:.3g} | {max(values):.3g} | {len(values)} |")


if __name__ == "__main__":
    main()
