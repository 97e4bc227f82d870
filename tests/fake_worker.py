"""A worker without models, for tests of the server: speaks the worker's wire and fails on request.

Behaviour comes from the environment (FAKE_START, FAKE_LOAD) and, per job, from the context:
"sleep 1.5", "crash", "hang", "deaf" (hangs and ignores cancel, though it says that it heard of it),
"garbage", "huge 1000", "burst 1000", "noisy 1000",
"long 4" (heard in so many steps, between which another job has its turn), "fail",
"tell" (answers with what the request says beside the recording), "mumble" (was not understood).
"""

import json
import os
import queue
import sys
import threading
import time

out = sys.stdout.buffer
one_at_a_time = threading.Lock()
jobs: queue.Queue = queue.Queue()
cancelled = set()


def send(**event):
    with one_at_a_time:
        out.write(json.dumps(event).encode() + b"\n")
        out.flush()


def read():
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if request["op"] != "cancel":
            jobs.put(request)
            continue
        cancelled.add(request["job"])
        send(event="alive", job=request["job"])
    os._exit(0)


def wait(job, seconds, deaf=False):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if job in cancelled and not deaf:
            send(event="error", job=job, kind="cancelled", error="Cancelled.")
            return False
        time.sleep(0.01)
    return True


def result(job, text, **more):
    send(event="heard", job=job, transcript=text)
    send(event="transcript", job=job, transcript=text, raw_transcript=text.upper())
    send(event="delta", job=job, text="Well, ")
    send(event="delta", job=job, text=text)
    known = {"transcript": text, "response": "Well, " + text, "speech_features_shape": [1, 49, 8], "profile": "fake"}
    send(event="result", job=job, **known, **more)


def transcribe(job, audio_path, context, **more):
    word, _, number = context.partition(" ")
    if "missing" in audio_path:
        send(event="error", job=job, kind="request", error=f"Audio file not found: {audio_path}. Check the path.")
    elif word == "crash":
        os._exit(9)
    elif word == "tell":
        result(job, audio_path, told={"context": context, **more})
    elif word == "mumble":
        result(job, audio_path, unclear=True)
    elif word == "babble":
        result(job, audio_path, unanswered=True)
    elif word in ("hang", "deaf"):
        wait(job, 3600, word == "deaf")
    elif word == "fail":
        send(event="error", job=job, kind="pipeline", error="Out of memory with x. Choose a smaller profile.")
    elif word == "garbage":
        out.write(b"not json\n[1]\n{\"event\": 7}\n\xff\xfe\n")
        result(job, audio_path)
    elif word == "burst":
        for _ in range(int(number)):
            send(event="delta", job=job, text="x")
        result(job, audio_path)
    elif word == "noisy":
        sys.stderr.write(("noise " * 20 + "\n") * (int(number) // 121))
        sys.stderr.flush()
        result(job, audio_path)
    elif word == "huge":
        result(job, "x" * int(number))
    elif word == "long":
        for step in range(1, int(number) + 1):
            time.sleep(0.2)
            send(event="progress", job=job, stage="encoding", fraction=step / int(number), message="")
            if step < int(number) and not jobs.empty():
                answer(jobs.get())
        result(job, audio_path)
    elif word != "sleep" or wait(job, float(number)):
        result(job, audio_path)


def answer(request):
    del request["op"]
    transcribe(**request)


def main():
    if os.environ.get("FAKE_START") == "die":
        sys.exit(3)
    send(event="started", pid=os.getpid())
    send(event="ready")
    threading.Thread(target=read, daemon=True).start()
    loads = 0
    while True:
        request = jobs.get()
        if request["op"] == "transcribe":
            answer(request)
            continue
        loads += 1
        kind, _, number = os.environ.get("FAKE_LOAD", "").partition(" ")
        send(event="progress", stage="loading", fraction=0.5, message="Loading fake")
        time.sleep(float(number or 0))
        if kind == "crash":
            os._exit(9)
        if kind == "fail" or (kind == "fail-once" and loads == 1):
            send(event="loaded", success=False, error="Access refused: x is gated. Set HF_TOKEN.")
        else:
            send(event="loaded", success=True, profile="fake", loads=loads)


if __name__ == "__main__":
    main()
