"""Recordings as people make, join and cut them: each is heard to its end, or told to be incomplete."""

import contextlib
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile as sf
import soxr
from conftest import CLIPS
from hypothesis import given, settings
from hypothesis import strategies as st

from hubert_llama.audio import (
    SAMPLING_RATE,
    AudioConfig,
    AudioEmptyError,
    AudioError,
    AudioFormatError,
    AudioNotFoundError,
    AudioTooLongError,
    AudioTruncatedError,
    load_audio,
)
from hubert_llama.sound import ffmpeg
from hubert_llama.sound.containers import MAX_STREAMS, _mpeg_frame, find_streams
from hubert_llama.sound.faults import shown

VOICE, RATE = sf.read(CLIPS / "gravity.ogg")  # 16 kHz
SECONDS = len(VOICE) / RATE
ID3V2 = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
ID3V1 = b"TAG".ljust(128, b"\0")
APE_HEADER, APE_FOOTER = (
    b"APETAGEX" + struct.pack("<IIII", 2000, 52, 1, flags) + bytes(8) for flags in (0xA000_0000, 0x8000_0000)
)
APE = APE_HEADER + bytes(20) + APE_FOOTER

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def encoded(
    format: str, subtype: str | None = None, rate: int = RATE, channels: int = 1, sound: np.ndarray = VOICE, **options
) -> bytes:
    file = io.BytesIO()
    sound = sound if rate == RATE else soxr.resample(sound, RATE, rate)
    sf.write(file, np.stack([sound] * channels, 1), rate, format=format, subtype=subtype, **options)
    return file.getvalue()


def bare(mp3: bytes) -> bytes:
    """An MP3 without its first frame, which counts the others."""
    assert re.search(b"Xing|Info", mp3[:64])
    return mp3[_mpeg_frame(mp3).length :]


def seconds(data: bytes, config: AudioConfig = AudioConfig()) -> float:
    return len(load_audio(io.BytesIO(data), config)) / SAMPLING_RATE


def mp3_in_wav(mp3: bytes, rate: int) -> bytes:
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, rate, 8000, 1, 0, 12, 1, 2, 576, 1, 1393)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(mp3)) + mp3
    body += bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


# MP3 without a count of its frames

MODES = [{"bitrate_mode": mode, "compression_level": 0.5} for mode in ("CONSTANT", "VARIABLE", "AVERAGE")]


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("options", MODES, ids=lambda o: o["bitrate_mode"].lower())
def test_an_mp3_without_a_count_is_heard_whole(options, rate):
    """With at most three frames of the encoder's own padding, of which only its first frame could tell."""
    mp3 = encoded("MP3", rate=rate, **options)
    padding = 3 * 1152 / rate if rate >= 32000 else 3 * 576 / rate
    assert seconds(mp3) == pytest.approx(SECONDS, abs=0.01)
    mp3 = bare(mp3)
    for tagged in (mp3, ID3V2 + mp3, mp3 + ID3V1, ID3V2 + mp3 + APE + ID3V1, mp3_in_wav(mp3, rate)):
        assert SECONDS - 0.01 <= seconds(tagged) <= SECONDS + padding


def test_a_count_of_another_kind_or_none_is_not_believed_blindly():
    """VBRI, which libsndfile does not know; 0, as an encoder leaves it that cannot go back; one that is too small."""
    counted = encoded("MP3", rate=44100, channels=2)
    head, frames = counted[: _mpeg_frame(counted).length], bare(counted)
    n, at = struct.unpack(">I", head[44:48])[0], head.index(b"Info") if b"Info" in head else head.index(b"Xing")
    vbri = (head[:4] + bytes(32) + b"VBRI" + bytes(6) + struct.pack(">II", len(frames), n)).ljust(len(head), b"\0")
    others = [head[: at + 8] + struct.pack(">I", count) + head[at + 12 :] for count in (0, n // 2)]
    for first in (vbri, *others):
        assert SECONDS <= seconds(first + frames) <= SECONDS + 0.08
    with pytest.raises(AudioTruncatedError, match=r"holds 0\.\d\d s of the 1\.96 s"):
        seconds(vbri + frames[: len(frames) // 2])


def test_a_guess_that_is_too_small_does_not_cut_an_mp3():
    """libsndfile takes the first frame's size, here a loud one's, for all others' and stops at a third."""
    sound = np.concatenate([0.5 * np.random.default_rng(0).standard_normal(2 * RATE), np.zeros(6 * RATE)])
    mp3 = bare(encoded("MP3", sound=sound, bitrate_mode="VARIABLE", compression_level=0.1))
    with sf.SoundFile(io.BytesIO(mp3)) as guessing:
        assert guessing.frames < 3 * RATE
    assert seconds(mp3) == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_mp3_is_told(share):
    mp3 = encoded("MP3", rate=48000, bitrate_mode="CONSTANT")
    with pytest.raises(AudioTruncatedError, match=r"holds \d\.\d\d s of the (1\.9|2\.0)\d s"):
        seconds(mp3[: int(share * len(mp3))])
    with pytest.raises(AudioTruncatedError, match="ends after"):
        seconds(bare(mp3)[: int(share * len(mp3))])


# a few missing bytes

@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64", "AIFF", "AU", "W64"])
def test_a_header_s_worth_of_missing_bytes_does_not_matter(format):
    whole = encoded(format)
    for missing in (1, 2, 8, 27, 44):
        assert seconds(whole[:-missing]) == pytest.approx(SECONDS, abs=0.003)
    with pytest.raises(AudioTruncatedError, match="cut short"):
        seconds(whole[:-200])


# cut

@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("format", ["WAV", "RIFX", "RF64", "AIFF", "AU", "W64", "SVX", "NIST"])
def test_a_cut_recording_tells_what_it_holds(format, share):
    whole = encoded(format, "PCM_16") if format != "RIFX" else encoded("WAV", endian="BIG")
    assert format != "RIFX" or whole[:4] == b"RIFX"
    assert seconds(whole) == pytest.approx(SECONDS, abs=0.001)
    with pytest.raises(AudioTruncatedError) as e:
        seconds(whole[: int(share * len(whole))])
    held, declared = map(float, re.search(r"holds ([\d.]+) s of the ([\d.]+) s", str(e.value)).groups())
    assert held == pytest.approx(share * SECONDS, abs=0.04) and declared == pytest.approx(SECONDS, abs=0.02)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("format, subtype", [("OGG", "VORBIS"), ("OGG", "OPUS"), ("CAF", "PCM_16"), ("CAF", "ALAC_16")])
def test_a_cut_recording_is_told(format, subtype, share):
    whole = encoded(format, subtype, sound=np.tile(VOICE, 3))
    with pytest.raises(AudioTruncatedError, match="cut short"):
        seconds(whole[: int(share * len(whole))])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_damaged_ogg_is_told(subtype):
    ogg = encoded("OGG", subtype, sound=np.tile(VOICE, 3))
    pages = [found.start() for found in re.finditer(b"OggS", ogg)]
    assert len(pages) > 5
    with pytest.raises(AudioTruncatedError, match="ends after 1.*ffmpeg"):  # on a page's border, as while it is written
        seconds(ogg[: pages[4]])
    changed = bytearray(ogg)
    changed[pages[3] + 200] ^= 1
    start, rest = ogg[: pages[3]], ogg[pages[3] :]
    for damaged in (bytes(changed), start + ogg[pages[4] :], start + bytes(500) + rest[500:]):
        with pytest.raises(AudioFormatError, match="Damaged recording"):
            seconds(damaged)


def test_lengths_that_a_pipe_left_open_are_believed():
    wav, aiff, au = encoded("WAV"), encoded("AIFF"), encoded("AU")
    at = wav.index(b"data") + 4
    for size in (0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000):
        assert seconds(wav[:at] + struct.pack("<I", size) + wav[at + 4 :]) == pytest.approx(SECONDS, abs=0.001)
    assert seconds(au[:8] + b"\xff" * 4 + au[12:]) == pytest.approx(SECONDS, abs=0.001)
    at = aiff.index(b"SSND") + 4
    for size in (0, 0x7F00_0008, 0xFFFF_FFFF):  # ffmpeg's, sox's
        assert seconds(aiff[:at] + struct.pack(">I", size) + aiff[at + 4 :]) == pytest.approx(SECONDS, abs=0.001)


def test_an_empty_wav_that_is_finished_is_empty():
    wav = encoded("WAV", sound=VOICE[:0])
    at = wav.index(b"data") + 8
    finished = wav[:at] + b"LIST\x10\0\0\0INFOISFT\4\0\0\0Lavf"
    with pytest.raises(AudioEmptyError, match="Empty recording"):
        seconds(finished)
    with pytest.raises(AudioTruncatedError, match="not finished"):
        seconds(wav[:at] + b"\1\0" * 8000)


# joined end to end

CHAINS = {
    "opus": [encoded("OGG", "OPUS"), encoded("OGG", "OPUS", rate=48000, channels=2), encoded("OGG", "OPUS")],
    "vorbis": [encoded("OGG", "VORBIS"), encoded("OGG", "VORBIS", rate=44100), encoded("OGG", "VORBIS", channels=2)],
    "flac": [encoded("FLAC"), encoded("FLAC", rate=44100, channels=2), ID3V2 + encoded("FLAC")],
    "mp3": [
        ID3V2 + encoded("MP3") + ID3V1,
        ID3V2 + encoded("MP3", rate=44100, channels=2) + APE + ID3V1,
        encoded("MP3", rate=8000),
    ],
    "mp3 with junk between": [encoded("MP3") + bytes(3000), encoded("MP3") + b"junk" * 50, encoded("MP3")],
    "wav": [encoded("WAV"), encoded("WAV", rate=8000, channels=2), encoded("WAV")],
    "aiff": [encoded("AIFF"), encoded("AIFF", rate=44100), encoded("AIFF")],
    "w64": [encoded("W64"), encoded("W64", rate=8000), encoded("W64")],
    "mixed": [encoded("OGG", "OPUS") + encoded("MP3"), encoded("FLAC"), encoded("WAV")],
}


@pytest.mark.parametrize("name", CHAINS)
def test_all_of_a_chain_is_heard(name):
    first, second, third = CHAINS[name]
    n = 3 + (name == "mixed")
    assert seconds(second + second) == pytest.approx(2 * SECONDS, abs=0.03)
    assert seconds(first + second + third) == pytest.approx(n * SECONDS, abs=0.05)
    joined = load_audio(io.BytesIO(first + second + third))
    parts = [load_audio(io.BytesIO(part)) for part in (first, second, third)]
    assert len(joined) == sum(map(len, parts)) and np.abs(joined - np.concatenate(parts)).max() < 0.01


def test_mp3s_without_a_count_are_joined_too():
    one, other = bare(encoded("MP3")), bare(encoded("MP3", rate=8000, channels=2))
    for chain, n in ((one + one, 2), (one + other + one, 3), (encoded("MP3") + one, 2), (one + encoded("MP3"), 2)):
        assert n * SECONDS <= seconds(chain) <= n * (SECONDS + 0.14)


def test_the_last_of_a_chain_is_checked_like_the_first():
    ogg = encoded("OGG", "OPUS")
    with pytest.raises(AudioTruncatedError):
        seconds(ogg + ogg[: len(ogg) // 2])
    with pytest.raises(AudioTooLongError, match="3 s are allowed"):
        seconds(ogg + ogg, AudioConfig(max_duration=3))
    with pytest.raises(AudioTooLongError, match="200,000 bytes"):
        seconds(ogg + ogg, AudioConfig(max_decoded_bytes=200_000))


def test_thousands_of_tiny_streams_are_refused_soon():
    before = time.process_time()
    for kind in (("FLAC",), ("OGG", "OPUS"), ("MP3",)):
        tiny = encoded(*kind, sound=VOICE[:200])
        with pytest.raises(AudioTooLongError, match="1,000 streams"):
            seconds(tiny * (MAX_STREAMS + 1))
    chunks = b"RIFF\xff\xff\xff\x7fWAVE" + b"junk\0\0\0\0" * 2_500_000
    for pieces in (chunks, encoded("MP3") + b"\xff\xfb\x90\0" * 3_000_000):
        with pytest.raises(AudioTooLongError, match="2,000,000 frames"):
            seconds(pieces)
    assert time.process_time() - before < 30  # about 4


# any sampling rate

@pytest.mark.parametrize("rate", [8000, 12345, 18900, 22255, 37800, 50000, 64000, 128000, 192000])
def test_any_sampling_rate_is_heard(rate):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
    file = io.BytesIO()
    sf.write(file, tone, rate, format="WAV")
    waveform = load_audio(io.BytesIO(file.getvalue()))
    assert len(waveform) / SAMPLING_RATE == pytest.approx(2, abs=0.001)
    assert np.argmax(np.abs(np.fft.rfft(waveform))) / 2 == pytest.approx(440, abs=1)


@pytest.mark.parametrize("rate", [1, 7999, 192_001, 384_000])
def test_rates_beyond_are_refused(rate):
    with pytest.raises(AudioFormatError, match=f"{rate:,} Hz.*8 to 192 kHz"):
        seconds(encoded("WAV")[:24] + struct.pack("<I", rate) + encoded("WAV")[28:])


# paths

@pytest.mark.skipif(os.name != "posix", reason="POSIX paths; the notebook tests Windows' URLs")
def test_paths_as_people_paste_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "100% mine.wav").write_bytes(encoded("WAV"))
    path = str(tmp_path / "100% mine.wav")
    url = path.replace("%", "%25").replace(" ", "%20")
    meant = [f"  {path}\r\n", f'"{path}"', f"' {path} '", f"\u201c{path}\u201d", f"\u202a{path}"]
    meant += ["~/100% mine.wav", " ~/100% mine.wav ", "file://~/100%25%20mine.wav", f"file:{url}", f"file://{path}"]
    meant += [f"file://{url}", f"FILE://localhost{url}", f"file://{url}#t=1", f'"file://{url}"\n']
    assert [len(load_audio(given)) for given in meant] == [len(VOICE)] * len(meant)
    assert [len(load_audio(given, AudioConfig(roots=(str(tmp_path),)))) for given in meant] == [len(VOICE)] * len(meant)
    for literal in (" odd .wav", '"odd".wav', "~odd.wav", "file:odd.wav"):  # a file of that very name wins
        (tmp_path / literal).write_bytes(encoded("WAV", sound=VOICE[:8000]))
        assert len(load_audio(literal)) == 8000
    for address in ("http://localhost/a.wav", "s3://bucket/a.wav", "data:audio/wav;base64,UklGRg==", "blob:null/1-2",
                    "HTTPS://x.org/a.wav", "file://elsewhere/a.wav"):
        with pytest.raises(AudioFormatError, match="Not a local file"):
            load_audio(address)
    for nothing in ("", "  ", '"' * 500_000, " " * 500_000 + "x", '""', "~", "file://", "file:///%00.wav", "~nobody/x"):
        with pytest.raises(AudioError):
            load_audio(nothing)


@pytest.mark.skipif(os.name != "posix", reason="POSIX paths")
def test_no_spelling_leads_out_of_the_roots(tmp_path, monkeypatch):
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.wav").write_bytes(encoded("WAV"))
    monkeypatch.setenv("HOME", str(outside))
    config, told = AudioConfig(roots=(str(inside),)), set()
    for spelling in ("~/{}.wav", "file://~/{}.wav", f' "{outside}/{{}}.wav" ', f"file://{outside}/{{}}.wav",
                     f"file://{inside}/%2e%2e/out/{{}}.wav"):
        for name in ("a", "gone"):
            with pytest.raises(AudioNotFoundError) as e:
                load_audio(given := spelling.format(name), config)
            told.add(str(e.value).replace(shown(given), "PATH"))
    assert len(told) == 1


# ffmpeg

def made_by_ffmpeg(tmp_path: Path, *options: str, rate: int = 48000) -> bytes:
    sf.write(tmp_path / "in.wav", soxr.resample(VOICE, RATE, rate), rate)
    source, target = str(tmp_path / "in.wav"), str(tmp_path / "out")
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", "-i", source, *options, target], check=True)
    return (tmp_path / "out").read_bytes()


FFMPEG = {
    "webm": ["-c:a", "libopus", "-f", "webm"],
    "webm of a browser": ["-c:a", "libopus", "-f", "webm", "-live", "1"],
    "m4a": ["-c:a", "aac", "-f", "ipod"],
    "m4a, index first": ["-c:a", "aac", "-movflags", "faststart", "-f", "mp4"],
    "mp4 in fragments": ["-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4"],
    "3gp": ["-c:a", "aac", "-f", "3gp"],
    "aac": ["-c:a", "aac", "-f", "adts"],
    "wma": ["-c:a", "wmav2", "-f", "asf"],
}


@needs_ffmpeg
@pytest.mark.parametrize("name", FFMPEG)
def test_what_browsers_and_phones_record(name, tmp_path):
    data = made_by_ffmpeg(tmp_path, *FFMPEG[name])
    tells_delay = name.startswith(("webm", "m4a", "3gp"))  # of the encoder
    want = SECONDS if tells_delay else SECONDS + 0.04
    assert len(load_audio(tmp_path / "out")) / SAMPLING_RATE == pytest.approx(want, abs=0.05)
    assert seconds(data) == pytest.approx(want, abs=0.05)
    assert seconds(data + data) == pytest.approx(2 * want, abs=0.1)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(AudioTruncatedError, match="cut short"):
            seconds(data[: int(share * len(data))])
    with pytest.raises(AudioTooLongError, match="1 s are allowed"):
        seconds(data, AudioConfig(max_duration=1))


@needs_ffmpeg
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_ffmpeg_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    data = made_by_ffmpeg(tmp_path, *FFMPEG["webm"])
    handles = len(os.listdir("/proc/self/fd"))
    for recording in (data, data + data, data[:-500], data[:300] + bytes(2000), b"\x1a\x45\xdf\xa3" + bytes(500)):
        with contextlib.suppress(AudioError):
            seconds(recording)
    assert os.listdir(tmp_path / "temporary") == [] and len(os.listdir("/proc/self/fd")) == handles
    assert not psutil.Process().children()


@needs_ffmpeg
def test_ffmpeg_opens_nothing_but_the_recording(tmp_path):
    """Playlists that name another file, under names and beginnings that could lead there."""
    (tmp_path / "secret.wav").write_bytes(encoded("WAV"))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n".encode()
    concat = f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n".encode()
    for content in (playlist, concat, b"\0\0\0\x10ftypM4A \0\0\0\0" + playlist, b"\x1a\x45\xdf\xa3" + concat):
        for name in ("list.m3u8", "list.webm", "list.m4a"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(AudioError):
                load_audio(tmp_path / name)


@pytest.mark.skipif(os.name != "posix", reason="a script as ffmpeg")
def test_an_ffmpeg_that_hangs_is_ended(tmp_path, monkeypatch):
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(ffmpeg, "FFMPEG_SECONDS", 0.5)
    before = time.monotonic()
    with pytest.raises(AudioTooLongError, match="within 0.5 s"):
        seconds(b"#!AMR\n" + b"\x3c".ljust(32, b"\0") * 50)
    assert time.monotonic() - before < 20 and not psutil.Process().children()


def test_without_ffmpeg_the_message_says_what_would_help(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioFormatError, match="Not audio.*not recognised.*Install ffmpeg to have WebM read.*Use WAV"):
        seconds(b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff\xec\x88" + bytes(8))


# anything

SEEDS = [encoded(f)[:9000] for f in ("WAV", "AIFF", "W64", "CAF", "FLAC", "MP3")]
SEEDS += [encoded("OGG", "OPUS"), bare(encoded("MP3"))[:9000]]
CHANGES = st.lists(st.tuples(st.integers(0, 9000), st.binary(min_size=1, max_size=8)), max_size=4)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # libsndfile seeks to odd places
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), CHANGES, st.integers(0, 9000), st.sampled_from([b"", *SEEDS]))
def test_whatever_the_bytes_it_is_sound_or_an_audio_error(data, changes, length, more):
    data = bytearray(data)
    for at, new in changes:
        data[at : at + len(new)] = new
    data = bytes(data[:length]) + more
    assert all(0 <= s.start <= s.stop <= len(data) for s in find_streams(io.BytesIO(data)))
    try:
        assert np.abs(load_audio(io.BytesIO(data), AudioConfig(max_duration=60))).max() <= 1
    except AudioError as e:
        assert len(str(e)) > 40
