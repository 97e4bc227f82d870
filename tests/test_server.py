"""The protocol's rules and every fault, on real sockets, with a worker that has no models."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import running, serving, talking
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hubert_llama.serve.process import WorkerProcess
from hubert_llama.serve.supervisor import WorkerState
from hubert_llama.server import Service, main


def on_loop(test):
    """Run an async test."""

    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    if hasattr(test, "pytestmark"):
        run.pytestmark = test.pytestmark
    import inspect

    run.__signature__ = inspect.signature(test)
    return run


def worker_of(service: Service) -> WorkerProcess | None:
    """The worker that a service has just now."""
    return service.dispatcher.supervisor.worker


def is_at(service: Service, state: WorkerState) -> bool:
    """Whether the worker of a service is at this."""
    return service.dispatcher.supervisor.status.state is state


async def another_worker(service: Service, worker: WorkerProcess | None) -> None:
    """Wait until a service has another worker."""
    await until(lambda: worker_of(service) not in (None, worker))


# The legacy layer


@on_loop
async def test_ping_while_models_load_and_while_a_job_hangs(monkeypatch):
    monkeypatch.setenv("FAKE_LOAD", "slow 1")
    async with serving() as service, talking(service) as client:
        await client.say("load_models")
        for _ in range(5):
            await client.say("ping")
            assert await client.hear() == {"type": "pong"}
        assert (await client.hear())["type"] == "models_loaded"
        await client.ask(context="hang", timeout=1)
        await client.say("ping")
        assert await client.hear() == {"type": "pong"}
        assert (await client.hear())["type"] == "error"


@on_loop
async def test_several_who_load_share_one_loading(monkeypatch):
    monkeypatch.setenv("FAKE_LOAD", "slow 0.3")
    async with serving() as service, talking(service) as a, talking(service) as b:
        await a.say("load_models", request_id=1)
        await b.say("load_models")
        await a.say("load_models")
        got = [await a.hear(), await a.hear(), await b.hear()]
        assert all(m["success"] and m["loads"] == 1 for m in got) and {m.get("request_id") for m in got} == {1, None}
        await b.say("load_models")
        assert (await b.hear())["loads"] == 1


@on_loop
async def test_many_clients_may_wait_for_the_models_but_none_too_often(monkeypatch):
    monkeypatch.setenv("FAKE_LOAD", "slow 0.5")
    async with serving(max_jobs=2, max_pending=3) as service, contextlib.AsyncExitStack() as open_ones:
        clients = [await open_ones.enter_async_context(talking(service)) for _ in range(5)]
        for client in clients:
            for _ in range(4):
                await client.say("load_models", stream=False)
        for client in clients:
            got = await client.hear_all(4)
            assert [m["success"] for m in got] == [False, True, True, True] and "ask once" in got[0]["error"]


@on_loop
async def test_a_failed_loading_can_be_tried_again(monkeypatch):
    monkeypatch.setenv("FAKE_LOAD", "fail-once")
    async with serving() as service, talking(service) as client:
        await client.say("load_models")
        failed = await client.hear()
        assert failed["type"] == "models_loaded" and failed["success"] is False and "HF_TOKEN" in failed["error"]
        await client.say("load_models")
        assert (await client.hear())["success"] is True


@on_loop
async def test_replies_without_an_id_keep_their_order():
    async with serving() as service, talking(service) as client:
        await client.ask("a.wav", "sleep 0.3")
        await client.socket.send("{")
        await client.ask("missing.wav")
        await client.say("dance")
        await client.ask("b.wav")
        await client.ask("c.wav", "fail")
        got = await client.hear_all(6)
        assert [(m["type"], m.get("transcript") or m["error"].split(":")[0].split(".")[0]) for m in got] == [
            ("result", "a.wav"), ("error", "Not JSON"), ("error", "Audio file not found"),
            ("error", 'Unknown message type "dance"'), ("result", "b.wav"), ("result", "Out of memory with x")]
        assert got[5]["success"] is False and isinstance(got[5]["error"], str)


@on_loop
async def test_replies_with_an_id_need_not_wait_and_carry_it():
    async with serving() as service, talking(service) as client:
        await client.ask("a.wav", "sleep 0.3")
        await client.ask("b.wav", request_id="b", timeout=0.05)
        first, second = await client.hear_all(2)
        assert (first["type"], first["request_id"]) == ("error", "b") and second["transcript"] == "a.wav"
        await client.ask("missing.wav", request_id=7)
        assert (await client.hear())["request_id"] == 7


@on_loop
async def test_the_deadline_answers_once_and_counts_waiting():
    async with serving(timeout=0.4) as service, talking(service) as client:
        start = time.monotonic()
        for name in "abc":
            await client.ask(f"{name}.wav", "sleep 3")
        got = await client.hear_all(3)
        assert [m["type"] for m in got] == ["error"] * 3 and all("0.4 s" in m["error"] for m in got)
        assert time.monotonic() - start < 2
        await client.ask("next.wav", timeout=20)
        assert (await client.hear())["transcript"] == "next.wav"


@on_loop
async def test_loading_outlives_the_requests_that_wait_for_it(monkeypatch):
    """A first question may time out while gigabytes come; the loading goes on and the next one profits."""
    monkeypatch.setenv("FAKE_LOAD", "slow 2")
    async with serving(grace=0.2) as service, talking(service) as client:
        await client.ask("first.wav", timeout=0.3)
        assert "0.3 s" in (await client.hear())["error"]
        await client.say("load_models")
        got = await client.hear()
        assert got["success"] and got["loads"] == 1
        await client.ask("next.wav")
        assert (await client.hear())["transcript"] == "next.wav"


@on_loop
async def test_a_question_whose_models_cannot_be_loaded_is_told_why(monkeypatch):
    monkeypatch.setenv("FAKE_LOAD", "fail-once")
    async with serving() as service, talking(service) as client:
        await client.ask()
        failed = await client.hear()
        assert (failed["type"], failed["success"]) == ("result", False) and "HF_TOKEN" in failed["error"]
        await client.ask("next.wav")
        assert (await client.hear())["transcript"] == "next.wav"


@on_loop
async def test_a_wrong_message_with_an_id_is_refused_at_once_by_that_id():
    async with serving() as service, talking(service) as client:
        await client.ask("a.wav", "sleep 0.3")
        await client.say("transcribe", request_id="b")
        await client.ask("c.wav", request_id=3, timeout=-1)
        await client.say("dance", request_id="d")
        got = await client.hear_all(4)
        replies = [(m["type"], m.get("request_id")) for m in got]
        assert replies == [("error", "b"), ("error", 3), ("error", "d"), ("result", None)]


@on_loop
async def test_who_waits_for_the_models_is_told_how_they_come_along():
    async with serving() as service, talking(service) as client, talking(service) as quiet:
        await quiet.say("load_models", stream=False)
        await client.say("load_models", request_id="l")
        got = [await client.hear(progress=True) for _ in range(2)]
        assert got[0] == {"type": "progress", "stage": "loading", "fraction": 0.5, "message": "Loading fake",
                          "request_id": "l", "seq": 1}
        assert got[1]["type"] == "models_loaded" and (await quiet.hear(progress=True))["type"] == "models_loaded"


@on_loop
async def test_a_context_that_is_too_long_is_told_as_such():
    async with serving() as service, talking(service) as client:
        await client.ask("a.wav", "ö" * 262_145, request_id=1)
        error = await client.hear()
        assert error["request_id"] == 1
        assert error["error"].startswith("Field context is too long: 262,145 characters, at most 262,144")
        await client.say("session.update", context="x" * 300_000)
        assert "Field context is too long: 300,000" in (await client.hear())["error"]
        await client.socket.send(["x" * 600_000, "x" * 600_000])
        both = (await client.hear())["error"]
        assert "context" in both and "recordings" in both and "262,144" in both
        await client.ask("a.wav", "ö" * 150_000)  # 900,000 characters of JSON
        assert (await client.hear())["transcript"] == "a.wav"


@on_loop
async def test_an_empty_context_forgets_a_sessions_and_none_keeps_it():
    async with serving() as service, talking(service) as client:
        told = {"context": "tell", "stream": None}
        forgotten = [({"context": ""}, ""), (told, "tell"), ({"context": None}, "")]
        for update, known in [(told, "tell"), ({"remember": 2}, "tell"), *forgotten]:
            await client.say("session.update", **update)
            assert (await client.hear())["session"]["context"] == known
        await client.ask("a.wav", None, stream=None, timeout=None, request_id=None, remember=None)
        assert (await client.hear())["response"] == "Well, a.wav"


@on_loop
async def test_streamed_events_are_numbered_and_only_for_those_who_ask():
    async with serving() as service, talking(service) as client:
        await client.say("load_models", stream=True)
        await client.ask(stream=True, request_id="s")
        await client.ask()
        got = [await client.hear(progress=True) for _ in range(8)]
        assert [m["type"] for m in got] == [
            "progress", "progress", "models_loaded", "transcription.partial", "transcription.done",
            "response.output_text.delta", "response.output_text.delta", "result"]
        assert [m["seq"] for m in got if "seq" in m] == [1, 2, 3, 4, 5, 6]
        assert got[1]["request_id"] == got[3]["request_id"] == "s"
        assert got[3]["transcript"] == got[4]["transcript"] and got[5]["delta"] + got[6]["delta"] == got[7]["response"]
        assert (await client.hear())["type"] == "result"


# Faults of the worker


@on_loop
async def test_a_worker_killed_in_mid_request_costs_one_error():
    async with serving() as service, talking(service) as client, talking(service) as other:
        await client.ask(context="hang")
        await other.ask("waiting.wav")
        await until(lambda: service.dispatcher.queue.running)
        worker_of(service).process.kill()
        died = await client.hear()
        assert died["type"] == "error" and "restarted" in died["error"]
        assert (await other.hear())["transcript"] == "waiting.wav"
        await client.ask("again.wav")
        assert (await client.hear())["transcript"] == "again.wav"


@on_loop
async def test_a_worker_killed_when_idle_or_while_loading(monkeypatch):
    monkeypatch.setenv("FAKE_LOAD", "slow 0.5")
    async with serving() as service, talking(service) as client:
        await client.say("load_models")
        while not (service.dispatcher.queue.running or is_at(service, WorkerState.LOADING)):
            await asyncio.sleep(0.01)
        worker_of(service).process.kill()
        assert (await client.hear())["success"] is False
        await client.say("load_models")
        assert (await client.hear())["success"] is True
        worker_of(service).process.kill()
        await asyncio.sleep(0.3)
        await client.ask("a.wav")
        assert (await client.hear())["transcript"] == "a.wav"


@on_loop
async def test_a_worker_that_never_starts_is_told(monkeypatch):
    monkeypatch.setenv("FAKE_START", "die")
    async with serving() as service, talking(service) as client:
        await client.say("load_models")
        await client.ask()
        got = await client.hear_all(2)
        assert {m["type"] for m in got} == {"models_loaded", "error"}
        assert all("ended with code 3" in m["error"] for m in got)
    async with serving(worker=("/no/such/program",)) as service, talking(service) as client:
        await client.ask()
        assert "could not be started" in (await client.hear())["error"]


@on_loop
async def test_a_worker_that_does_not_give_up_is_killed():
    async with serving(grace=0.3) as service, talking(service) as client:
        await client.ask(context="deaf", timeout=0.2)
        assert (await client.hear())["type"] == "error"
        await client.ask("next.wav")
        assert (await client.hear())["transcript"] == "next.wav"


def stop_worker(service) -> None:
    """Have the worker hang, as a driver or a disk may."""
    os.kill(worker_of(service).process.pid, signal.SIGSTOP)


async def until(true) -> None:
    """Wait for something to become true."""
    while not true():
        await asyncio.sleep(0.01)


posix = pytest.mark.skipif(os.name == "nt", reason="SIGSTOP is POSIX")


@posix
@on_loop
async def test_a_worker_that_hangs_is_replaced_at_the_deadline(caplog):
    async with serving(patience=0.5) as service, talking(service) as client:
        await client.ask("a.wav", "sleep 9", timeout=1)
        await until(lambda: service.dispatcher.queue.running)
        stop_worker(service)
        await client.ask("b.wav", timeout=20)
        assert "within 1 s" in (await client.hear())["error"]
        start = time.monotonic()
        assert (await client.hear())["transcript"] == "b.wav"
        assert time.monotonic() - start < 5, "0.5 s to wait for a sign of life, and a start"
    assert any("showed no sign of life" in r.getMessage() for r in caplog.records)


@posix
@on_loop
async def test_a_worker_that_hangs_while_it_loads_is_replaced_too(monkeypatch):
    monkeypatch.setenv("FAKE_LOAD", "slow 0.5")
    async with serving(patience=0.1) as service, talking(service) as client:
        await client.say("load_models")
        await until(lambda: is_at(service, WorkerState.LOADING))
        stop_worker(service)
        await client.ask("a.wav", timeout=0.2)
        assert "within 0.2 s" in (await client.hear())["error"]
        told = await client.hear(5)
        assert not told["success"] and "showed no sign of life" in told["error"]
        await client.ask("b.wav")
        assert (await client.hear(5))["transcript"] == "b.wav"


@on_loop
async def test_a_busy_worker_that_lives_has_as_long_as_loading_takes(monkeypatch, caplog):
    monkeypatch.setenv("FAKE_LOAD", "slow 1")
    async with serving(patience=0.2) as service, talking(service) as client:
        await client.say("load_models")
        await client.hear()
        await client.ask("a.wav", "deaf", timeout=0.2)
        assert "within 0.2 s" in (await client.hear())["error"]
        first, start = worker_of(service), time.monotonic()
        await until(lambda: worker_of(service) is not first)
        assert 0.9 < time.monotonic() - start < 5
    assert any("did not give up a cancelled job" in r.getMessage() for r in caplog.records)


@on_loop
async def test_after_many_kills_the_next_question_waits_no_longer():
    async with serving() as service, talking(service) as client:
        for i in range(20):
            await client.ask(f"{i}.wav", "sleep 9")
            await until(lambda: service.dispatcher.queue.running)
            worker_of(service).process.kill()
            assert "restarted" in (await client.hear())["error"]
        start = time.monotonic()
        await client.ask("next.wav")
        assert (await client.hear())["transcript"] == "next.wav" and time.monotonic() - start < 2


@on_loop
async def test_models_that_were_in_use_are_loaded_again_before_anybody_asks():
    async with serving() as service, talking(service) as client:
        await client.ask()
        assert (await client.hear())["type"] == "result"
        for again in (True, False):  # a second time nobody has used them: they are not brought back for ever
            worker = worker_of(service)
            worker.process.kill()
            await another_worker(service, worker)
            await asyncio.sleep(0.5)
            assert (service.dispatcher.supervisor.status.loaded is not None) == again
        for _ in range(5):
            worker = worker_of(service)
            await until(lambda: is_at(service, WorkerState.READY))
            worker.process.kill()
            await another_worker(service, worker)
        assert service.dispatcher.supervisor.restarts.failures == 0
        start = time.monotonic()
        await client.ask("a.wav")
        assert (await client.hear())["transcript"] == "a.wav" and time.monotonic() - start < 2


@on_loop
async def test_workers_that_die_at_the_start_come_later_and_later_but_soon_for_who_asks(monkeypatch):
    monkeypatch.setenv("FAKE_START", "die")
    async with serving() as service, talking(service) as client:
        restarts = service.dispatcher.supervisor.restarts
        restarts.failures = 7
        await until(lambda: restarts.failures == 8 and restarts.timer is not None)
        assert restarts.timer.when() - asyncio.get_running_loop().time() > 25
        monkeypatch.delenv("FAKE_START")
        start = time.monotonic()
        await client.ask("a.wav")
        assert (await client.hear())["transcript"] == "a.wav" and time.monotonic() - start < 3


@on_loop
async def test_garbage_and_long_lines_from_the_worker():
    async with serving(max_line=100_000) as service, talking(service) as client:
        await client.ask("a.wav", "garbage")
        assert (await client.hear())["transcript"] == "a.wav"
        await client.ask("a.wav", "huge 20000")
        assert len((await client.hear())["transcript"]) == 20000
        await client.ask("a.wav", "huge 1000000")
        assert (await client.hear())["type"] == "error"
        await client.ask("b.wav")
        assert (await client.hear())["transcript"] == "b.wav"


# Clients that behave badly


@on_loop
async def test_probes_that_connect_and_close():
    async with serving() as service:
        # ::1 too where there is IPv6
        for address in {s.getsockname()[:2] for server in service.servers for s in server.sockets}:
            for _ in range(10):
                socket.create_connection(address).close()
                async with connect(f"ws://localhost:{service.port}"):
                    pass
        async with talking(service) as client:
            await client.say("ping")
            assert await client.hear() == {"type": "pong"}


@on_loop
async def test_who_hangs_up_frees_the_worker():
    async with serving() as service, talking(service) as client:
        async with talking(service) as leaver:
            for _ in range(5):
                await leaver.ask(context="hang")
            while not (service.dispatcher.queue.running or is_at(service, WorkerState.LOADING)):
                await asyncio.sleep(0.01)
        await client.ask("mine.wav")
        assert (await client.hear())["transcript"] == "mine.wav"
        assert not service.dispatcher.queue.waiting


@on_loop
async def test_too_many_requests_are_refused_in_order():
    async with serving(max_pending=3) as service, talking(service) as client:
        for i in range(5):
            await client.ask(f"{i}.wav", "sleep 0.1")
        got = await client.hear_all(5)
        assert [m["type"] for m in got] == ["result"] * 3 + ["error"] * 2 and "Too many" in got[4]["error"]


async def raw_socket(service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket of which nothing is read after its handshake."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # little that the system takes on its behalf
    plain.connect(("127.0.0.1", service.port))
    plain.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=plain)
    lines = ("GET / HTTP/1.1", f"Host: localhost:{service.port}", "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    await reader.readuntil(b"\r\n\r\n")
    reader._transport.pause_reading()
    return reader, writer


def frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame of less than 64 KiB."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + payload


@on_loop
async def test_pings_are_answered_at_once_while_a_hundred_requests_wait():
    async with serving() as service, talking(service) as client:
        await client.ask("0.wav", "sleep 1.5")
        for i in range(1, 100):
            await client.ask(f"{i}.wav")
        start = time.monotonic()
        await asyncio.wait_for(await client.socket.ping(), 5)
        await client.say("ping")
        assert await client.hear() == {"type": "pong"} and time.monotonic() - start < 1
        await client.ask("late.wav", request_id="late")
        refused = await client.hear()
        assert time.monotonic() - start < 1
        assert refused["request_id"] == "late" and "Too many requests" in refused["error"]
        got = await client.hear_all(100)
        assert [m.get("transcript") for m in got] == [f"{i}.wav" for i in range(16)] + [None] * 84
        assert all("Too many requests" in m["error"] for m in got[16:])


FLOODS = {
    "nonsense": frame(1, b'{"request_id":"%s"}' % (b"x" * 256)),
    "pings": frame(9, b"x" * 125),
    "requests": frame(1, b'{"type":"transcribe","audio_path":"a"}'),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
@on_loop
async def test_who_sends_without_end_and_reads_nothing_is_dropped_and_takes_little_room(flood, caplog):
    async with serving(send_timeout=0.5, max_unanswered=200) as service, talking(service) as other:
        _, writer = await raw_socket(service)
        client = next(c for c in service.clients if c.websocket.remote_address == writer.get_extra_info("sockname"))
        most, end = 0, time.monotonic() + 30
        while client in service.clients and time.monotonic() < end:
            writer.write(flood * 500)
            with contextlib.suppress(asyncio.TimeoutError, ConnectionError):
                await asyncio.wait_for(writer.drain(), 0.05)
            queued = len(client.slots) + len(client.outbox)
            most = max(most, client.websocket.transport.get_write_buffer_size(), 200 * queued)
        assert client not in service.clients and most < 2e6
        await other.say("ping")
        assert await other.hear() == {"type": "pong"}
        writer.transport.abort()


@on_loop
async def test_too_many_unanswered_messages_end_a_socket_when_all_are_answered():
    async with serving(max_unanswered=50) as service, talking(service) as client:
        await client.ask("a.wav", "hang")
        for _ in range(49):
            await client.socket.send("x")
        await client.say("ping")  # needs no turn
        assert await client.hear() == {"type": "pong"}
        await client.socket.send("one too many")
        got = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                got.append(await client.hear())
        assert len(got) == 51 and "Too many messages" in got[0]["error"]
        assert "Not JSON" in got[49]["error"] and "50 wait" in got[50]["error"]
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "Too many messages at once")


@on_loop
async def test_the_connection_that_is_needed_least_makes_room():
    async with contextlib.AsyncExitStack() as open_ones:
        service = await open_ones.enter_async_context(serving(max_connections=5))
        clients = [await open_ones.enter_async_context(talking(service)) for _ in range(5)]
        pending, session, spoke, silent, other = clients
        await pending.ask("mine.wav", "sleep 1.5")
        await session.say("session.update", context="Biology")
        await session.hear()
        for client in (spoke, pending):
            await client.say("ping")
            await client.hear()
        for leaver in (silent, other, spoke, session):  # those that never spoke first, the older one before
            await asyncio.sleep(0.02)
            newcomer = await open_ones.enter_async_context(talking(service))
            with pytest.raises(ConnectionClosed) as closed:
                await leaver.hear(5)
            assert closed.value.rcvd.code == 1013 and "--max-connections" in closed.value.rcvd.reason
            await newcomer.ask("new.wav", "hang")
        with pytest.raises(InvalidStatus) as refused:
            async with talking(service):
                pass
        response = refused.value.response
        assert response.status_code == 503 and b"all 5 have requests pending" in response.body
        assert b"--max-connections" in response.body
        assert (await pending.hear())["transcript"] == "mine.wav" and len(service.clients) == 5
        async with talking(service) as late:  # in the place of the one that was answered
            await late.say("ping")
            assert await late.hear() == {"type": "pong"}


@on_loop
async def test_connections_without_a_handshake_keep_nobody_out():
    async with serving(max_connections=20) as service:
        silent = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(100)]
        async with talking(service) as client:
            await client.say("ping")
            assert await client.hear() == {"type": "pong"}
        assert len(service.lobby.sockets) <= 20
        assert [await reader.read() for reader, _ in silent[:75]] == [b""] * 75  # the oldest went
        for _, writer in silent:
            writer.close()


@pytest.mark.skipif(os.name == "nt", reason="file descriptors are limited on POSIX")
def test_many_connections_do_not_use_up_the_files_of_a_process():
    with running("--profile", "mini", limit_files=100) as (process, port):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]

        async def talk():
            async with contextlib.AsyncExitStack() as clients:
                for _ in range(40):
                    ws = await clients.enter_async_context(connect(f"ws://127.0.0.1:{port}"))
                    await ws.send('{"type": "ping"}')
                    assert json.loads(await asyncio.wait_for(ws.recv(), 10)) == {"type": "pong"}

        asyncio.run(talk())
        assert any("at most 18 connections instead of 256" in line for line in process.errors)
        for s in silent:
            s.close()


@on_loop
async def test_large_messages_and_many_fragments():
    async with serving() as service:
        async with talking(service) as client:
            await client.ask("a.wav", "sleep 0.2")
            await client.socket.send(json.dumps({"type": "ping", "pad": "x" * 300_000}))
            assert (await client.hear())["transcript"] == "a.wav"  # the error waits its turn
            assert "too large" in (await client.hear())["error"]
            await client.socket.send(b"\0" * 1000)
            assert "Binary" in (await client.hear())["error"]
            await client.socket.send(['{"type"', ': "ping"}'])
            assert await client.hear() == {"type": "pong"}
        async with talking(service) as client:  # a message of empty frames without end
            await client.ask("a.wav", "hang")
            with contextlib.suppress(ConnectionClosed):
                await client.socket.send([""] * 1000)
            got = []
            with pytest.raises(ConnectionClosed):
                while True:
                    got.append(await client.hear())
            # the pending question, then the message
            assert ["too many frames" in m["error"] for m in got] == [True, True]
        async with talking(service) as client:
            with pytest.raises(ConnectionClosed):
                await client.socket.send("x" * 2_000_000)
                await client.hear()


@on_loop
async def test_a_client_that_does_not_read_is_dropped_and_costs_nobody(caplog):
    async with serving(send_timeout=0.5) as service, talking(service) as client:
        _, writer = await raw_socket(service)
        body = json.dumps({"type": "transcribe", "audio_path": "a.wav", "context": "huge 4000000"}).encode()
        for _ in range(6):
            writer.write(frame(1, body))
        await writer.drain()
        for _ in range(200):
            await asyncio.sleep(0.05)
            if len(service.clients) == 1:
                break
        dropped = [r.getMessage() for r in caplog.records if "dropped" in r.getMessage()]
        assert len(service.clients) == 1 and dropped == ["client dropped: it took no message for 0.5 s"]
        await client.ask("b.wav")
        assert (await client.hear())["transcript"] == "b.wav"
        writer.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Host": "evil.example"}, 403), ({}, 101)],
)
@on_loop
async def test_web_pages_and_other_names_are_refused(headers, status):
    async with serving() as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        lines = {
            "Host": f"localhost:{service.port}", "Upgrade": "websocket", "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Extensions": "permessage-deflate", **headers}
        writer.write(("GET / HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert answer.startswith(f"HTTP/1.1 {status} ") and "deflate" not in answer
        writer.close()


@on_loop
async def test_a_token_is_asked_for():
    async with serving(token="s3cret") as service:
        with pytest.raises(InvalidStatus):
            async with talking(service):
                pass
        async with talking(service, additional_headers={"Authorization": "Bearer s3cret"}) as client:
            await client.say("ping")
            assert await client.hear() == {"type": "pong"}


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
MESSAGES = st.recursive(
    PLAIN, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=8), x, max_size=4))
FIELDS = {
    "type": st.sampled_from(["ping", "load_models", "transcribe", "x"]) | MESSAGES,
    "audio_path": st.text(max_size=20) | MESSAGES,
    "context": st.text(max_size=20) | MESSAGES,
    "timeout": st.floats() | MESSAGES,
    "request_id": st.text(max_size=9) | MESSAGES,
}
FRAMES = st.text(max_size=60) | st.binary(max_size=60) | st.fixed_dictionaries({}, optional=FIELDS).map(json.dumps)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(FRAMES, max_size=12))
def test_whatever_is_sent_the_socket_lives(frames):
    async def scenario():
        async with serving(max_pending=100) as service, talking(service) as client:
            for frame in frames:
                await client.socket.send(frame)
            await client.say("ping", request_id="last")
            while (await client.hear()).get("request_id") != "last":
                pass

    asyncio.run(asyncio.wait_for(scenario(), 30))


@on_loop
async def test_nothing_is_left_of_clients_that_went():
    async with serving() as service:
        for _ in range(30):
            async with talking(service) as client:
                await client.ask("a.wav", "huge 100000")
                await client.say("ping")
                client.socket.transport.abort()
        for _ in range(100):
            await asyncio.sleep(0.05)
            left = [t for t in asyncio.all_tasks() if "Outbox.write" in repr(t)]
            if not left and not service.clients:
                break
        assert not left and not service.clients and not service.dispatcher.loaders


@on_loop
async def test_requests_of_clients_that_went_do_not_count_as_waiting():
    async with serving(max_jobs=8) as service, talking(service) as client:
        await client.ask("long.wav", "sleep 1.5")
        for _ in range(3):
            async with talking(service) as leaver:
                for _ in range(4):
                    await leaver.ask()
                await leaver.say("ping")
                await leaver.hear()
        await client.ask("mine.wav")
        assert [m["transcript"] for m in await client.hear_all(2)] == ["long.wav", "mine.wav"]


@on_loop
async def test_a_burst_of_events_reaches_a_client_that_reads():
    async with serving(max_jobs=4) as service, talking(service) as client:
        await client.ask("a.wav", "burst 2000", stream=True)
        got = [await client.hear()]
        while got[-1]["type"] != "result":
            got.append(await client.hear())
        assert sum(m["type"] == "response.output_text.delta" for m in got) == 2000 + 2


@on_loop
async def test_what_the_worker_logs_is_passed_on_and_never_stops_it(caplog):
    async with serving() as service, talking(service) as client:
        await client.ask("a.wav", "noisy 3000000")
        assert (await client.hear())["transcript"] == "a.wav"
    assert any(r.name == "worker" and "noise" in r.getMessage() for r in caplog.records)


# Closing


@on_loop
async def test_shutting_down_answers_what_is_pending_first():
    async with serving() as service, talking(service) as client:
        await client.ask(context="hang")
        await client.ask("waiting.wav")
        await client.say("ping")
        assert await client.hear() == {"type": "pong"}
        closing = asyncio.create_task(service.close())
        await client.ask("too-late.wav")
        await client.say("load_models", request_id="late")
        assert ["shutting down" in m["error"] for m in await client.hear_all(4)] == [True] * 4
        with pytest.raises(ConnectionClosed) as closed:
            await client.hear()
        assert closed.value.rcvd.code == 1001
        await closing
    gc.collect()


# The process


def run_python(*args: str) -> subprocess.CompletedProcess:
    """Python with these arguments, to its end."""
    command = [sys.executable, *args]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)


def port_is_free(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("how", ["stdin closed", "SIGTERM", "SIGINT"])
def test_the_process_ends_with_its_parent_or_when_told(how):
    if how != "stdin closed" and os.name == "nt":
        pytest.skip("POSIX signals")
    with running("--profile", "mini") as (process, port):
        process.stdin.close() if how == "stdin closed" else process.send_signal(getattr(signal, how))
        assert process.wait(5) == 0 and port_is_free(port)


def test_a_closed_standard_output_and_an_unread_standard_error_do_no_harm():
    command = [sys.executable, "-m", "hubert_llama.server", "0", "--profile", "mini", "--log-level", "DEBUG"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    try:
        port = int(process.stdout.readline().split("127.0.0.1:")[1].split()[0])
        process.stdout.close()

        async def talk():
            async with connect(f"ws://localhost:{port}") as ws:
                for _ in range(2000):  # each a log record at DEBUG; nobody reads them
                    await ws.send('{"type": "ping"}')
                    assert json.loads(await asyncio.wait_for(ws.recv(), 5)) == {"type": "pong"}

        asyncio.run(talk())
        process.stdin.close()
        assert process.wait(6) == 0
    finally:
        process.kill()


def test_a_line_of_the_log_is_written_once_and_names_its_level_once():
    with running("--profile", "mini", env={"PYTHONUNBUFFERED": "1"}) as (process, port):

        async def load():
            async with connect(f"ws://localhost:{port}") as ws:
                await ws.send('{"type": "load_models", "stream": false}')
                assert json.loads(await asyncio.wait_for(ws.recv(), 100))["success"]

        asyncio.run(load())
        end = time.monotonic() + 10
        while not any("models loaded" in line for line in process.errors) and time.monotonic() < end:
            time.sleep(0.05)
    [line] = [line for line in process.errors if "models loaded" in line]
    assert line.count("INFO") == 1 and line.count("worker") == 1
    assert "profile mini" in line and "dtype" in line and "HF_TOKEN" not in line


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="a socket that keeps writes apart is POSIX")
def test_a_complaint_is_one_write_also_where_nothing_is_buffered():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(20)
    with socket.create_server(("127.0.0.1", 0)) as taken, ours, theirs:
        command = [sys.executable, "-m", "hubert_llama.server", str(taken.getsockname()[1])]
        env = os.environ | {"PYTHONUNBUFFERED": "1"}
        assert subprocess.run(command, stdin=subprocess.DEVNULL, stderr=theirs, env=env, timeout=20).returncode == 1
        written = ours.recv(65536)
    assert b"is in use" in written and written.endswith(b"\n")


def test_standard_input_that_is_no_pipe_says_nothing_about_a_parent():
    with running("--profile", "mini", stdin=subprocess.DEVNULL) as (process, port):
        time.sleep(1.5)
        assert process.poll() is None and not port_is_free(port)


def test_a_port_in_use_is_a_sentence_and_exit_code_1():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_python("-m", "hubert_llama.server", str(port))
    assert done.returncode == 1 and f"port {port} is in use" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["99999"], "0 to 65535"), (["eight"], "'eight' is not a port"),
        (["--timeout", "0"], "at most 3600"), (["--timeout", "nan"], "at most 3600"),
        (["--host", "0.0.0.0"], "needs a token"), (["--token="], "--token is empty"),
        (["--dtype", "int3"], "bfloat16"), (["--device", "foo"], "use auto, cpu, mps, cuda or cuda:N"),
        (["--profile", "nope"], "choose auto, mini, smol, small, llama3-8b"),
        (["--hubert", "./nope"], "'./nope' is no folder"),
        (["--audio-root", "/nope"], "'/nope' is no folder"), (["--log-level", "loud"], "DEBUG"),
        (["--max-duration", "-5"], "more than 0"), (["--max-duration", "inf"], "more than 0"),
        (["--max-connections", "0"], "a whole number, 1 or more"),
        (["--allow-origin", "my.page"], "https://my.page"), (["--allow-host", "a:80"], "without scheme or port"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_options_exit_with_2_and_say_what_is_right(args, words, capsys, monkeypatch):
    monkeypatch.delenv("HUBERT_LLAMA_TOKEN", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_a_wrong_option_ends_the_process_before_anything_big_is_imported():
    code = ("import sys, hubert_llama.server as s\n"
            "try: s.main(['--profile', 'nope'])\n"
            "finally: print('torch' in sys.modules or 'numpy' in sys.modules)")
    done = run_python("-c", code)
    assert done.returncode == 2 and done.stdout.strip() == "False" and "Traceback" not in done.stderr


def test_the_socket_process_imports_no_model_code():
    heavy = {"numpy", "torch", "transformers", "librosa", "soundfile", "scipy", "huggingface_hub"}
    code = f"import sys, hubert_llama.server; print(sorted({{m.split('.')[0] for m in sys.modules}} & {heavy}))"
    assert run_python("-c", code).stdout.strip() == "[]"


def test_the_socket_process_reads_no_more_of_the_package_than_listening_needs():
    code = "import sys, hubert_llama.server as s; print(*(m for m in sys.modules if m.startswith('hubert_llama.')))"
    rooms = {m.removeprefix("hubert_llama.") for m in run_python("-c", code).stdout.split()}
    others = {m for m in rooms if m.split(".")[0] != "serve"}
    assert others == {"server", "errors", "models", "models.names", "models.profiles"}  # not the hub, not the events
    assert "serve.worker" not in rooms


def test_no_orphan_stays_when_the_server_is_killed():
    with running("--profile", "mini") as (process, _):
        server, workers = psutil.Process(process.pid), []
        while not workers:
            workers = server.children(recursive=True)
        process.kill()
        process.wait()
        assert psutil.wait_procs(workers, timeout=20)[1] == []


def test_the_socket_process_stays_small():
    question = {"type": "transcribe", "audio_path": "missing.wav", "context": "x" * 100_000, "timeout": 100}
    with running("--profile", "mini") as (process, port):

        async def talk():
            async with connect(f"ws://localhost:{port}") as ws:
                for i in range(200):
                    await ws.send(json.dumps({**question, "request_id": i}))
                for _ in range(200):
                    await asyncio.wait_for(ws.recv(), 100)

        asyncio.run(talk())
        assert psutil.Process(process.pid).memory_info().rss < 60e6


@on_loop
async def test_a_flood_is_answered_to_the_last_and_takes_little_room():
    async with serving() as service, talking(service) as client:
        await client.ask("a.wav", "sleep 0.3")

        async def flood():
            for i in range(6000):  # at first behind a question, then at once
                await (client.ask(f"{i}.wav") if i % 3 else client.socket.send("x"))
                if i == 1500:
                    answered = asyncio.get_running_loop().time() + 0.5
                    while asyncio.get_running_loop().time() < answered:
                        await asyncio.sleep(0.01)

        flooding = asyncio.create_task(flood())
        most, got = 0, []
        for _ in range(6001):
            got.append(await client.hear())
            most = max(most, *(len(c.slots) + len(c.outbox) for c in service.clients))
        await flooding
        assert got[0]["transcript"] == "a.wav" and most < 2048 and {m["type"] for m in got} == {"result", "error"}


@on_loop
async def test_a_short_question_does_not_wait_for_a_long_recording():
    async with serving() as service, talking(service) as lecture, talking(service) as other, talking(service) as third:
        queue = service.dispatcher.queue
        await lecture.ask("lecture.wav", "long 12")
        while not (queue.running and queue.running[0].long):
            await asyncio.sleep(0.01)
        await other.ask("short.wav", "sleep 0.3")
        await lecture.ask("second.wav")  # of the client whose turn it is: the third goes first, though it asks later
        await third.ask("short.wav")
        for client in (other, third):
            assert (await client.hear())["transcript"] == "short.wav"
            running = [job.request.audio_path for job in queue.running]
            assert "lecture.wav" in running, "the lecture was over first"
            assert "second.wav" in [*running, *(job.request.audio_path for job in queue.waiting)]
        assert [(await lecture.hear())["transcript"] for _ in range(2)] == ["lecture.wav", "second.wav"]


@on_loop
async def test_clients_take_turns():
    async with serving() as service, talking(service) as eager, talking(service) as modest:
        order = []
        for i in range(4):
            await eager.ask(f"eager {i}.wav", "sleep 0.2")
        while not service.dispatcher.queue.running:
            await asyncio.sleep(0.01)
        for i in range(2):
            await modest.ask(f"modest {i}.wav", "sleep 0.2")

        async def hear(client, n):
            for _ in range(n):
                order.append((await client.hear())["transcript"])

        await asyncio.gather(hear(eager, 4), hear(modest, 2))
        assert order == ["eager 0.wav", "modest 0.wav", "eager 1.wav", "modest 1.wav", "eager 2.wav", "eager 3.wav"]


@on_loop
async def test_a_recording_given_up_while_another_has_its_turn_costs_nobody_anything():
    async with serving(grace=0.3) as service, talking(service) as lecture, talking(service) as other:
        await lecture.ask("lecture.wav", "long 12")
        while not (service.dispatcher.queue.running and service.dispatcher.queue.running[0].long):
            await asyncio.sleep(0.01)
        await other.ask("short.wav", "sleep 1.5")  # longer than the time to give up in
        while len(service.dispatcher.queue.running) < 2:
            await asyncio.sleep(0.01)
        service.dispatcher.deadlines.cancel(service.dispatcher.queue.running[0], "too late")
        assert (await lecture.hear())["error"] == "too late"
        assert (await other.hear())["transcript"] == "short.wav"


@on_loop
async def test_a_session_is_served_one_question_after_the_other():
    async with serving() as service, talking(service) as client:
        await client.say("session.update", remember=4)
        assert (await client.hear())["type"] == "session.created"
        await client.ask("lecture.wav", "long 5")
        await client.ask("a.wav", "tell")
        assert (await client.hear())["transcript"] == "lecture.wav"
        assert (await client.hear())["told"]["history"] == [["lecture.wav", "Well, lecture.wav"]]


@on_loop
async def test_a_session_forgets_what_was_not_understood_or_not_answered():
    async with serving() as service, talking(service) as client:
        await client.say("session.update", remember=4)
        assert (await client.hear())["type"] == "session.created"
        for name, context in (("a.wav", ""), ("b.wav", "mumble"), ("c.wav", "babble"), ("d.wav", "tell")):
            await client.ask(name, context)
        heard = [await client.hear() for _ in range(3)]
        assert [(m.get("unclear"), m.get("unanswered")) for m in heard] == [(None, None), (True, None), (None, True)]
        assert (await client.hear())["told"]["history"] == [["a.wav", "Well, a.wav"]]


@on_loop
async def test_both_fail_when_the_worker_dies_beside_a_long_recording():
    async with serving() as service, talking(service) as lecture, talking(service) as other:
        await lecture.ask("lecture.wav", "long 20")
        while not (service.dispatcher.queue.running and service.dispatcher.queue.running[0].long):
            await asyncio.sleep(0.01)
        await other.ask("a.wav", "crash")
        for client in (lecture, other):
            message = await client.hear()
            assert message["type"] == "error" and "restarted" in message["error"]
        await other.ask("again.wav")
        assert (await other.hear())["transcript"] == "again.wav"
