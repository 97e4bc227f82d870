"""Sounds without a voice: to learn silence from, and to measure it on.

Each function makes `n` samples, float64 (n,), at 16 kHz.
"""

import numpy as np

from hubert_llama.audio import SAMPLING_RATE


def silence(rng: np.random.Generator, n: int) -> np.ndarray:
    """Nothing, or the last bit's rustle."""
    return rng.choice([-1, 0, 1], n) / 32768 * rng.choice([0, 1])


def white(rng: np.random.Generator, n: int) -> np.ndarray:
    """White noise."""
    return rng.standard_normal(n) * 0.3


def pink(rng: np.random.Generator, n: int) -> np.ndarray:
    """Noise whose power falls with frequency."""
    spectrum = np.fft.rfft(rng.standard_normal(n)) / np.sqrt(np.maximum(1, np.arange(n // 2 + 1)))
    return normal(np.fft.irfft(spectrum, n))


def hum(rng: np.random.Generator, n: int) -> np.ndarray:
    """Mains hum with its harmonics."""
    t, base = np.arange(n) / SAMPLING_RATE, rng.choice([50, 60])
    waves = (rng.uniform(0.1, 1) / k * np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6)) for k in range(1, 8))
    return normal(sum(waves))


def clicks(rng: np.random.Generator, n: int) -> np.ndarray:
    """Keys, taps and knocks."""
    x = np.zeros(n)
    for at in rng.integers(0, n - 800, rng.integers(3, 20)):
        x[at : at + 800] += rng.standard_normal(800) * np.exp(-np.arange(800) / rng.uniform(10, 200))
    return normal(x)


def tones(rng: np.random.Generator, n: int) -> np.ndarray:
    """A melody of plain tones with overtones."""
    x, at = np.zeros(n), 0
    while at < n:
        m = min(n - at, int(rng.uniform(0.15, 0.6) * SAMPLING_RATE))
        t = np.arange(m) / SAMPLING_RATE
        f = 220 * 2 ** (rng.integers(0, 25) / 12)
        x[at : at + m] = sum(np.sin(2 * np.pi * f * k * t) / k**2 for k in range(1, 5)) * np.exp(-3 * t)
        at += m
    return normal(x)


def normal(x: np.ndarray) -> np.ndarray:
    """The waveform with its peak at one half."""
    return 0.5 * x / max(1e-9, np.abs(x).max())


KINDS = {silence: 10, white: 20, pink: 20, hum: 15, clicks: 15, tones: 20}  # with their shares, in percent
