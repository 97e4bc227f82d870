"""Sound from files: damaged containers, what ffmpeg decodes, the voice detector's reports, tiling."""

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from hubert_llama.sound.containers import _CLUSTER, _EBML, _SEGMENT, _mpeg_frame, find_streams
from hubert_llama.sound.decode import load_audio
from hubert_llama.sound.faults import AudioConfig, AudioTruncatedError
from hubert_llama.sound.ffmpeg import open_with_ffmpeg
from hubert_llama.sound.segments import split_segments
from hubert_llama.sound.voice import VoiceActivityDetector
from hubert_llama.sound.waveform import SAMPLING_RATE, Segment

FFMPEG = shutil.which("ffmpeg")
T = np.arange(0, 2, 1 / SAMPLING_RATE)
CHIRP = 0.5 * np.sin(2 * np.pi * (200 + 300 * T) * T)


def encoded(format: str, subtype: str | None = None, **options) -> bytes:
    """The bytes of a chirp's file."""
    file = io.BytesIO()
    sf.write(file, CHIRP, SAMPLING_RATE, format=format, subtype=subtype, **options)
    return file.getvalue()


def container_files() -> list[bytes]:
    """The beginnings of a file of each container, some of them made up."""
    names = ("WAV", "RF64", "AIFF", "W64", "CAF", "AU", "NIST", "SVX", "FLAC")
    ogg, mp3 = encoded("OGG", "VORBIS"), encoded("MP3", bitrate_mode="VARIABLE")
    bare = mp3[_mpeg_frame(mp3).length :]  # without the frame that counts
    id3 = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    real = [*(encoded(name) for name in names), ogg, mp3, bare, id3 + mp3]
    return [file[:6000] for file in real] + [
        _EBML + b"\x80" + _SEGMENT + b"\xff" + _CLUSTER + b"\xff" + b"\xa3\x84abcd" * 9,
        b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x08moov",
        b"#!AMR\n" + b"\x3c" * 64,
        b"\xff\xf1\x50\x80\x01\x1f\xfc\0" * 4,
    ]


files = st.sampled_from(container_files())
changes = st.lists(st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=9)), max_size=4)


@settings(max_examples=300, deadline=None)
@given(files, changes, st.integers(0, 6000), files)
def test_no_file_is_too_strange(data, changes, length, more):
    data = bytearray(data)
    for at, new in changes:
        data[at : at + len(new)] = new
    data = bytes(data[:length]) + more
    end = 0
    for stream in find_streams(io.BytesIO(data)):
        assert end <= stream.start <= stream.stop <= len(data)
        assert stream.state in ("whole", "cut", "unfinished", "damaged", "endless")
        end = stream.stop


@settings(max_examples=60, deadline=None)
@given(st.integers(400, 200_000), st.lists(st.integers(0, 200_000), max_size=40), st.floats(0.1, 3))
def test_segments_tile_the_waveform(n, edges, max_seconds):
    edges = sorted({e for e in edges if e < n})
    regions = [Segment(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    segments = split_segments(np.zeros(n, np.float32), regions, max_seconds)
    assert segments[0].start == 0 and segments[-1].end == n
    assert all(a.end == b.start for a, b in zip(segments, segments[1:], strict=False))
    assert all(0 < len(s) <= int(max_seconds * SAMPLING_RATE) for s in segments)


def test_the_voice_detector_tells_how_far_it_is_and_can_be_stopped():
    detect, percents = VoiceActivityDetector(), []
    long_silence = np.zeros(100 * SAMPLING_RATE, np.float32)
    assert detect(long_silence, percents.append) == []
    assert len(percents) == 4 and percents == sorted(percents) and percents[-1] == 100

    def stop(percent: float) -> None:
        raise InterruptedError(percent)

    with pytest.raises(InterruptedError):
        detect(long_silence, stop)


def made_by_ffmpeg(folder: Path, sound: np.ndarray, *options: str) -> bytes:
    """The bytes that ffmpeg makes of a waveform."""
    source, target = folder / "source.wav", folder / "target"
    sf.write(source, sound, SAMPLING_RATE)
    subprocess.run([FFMPEG, "-loglevel", "error", "-y", "-i", source, *options, target], check=True)
    return target.read_bytes()


@pytest.mark.skipif(not FFMPEG, reason="needs ffmpeg")
@pytest.mark.parametrize("codec, container", [("libopus", "webm"), ("aac", "ipod"), ("aac", "adts")])
def test_what_ffmpeg_decodes_comes_from_memory_too(tmp_path, codec, container):
    tone = 0.5 * np.sin(2 * np.pi * 440 * T)
    decoded = load_audio(io.BytesIO(made_by_ffmpeg(tmp_path, tone, "-c:a", codec, "-f", container)))
    assert len(decoded) / SAMPLING_RATE == pytest.approx(2, abs=0.15)  # ADTS cannot tell the encoder's delay


@pytest.mark.skipif(not FFMPEG, reason="needs ffmpeg")
def test_a_webm_that_is_cut_short_is_refused(tmp_path):
    webm = made_by_ffmpeg(tmp_path, 0.5 * np.sin(2 * np.pi * 440 * T), "-c:a", "libopus", "-f", "webm")
    with pytest.raises(AudioTruncatedError, match="cut short"):
        load_audio(io.BytesIO(webm[:-1000]))


@pytest.mark.skipif(not FFMPEG, reason="needs ffmpeg")
def test_ffmpeg_hands_over_blocks_of_the_sound(tmp_path):
    webm = io.BytesIO(made_by_ffmpeg(tmp_path, 0.1 * np.ones(SAMPLING_RATE), "-c:a", "libopus", "-f", "webm"))
    with open_with_ffmpeg(FFMPEG, webm, "WebM", "a second", AudioConfig()) as sound:
        block = sound.read(96_000)
        assert (sound.samplerate, sound.channels, block.dtype) == (48_000, 1, np.float32)
        assert len(block) / sound.samplerate == pytest.approx(1, abs=0.05)
