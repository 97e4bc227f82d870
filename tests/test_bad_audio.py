"""Recordings and paths that nobody should send, against the real server and worker: a clear error each, no hanging."""

import asyncio
import io
import os
import socket
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from conftest import CLIPS
from servers import Talk, running
from websockets.asyncio.client import connect

from hubert_llama.audio import AudioConfig, AudioTooLongError, load_audio


def wav(
    data: bytes = b"\1\0" * 8000,
    rate: int = 16000,
    channels: int = 1,
    data_size: int | None = None,
    fmt: int = 1,
    bits: int = 16,
    riff_size: int | None = None,
) -> bytes:
    """A WAV whose header says whatever we like."""
    width = max(1, channels * bits // 8)
    head = b"WAVEfmt " + struct.pack(
        "<IHHIIHH", 16, fmt, channels, rate, (rate * width) & 0xFFFFFFFF, width & 0xFFFF, bits
    )
    body = b"data" + struct.pack("<I", len(data) if data_size is None else data_size) + data
    return b"RIFF" + struct.pack("<I", len(head) + len(body) if riff_size is None else riff_size) + head + body


def floats(value: float) -> bytes:
    return np.full(8000, value, np.float32).tobytes()


def encoded(format: str, subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    sf.write(out, 0.1 * np.random.default_rng(0).standard_normal(48000), 48000, format=format, subtype=subtype)
    return out.getvalue()


def flac_of_a_pipe() -> bytes:
    """A FLAC whose header leaves the number of samples, 36 bits from the middle of byte 21 on, open."""
    data = bytearray(encoded("FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


CONTENT = {  # name -> (bytes of the file, words of the error)
    "text.wav": (b"This is text, not sound.\n" * 40, "Not audio"),
    "html.mp3": (b"<!doctype html><html><body>404</body></html>", "Not audio"),
    "json.ogg": (b'{"type": "ping"}', "Not audio"),
    "zero_bytes.wav": (b"", "0 bytes"),
    "one_byte.wav": (b"R", "Not audio"),
    "riff_only.wav": (b"RIFF\0\0\0\0WAVE", "Not audio"),
    "header_only.wav": (wav(b""), "0 samples"),
    "ten_samples.wav": (wav(b"\1\0" * 10), "10 samples"),
    "no_data_chunk.wav": (wav()[:36], "Not audio|0 samples"),
    "cut_short.wav": (wav(data_size=320_000), "cut short"),
    "not_finished.wav": (wav(data_size=0), "not finished"),
    "huge_values.wav": (wav(floats(3.3e38), rate=44_100, fmt=3, bits=32), "out of range|NaN"),
    "forged_10_hours.wav": (wav(data_size=36_000 * 32_000), "cut short"),
    "forged_2_gb.wav": (wav(data_size=0x7FFF_0000), "cut short"),
    "forged_riff_size.wav": (wav(b"", riff_size=0xFFFF_FFFF), "0 samples|Not audio"),
    "zero_channels.wav": (wav(channels=0), "Channel|channel"),
    "1000_channels.wav": (wav(b"\0" * 20_000, channels=1000), "Channel|channel"),
    "9_channels.wav": (wav(b"\0" * 18_000, channels=9), "1 to 8"),
    "1_hz.wav": (wav(rate=1), "1 Hz"),
    "0_hz.wav": (wav(rate=0), "Hz|Not audio"),
    "4_ghz.wav": (wav(rate=4_000_000_000), "Hz|Not audio"),
    "7999_hz.wav": (wav(rate=7_999), "7,999 Hz"),
    "200_khz.wav": (wav(rate=200_000), "200,000 Hz"),
    "nan.wav": (wav(floats(np.nan), fmt=3, bits=32), "NaN"),
    "one_nan.wav": (wav(np.r_[np.zeros(7999), np.nan].astype("<f4").tobytes(), fmt=3, bits=32), "NaN"),
    "infinity.wav": (wav(floats(np.inf), fmt=3, bits=32), "infinite"),
    "0_bits.wav": (wav(bits=0), "Not audio"),
    "unknown_codec.wav": (wav(fmt=0x1234), "Not audio"),
    "cut.flac": (encoded("FLAC")[:2000], "cut short|Not audio"),
    "flac_of_a_pipe.flac": (flac_of_a_pipe(), "Length unknown"),
    "flac_header.flac": (encoded("FLAC")[:60], "Not audio|samples|cut short"),
    "cut.ogg": (encoded("OGG", "VORBIS")[:3000], "Not audio|samples|cut short"),
    "random.wav": (np.random.default_rng(0).bytes(50_000), "Not audio"),
    "random_after_header.mp3": (
        b"ID3\4\0\0\0\0\0\0" + np.random.default_rng(1).bytes(500),
        "Not audio|samples|cut short",
    ),
    "chunks_without_end.wav": (b"RIFF\xff\xff\xff\x7fWAVE" + b"junk\0\0\0\0" * 5000, "Not audio"),
    "elf.wav": (b"\x7fELF" + bytes(1000), "Not audio"),
}


def odd_paths(folder: Path) -> dict[str, str]:
    """Paths that are no recordings -> words of the error."""
    paths = {
        str(folder / "nobody.wav"): "not found",
        str(folder): "folder",
        "/": "folder",
        "": "audio_path",
        "a\0b.wav": "not found",
        "x" * 5000: "not found",
        "\ud800.wav": "not found",
        "~/x.wav": "not found",
        "~nobody/x.wav": "not found",
        "file:///nobody.wav": "not found",
        "file://elsewhere/x.wav": "Not a local file",
        "http://localhost/x.wav": "Not a local file",
        f" {folder}/nobody.wav\n": "not found",
        "  ": "not found",
        "//": "folder|not found",
        "a" * 100_000: "not found",
    }
    if os.name == "posix":
        paths["file:///etc/passwd"] = "Not audio"
        os.mkfifo(folder / "fifo.wav")
        (folder / "loop.wav").symlink_to(folder / "loop.wav")
        (folder / "dangling.wav").symlink_to(folder / "gone.wav")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "socket.wav"))
        listener.close()
        paths |= {
            str(folder / "fifo.wav"): "pipe",
            str(folder / "loop.wav"): "not found",
            str(folder / "dangling.wav"): "not found",
            str(folder / "socket.wav"): "not found|pipe",
            "/dev/zero": "device",
            "/dev/null": "device",
        }
    if sys.platform == "linux":
        paths |= {
            "/proc/self/mem": "0 bytes|not found",
            "/proc/kmsg": "not found|0 bytes",
            "/dev/stdin": "pipe|device|not found",
        }
    return paths


@pytest.fixture(scope="module")
def server():
    with running("--profile", "mini", "--max-duration", "60") as (process, port):
        yield process, port


def ask_all(port: int, paths: list[str]) -> list[dict]:
    """The replies to all paths, asked at once by a few at a time, and to a good one at the end."""

    async def talk() -> list[dict]:
        replies = []
        async with connect(f"ws://localhost:{port}") as socket:
            client = Talk(socket)
            for path in paths:
                await client.ask(path)
                replies.append(await client.hear(60))
        return replies

    return asyncio.run(talk())


def assert_says(reply: dict, words: str, what: str) -> None:
    assert reply["type"] == "error" and any(w in reply["error"] for w in words.split("|")), (what, reply)
    assert len(reply["error"]) < 600 and "Traceback" not in reply["error"]


def test_bad_files(server, tmp_path):
    for name, (data, _) in CONTENT.items():
        (tmp_path / name).write_bytes(data)
    replies = ask_all(server[1], [str(tmp_path / name) for name in CONTENT])
    for (name, (_, words)), reply in zip(CONTENT.items(), replies, strict=True):
        assert_says(reply, words, name)


def test_odd_paths(server, tmp_path):
    paths = odd_paths(tmp_path)
    for (path, words), reply in zip(paths.items(), ask_all(server[1], list(paths)), strict=True):
        assert_says(reply, words, path[:60])


def test_too_long(server, tmp_path):
    sf.write(tmp_path / "long.flac", np.zeros(61 * 16000, np.float32), 16000)
    assert_says(ask_all(server[1], [str(tmp_path / "long.flac")])[0], "60 s are allowed", "long")


def test_every_format_and_silence_afterwards_still_work(server, tmp_path):
    """After all that, the same processes still answer; formats with a sampling rate of their own too."""
    voice, rate = sf.read(CLIPS / "gravity.ogg")
    for name, options in {
        "a.wav": {},
        "b.flac": {},
        "c.mp3": {},
        "d.ogg": {},
        "e.wav": {"subtype": "FLOAT"},
        "f.wav": {"subtype": "ULAW"},
        "g.wav": {"subtype": "PCM_24"},
    }.items():
        sf.write(tmp_path / name, np.stack([voice, voice], 1), rate, **options)
    sf.write(tmp_path / "silence.wav", np.zeros(32000), 16000)
    replies = ask_all(server[1], [str(p) for p in sorted(tmp_path.iterdir())])
    assert all(r["type"] == "result" and r["success"] for r in replies)
    assert [r["no_speech"] for r in replies] == [False] * 7 + [True]
    assert replies[-1]["transcript"] == "" and server[0].poll() is None
    assert not any("Traceback" in line for line in server[0].errors)


def test_roots_hide_what_is_outside(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        sf.write(folder / "a.wav", np.zeros(16000), 16000)
    (outside / "secret.txt").write_text("secret")
    if os.name == "posix":
        (inside / "link.wav").symlink_to(outside / "a.wav")
    with running("--profile", "mini", "--audio-root", str(inside)) as (_, port):
        hidden = [
            str(outside / "a.wav"),
            str(outside / "none.wav"),
            str(outside / "secret.txt"),
            str(outside),
            str(inside / ".." / "out" / "a.wav"),
            str(inside / "link.wav"),
            "/etc/passwd",
            "/dev/zero",
            f"file://{outside}/a.wav",
            f"file://{outside}/none.wav",
            f' "{outside}/a.wav"',
            "~/none.wav",
        ]
        *refused, allowed = ask_all(port, [*hidden, str(inside / "a.wav")])
    assert {r["error"].replace(p, "PATH") for p, r in zip(hidden, refused, strict=True)} == {
        refused[1]["error"].replace(hidden[1], "PATH")
    }
    assert allowed["type"] == "result"


def test_what_is_too_long_says_what_to_do():
    with pytest.raises(AudioTooLongError, match="Cut it"):
        load_audio(io.BytesIO(wav()), AudioConfig(max_duration=0.05))
    with pytest.raises(AudioTooLongError, match="mono"):
        load_audio(io.BytesIO(wav()), AudioConfig(max_decoded_bytes=100))


def test_a_wav_written_to_a_pipe_is_read_to_its_end():
    assert len(load_audio(io.BytesIO(wav(data_size=0xFFFFFFFF)))) == 8000  # its length was not known


def test_samples_of_any_size_end_at_one():
    data = np.full(1600, 3e38, np.float32).tobytes()
    assert load_audio(io.BytesIO(wav(data, fmt=3, bits=32))).max() == 1.0
