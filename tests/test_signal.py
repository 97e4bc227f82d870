"""What hides a voice in a recording, through the whole pipeline: the question is heard all the same."""

import io
import time

import numpy as np
import pytest
import soundfile
from conftest import CLIPS
from scipy.signal import butter, sosfilt

from hubert_llama.audio import SAMPLING_RATE, VoiceActivityDetector, clean, load_audio
from hubert_llama.chat import Sampling
from hubert_llama.pipeline import PipelineConfig, SpeechUnderstanding, Stopped, TokenLimits

QUESTION = "Can you explain gravity?"
VOICE = load_audio(CLIPS / "gravity.ogg")
N = len(VOICE)
T = np.arange(N) / SAMPLING_RATE


@pytest.fixture(scope="module")
def pipeline() -> SpeechUnderstanding:
    return SpeechUnderstanding.from_pretrained(
        "mini", config=PipelineConfig(tokens=TokenLimits(response=1), sampling=Sampling())
    )


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n)


def hum(*frequencies: float) -> np.ndarray:
    """Sines, the second half as strong as the first, and so on."""
    return sum(np.sin(2 * np.pi * f * T + i) / (i + 1) for i, f in enumerate(frequencies))


def rumble(cutoff: float) -> np.ndarray:
    return sosfilt(butter(4, cutoff, fs=SAMPLING_RATE, output="sos"), noise(2 * N))[N:]


def under(sound: np.ndarray, decibels: float) -> np.ndarray:
    """The question, in a sound so many dB above it."""
    return VOICE + sound * (VOICE.std() / sound.std() * 10 ** (decibels / 20))


def banged(*bangs: tuple[float, float]) -> np.ndarray:
    """The question 40 dB below full scale from 0.5 s on, with bangs, each the second it begins at and its length."""
    sound = np.pad(0.01 * VOICE / np.abs(VOICE).max(), (SAMPLING_RATE // 2, SAMPLING_RATE))
    for start, length in bangs:
        at, n = int(start * SAMPLING_RATE), int(length * SAMPLING_RATE)
        sound[at : at + n] = np.sign(noise(n))
    return sound


def recorded(*channels: np.ndarray, rate: int = SAMPLING_RATE) -> io.BytesIO:
    """A WAV of 16 bits."""
    file = io.BytesIO()
    samples = np.stack(channels, axis=1)
    soundfile.write(file, samples / max(1.0, np.abs(samples).max()), rate, format="WAV", subtype="PCM_16")
    file.seek(0)
    return file


NOTHING = np.zeros(N)
CROSSED = {
    "-1": (VOICE, -VOICE),
    "-0.97, noise": (VOICE + 0.003 * noise(N), -0.97 * VOICE + 0.003 * noise(N, 1)),
    "-0.99, hum in both": (VOICE + 0.1 * hum(50), hum(50) * 0.1 - 0.99 * VOICE),
    "low band only": (VOICE, VOICE - 2 * sosfilt(butter(1, 2500, fs=SAMPLING_RATE, output="sos"), VOICE)),
    "one silent": (NOTHING, 0.1 * VOICE),
    "two of four": (VOICE, -VOICE, NOTHING, NOTHING),
    "in pairs": (VOICE, -VOICE, 0.5 * VOICE, -0.5 * VOICE),
}


@pytest.mark.parametrize("channels", CROSSED.values(), ids=CROSSED)
def test_channels_that_cancel_give_the_question(pipeline, channels):
    assert pipeline(recorded(*channels)).transcript == QUESTION


def test_channels_in_memory_are_mixed_as_those_of_a_file(pipeline):
    assert pipeline(np.stack([VOICE, -0.99 * VOICE], axis=1)).transcript == QUESTION


HUMS = {
    **{f"hum {f} Hz, {d} dB": under(hum(f), d) for f in (50, 60, 100) for d in (0, 20)},
    "49.9 Hz and harmonics": under(hum(49.9, 149.7, 249.5), 10),
    "120 Hz and harmonics": under(hum(120, 240, 360, 480), 10),
    "rumble below 20 Hz": under(rumble(20), 20),
    "rumble below 40 Hz": under(rumble(40), 20),
    "offset": VOICE + 0.5,
    "offset of a faint voice": 0.9 + 0.01 * VOICE,
}


@pytest.mark.parametrize("sound", HUMS.values(), ids=HUMS)
def test_hum_rumble_and_offset_hide_nothing(pipeline, sound):
    assert pipeline(recorded(sound)).transcript == QUESTION


END = 0.5 + N / SAMPLING_RATE
BANGS = {
    **{
        f"{1000 * length:g} ms {when}": banged((start, length))
        for length in (0.001, 0.01, 0.1, 0.3)
        for when, start in (("before", 0.1), ("after", END + 0.2))
    },
    "1 ms in the middle": banged((1.4, 0.001)),
    "10 ms in the middle": banged((1.4, 0.01)),
    "before and after": banged((0.0, 0.1), (END + 0.1, 0.1), (END + 0.5, 0.3)),
}


@pytest.mark.parametrize("sound", BANGS.values(), ids=BANGS)
def test_a_bang_drowns_nothing(pipeline, sound):
    assert pipeline(recorded(sound)).transcript == QUESTION


def test_a_long_bang_costs_only_the_words_under_it(pipeline):
    words = pipeline(recorded(banged((1.4, 0.3)))).transcript.lower().split()
    assert words[:2] == ["can", "you"]


@pytest.mark.parametrize("decibels", [-40, -50, -60])
def test_a_quiet_recording_is_heard(pipeline, decibels):
    assert pipeline(recorded(VOICE * 10 ** (decibels / 20))).transcript == QUESTION


def test_a_faint_speaker_beside_a_loud_one_is_heard(pipeline):
    loud = load_audio(CLIPS / "sum.ogg")
    heard = pipeline(np.concatenate([loud, np.zeros(8000, np.float32), 0.03 * VOICE])).transcript.lower()
    assert heard.startswith("what is seven plus five") and "gravity" in heard


def test_an_hour_of_near_silence_costs_little_and_can_be_stopped(pipeline):
    near_silence = np.tile(0.001 * noise(60 * SAMPLING_RATE), 10).astype(np.float32)  # ten minutes
    start = time.process_time()
    assert pipeline(near_silence).no_speech
    assert (
        time.process_time() - start < 0.01 * 600
    )  # twice the work that it is, a tenth of what silero's own loop takes
    asked = []

    def should_stop() -> bool:
        asked.append(time.process_time())
        return len(asked) > 35

    with pytest.raises(Stopped):
        list(pipeline.stream(near_silence, should_stop=should_stop))
    assert max(b - a for a, b in zip(asked, asked[1:], strict=False)) < 1


def test_ordinary_recordings_pass_untouched():
    for path in sorted(CLIPS.glob("*.ogg")):
        sound = load_audio(path)
        assert clean(sound) is sound


def test_noise_at_any_level_is_nobody():
    detect = VoiceActivityDetector()
    for sound in (
        noise(3 * SAMPLING_RATE) / 4,
        np.diff(np.cumsum(noise(3 * SAMPLING_RATE)) % 7) / 9,
        np.resize(hum(50, 100, 150), 3 * SAMPLING_RATE) / 4,
    ):
        assert [detect(clean((level * sound).astype(np.float32))) for level in (1, 0.1, 0.01, 0.001)] == [[]] * 4
