"""Speech to train and measure HuBERT-mini on: sentences, synthetic voices, real recordings, augmentation.

    python training/speech.py --work-dir build/speech --utterances 24000
    python training/speech.py --work-dir build/speech --utterances 24000 --speech-manifest recordings/manifest.jsonl

It writes "parts" into the folder: NAME.pcm holds 16-bit samples at 16 kHz, one clip after another, and
NAME.jsonl says where each clip lies, what it says and who said it. Parts named `train-*` are trained on; parts
named `test-*` and `dev-*` are only measured on. It needs espeak-ng, flite and festival with the voices
kal_diphone, ked_diphone and cmu_us_slt_arctic_hts (Debian: espeak-ng flite festival festvox-kallpc16k
festvox-kdlpc16k festvox-us-slt-hts), SVOX Pico (`pip install ttspico`), and reads WordNet's glosses where Debian's
`wordnet` put them.
"""

import argparse
import json
import multiprocessing
import random
import re
import subprocess
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import neural
import numpy as np
import soundfile
from lists import words
from tutor import is_test, load_concepts, load_material, load_passages, make_turns, number, plain
from utterances import ASK_ONE, ASK_TWO, NUMBERS, SMALL_TALK, TERMS, THINGS

from hubert_llama.audio import SAMPLING_RATE, load_audio
from hubert_llama.measure.noise import add_noise

WORDNET = Path("/usr/share/wordnet")

# Sentences


def terms() -> list[str]:
    """Every academic term: the lists' and the curriculum's concepts."""
    own = [term for of_subject in TERMS.values() for term in of_subject]
    return sorted({*own, *(plain(c["concept"]) for c in load_concepts())})


def curriculum_sentences() -> list[str]:
    """The curriculum's sentences and its passages' questions, answers and sentences, of 2 to 16 words."""
    sentences = [c[key] for c in load_concepts() for key in ("definition", "detail", "example", "misconception")]
    for passage in load_passages():
        sentences += [x for f in passage["facts"] for x in (*f["questions"], f["answer"])]
        sentences += re.split(r"(?<=[.!?]) ", passage["passage"])
    return sorted({s for s in map(plain, sentences) if 2 <= len(s.split()) <= 16})


def glosses(folder: Path = WORDNET) -> list[str]:
    """WordNet's definitions and examples of 3 to 14 words, none when it is not installed."""
    found = set()
    for part in ("noun", "verb", "adj", "adv"):
        path = folder / f"data.{part}"
        for line in path.read_text(encoding="latin-1").splitlines() if path.exists() else []:
            _, bar, gloss = line.partition("|")
            for piece in re.split(r'[;:()"]', gloss) if bar and not line.startswith("  ") else []:
                if re.fullmatch(r"[A-Za-z' ,-]+", piece) and 3 <= len(plain(piece).split()) <= 14:
                    found.add(plain(piece).strip("' "))
    return sorted(found)


def prose(path: Path) -> list[str]:
    """A plain text's sentences of 2 to 40 words without figures, cut also at colons, brackets and quotation marks."""
    text = path.read_text(encoding="utf-8", errors="replace").replace("--", "; ")
    text = text.translate({ord("_"): None, ord("’"): "'", ord("‘"): "'"})
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))  # é: e
    pieces = re.split(r'[.!?;:"()“”]+\s|\n\s*\n', text)
    sentences = [plain(piece) for piece in pieces if not re.search(r"\d", piece)]
    return [sentence for sentence in sentences if 2 <= len(sentence.split()) <= 40]


def number_sentence(rng: random.Random) -> str:
    """A question or statement with numbers in words."""
    a, b = rng.randrange(rng.choice([13, 100, 1000])), rng.randrange(1, rng.choice([13, 100]))
    year = number(rng.randrange(10, 21)) + " " + number(rng.randrange(10, 100))
    pattern, c = rng.choice(NUMBERS), rng.choice([a + b, rng.randrange(200)])
    sentence = pattern.format(a=number(a), b=number(b), c=number(c), year=year, things="{}")
    return plain(sentence.format(*[rng.choice(THINGS) for _ in range(sentence.count("{}"))]))


@dataclass(frozen=True)
class Sentences:
    """Draws sentences of two kinds: what students ask, and broad English."""

    terms: list[str]
    curriculum: list[str]
    glosses: list[str]
    rare: list[str]  # words of glosses, so that questions are not only about the terms
    # what students say in Llama-mini's lessons: sums, questions about invented things and about what nobody knows
    turns: list[str]

    def question(self, rng: random.Random) -> str:
        """A student's question or statement."""
        u = rng.random()
        if u < 0.04:
            return plain(rng.choice(SMALL_TALK))
        if u < 0.12:
            return number_sentence(rng)
        if u < 0.47:
            return rng.choice(self.curriculum)
        if u < 0.72:
            return rng.choice(self.turns)
        return self.ask(rng, self.terms if rng.random() < 0.8 else self.rare)

    def ask(self, rng: random.Random, things: list[str]) -> str:
        """A student's question about some of the things."""
        pattern = rng.choice(ASK_ONE if rng.random() < 0.75 else ASK_TWO)
        return plain(pattern.format(*[rng.choice(things) for _ in range(pattern.count("{}"))]))

    def of_curriculum(self, rng: random.Random) -> str:
        """A sentence of the curriculum, or a question about one of its terms."""
        return rng.choice(self.curriculum) if rng.random() < 0.5 else self.ask(rng, self.terms)

    def gloss(self, rng: random.Random) -> str:
        """A definition or example out of WordNet; a question where WordNet is missing."""
        return rng.choice(self.glosses) if self.glosses else self.question(rng)


def load_sentences() -> Sentences:
    """Everything sentences are drawn from."""
    broad = glosses()
    turns = make_turns(20_000, 3, load_material(sentences=broad))
    return Sentences(
        terms=terms(),
        curriculum=curriculum_sentences(),
        glosses=broad,
        rare=[w for g in broad for w in g.split() if len(w) > 4] or terms(),
        turns=[plain(t.transcript) for t in turns if t.kind not in ("dictation", "check")],
    )


def draw(sentences: Sentences, n: int, seed: int | str, kind: str, test: bool) -> list[str]:
    """`n` sentences of the training side, or of the test side, where no two are the same.

    `kind` is "curriculum", "question", "gloss" or "mixed".
    """
    makers = {"curriculum": sentences.of_curriculum, "question": sentences.question, "gloss": sentences.gloss}
    rng, drawn = random.Random(f"{seed}-{kind}-{test}"), []
    while len(drawn) < n:
        of = kind if kind != "mixed" else "question" if rng.random() < 0.82 else "gloss"
        sentence = makers[of](rng)
        if is_test(sentence) == test and not (test and sentence in drawn):
            drawn.append(sentence)
    return drawn


# Voices

ACCENTS = words("en-us en-us en-us en-gb en-gb en-gb-x-rp en-gb-scotland en-029 en-gb-x-gbclan en-us-nyc")
VARIANTS = [
    "",
    *words(
        """
        +m1 +m2 +m3 +m4 +m5 +m6 +m8 +f1 +f2 +f3 +f4 +Annie +Andy +Lee +Mario +Michael +linda +steph +Alex +Denis
        +belinda +Gene +rob +anika +victor +klatt2 +klatt3 +klatt5 +klatt6 +adam +antonio +benjamin +caleb +ed +edward
        +grandma +iven +john +max +paul +quincy +robert +shelby +steph2 +travis +zac
        """
    ),
]
FLITE = ["kal16", "awb", "awb", "rms", "rms"]  # awb and rms are made of people's recordings
FESTIVAL = ["ked_diphone", "kal_diphone"]
PICO = ["en-US", "en-US", "en-GB"]  # women
# how far their voices are moved up or down
RAISED = {"flite": (1.05, 1.32), "festival": (1.05, 1.32), "hibari": (0.8, 1.15), "piper": (0.87, 1.32)}
# never trained on, only measured on
HELD_OUT_ESPEAK = words(
    """
    en-us+f5 en-us+m7 en-us+klatt en-us+klatt4 en-gb+f5 en-gb+m7 en-gb+klatt en-gb+klatt4
    en-gb-x-gbcwmd en-gb-x-gbcwmd+f5 en-gb-x-gbcwmd+m3
    """
)
HELD_OUT_FESTIVAL = ["cmu_us_slt_arctic_hts"]  # nor flite's slt: the same speaker


@dataclass(frozen=True)
class Job:
    """Sentences for one voice of one synthesiser."""

    engine: str  # "espeak", "flite", "festival", "pico" or one of neural.VOICES
    voice: str
    sentences: tuple[str, ...]
    seed: int
    # spoken so many times slower and read so many times faster: a shorter throat and a higher pitch at the same pace
    raised: float = 1.0


def training_voice(rng: random.Random) -> tuple[str, str]:
    """An engine and one of its voices: 52 % espeak-ng, 20 % pico, 20 % flite, 8 % festival."""
    engines = [("espeak", VARIANTS), ("pico", PICO), ("flite", FLITE), ("festival", FESTIVAL)]
    engine, voices = rng.choices(engines, [52, 20, 20, 8])[0]
    voice = rng.choice(voices)
    return engine, rng.choice(ACCENTS) + voice if engine == "espeak" else voice


def training_jobs(sentences: list[str], seed: int, only: str = "", batch: int = 20) -> list[Job]:
    """Each batch of sentences in a training voice, or a neural one of the engine `only`.

    Two thirds of flite's and festival's voices, all men's, are raised. hibari's and piper's one voice is raised or
    lowered as often.
    """
    rng, jobs = random.Random(seed), []
    for i in range(0, len(sentences), batch):
        engine, voice = (only, rng.choice(neural.VOICES[only])) if only else training_voice(rng)
        raised = 1.0
        if engine in RAISED and rng.random() < 0.67:
            raised = rng.uniform(*RAISED[engine])
        jobs.append(Job(engine, voice, tuple(sentences[i : i + batch]), seed * 10**6 + i, raised))
    return jobs


def speak_espeak(voice: str, sentence: str, path: Path, rng: random.Random) -> None:
    """One sentence by espeak-ng, at a random speed (words a minute) and pitch."""
    speed, pitch = str(rng.randint(125, 190)), str(rng.randint(25, 75))
    command = ["espeak-ng", "-v", voice, "-s", speed, "-p", pitch, "-w", str(path), sentence]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def speak_flite(voice: str, sentence: str, path: Path, rng: random.Random, slower: float) -> None:
    """One sentence by flite, at a random speed, and kal16's at a random pitch (Hz)."""
    settings = [f"duration_stretch={rng.uniform(0.85, 1.2) * slower:.2f}"]
    pitch = rng.uniform(90, 170)
    if voice == "kal16":
        settings.append(f"int_f0_target_mean={pitch:.0f}")
    flags = [x for setting in settings for x in ("--setf", setting)]
    command = ["flite", "-voice", voice, *flags, "-t", sentence, "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def speak_pico(voice: str, sentence: str, path: Path, rng: random.Random) -> None:
    """One sentence by SVOX Pico (the package ttspico), at a random speed and pitch (percent)."""
    import ttspico  # only here: it is built from source

    speed, pitch = rng.randint(80, 130), rng.randint(75, 120)
    engine = ttspico.TtsEngine(voice)
    # 16 bits, 16 kHz
    pcm = engine.speak(f'<speed level="{speed}"><pitch level="{pitch}">{sentence}</pitch></speed>')
    soundfile.write(path, np.frombuffer(pcm, np.int16), SAMPLING_RATE)


def speak_festival(
    voice: str, sentences: tuple[str, ...], paths: list[Path], rng: random.Random, slower: float
) -> None:
    """Many sentences by one run of festival, which is slow to start.

    Diphones, when slowed down, are spoken at a random pitch (Hz).
    """
    lines = [f"(voice_{voice})"]
    for sentence, path in zip(sentences, paths, strict=True):
        if slower > 1:
            lines.append(
                f"(set! int_lr_params '((target_f0_mean {rng.uniform(95, 165):.0f}) (target_f0_std 16) "
                "(model_f0_mean 170) (model_f0_std 34)))"
            )
        lines.append(f"(Parameter.set 'Duration_Stretch {rng.uniform(0.85, 1.15) * slower:.2f})")
        lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{sentence}")) "{path}" \'riff)')
    script = paths[0].with_suffix(".scm")
    script.write_text("\n".join(lines), encoding="utf-8")
    subprocess.run(["festival", "-b", str(script)], check=True, capture_output=True, timeout=60 + 5 * len(sentences))


def speak(job: Job) -> list[tuple[np.ndarray, str, str]]:
    """The clips of a job: (samples, text, voice)."""
    rng = random.Random(job.seed)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.wav" for i in range(len(job.sentences))]
        if job.engine == "festival":
            speak_festival(job.voice, job.sentences, paths, rng, job.raised)
        else:
            for sentence, path in zip(job.sentences, paths, strict=True):
                speak_one(job, sentence, path, rng)
        waveforms = [trim(change_speed(load_audio(path), job.raised)) for path in paths]
    return [
        (to_int16(waveform), text, f"{job.engine} {job.voice}")
        for waveform, text in zip(waveforms, job.sentences, strict=True)
        if len(waveform) > SAMPLING_RATE // 5
    ]


def speak_one(job: Job, sentence: str, path: Path, rng: random.Random) -> None:
    """Write one sentence of a job of any engine but festival."""
    if job.engine == "espeak":
        speak_espeak(job.voice, sentence, path, rng)
    elif job.engine == "flite":
        speak_flite(job.voice, sentence, path, rng, job.raised)
    elif job.engine == "pico":
        speak_pico(job.voice, sentence, path, rng)
    else:
        soundfile.write(path, neural.speak(job.engine, job.voice, sentence, rng, job.raised), SAMPLING_RATE)


def trim(waveform: np.ndarray, keep: float = 0.1) -> np.ndarray:
    """The waveform without its silent ends, but for `keep` seconds."""
    loud = np.flatnonzero(np.abs(waveform) > 0.01)
    margin = int(keep * SAMPLING_RATE)
    return waveform[max(0, loud[0] - margin) : loud[-1] + margin] if len(loud) else waveform[:0]


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """16-bit samples whose peak is 0.7 of full scale."""
    return (waveform / max(1e-4, float(np.abs(waveform).max())) * 0.7 * 32767).astype(np.int16)


# Parts on disk


@dataclass(frozen=True, eq=False)
class Clip:
    """A recording of a part, and its words."""

    samples: np.ndarray  # int16 (n,), a view into the part's file
    text: str
    voice: str
    # float16 (frames, 288), the states that training/teacher.py has written, a view into its file
    taught: np.ndarray | None = None

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / SAMPLING_RATE


def write_part(folder: Path, name: str, clips: Iterable[tuple[np.ndarray, str, str]]) -> None:
    """Append clips to a file, and where they lie to another."""
    at = 0
    (folder / f"{name}.taught").unlink(missing_ok=True)  # the teacher's states of the clips before
    with open(folder / f"{name}.pcm", "wb") as pcm, open(folder / f"{name}.jsonl", "w", encoding="utf-8") as index:
        for samples, text, voice in clips:
            pcm.write(samples.tobytes())
            index.write(json.dumps([at, len(samples), text, voice]) + "\n")
            at += len(samples)
    print(f"{name}: {at / SAMPLING_RATE / 3600:.2f} h", flush=True)


def read_part(folder: Path, name: str) -> list[Clip]:
    """The clips of a part; their samples stay on disk until used."""
    samples = np.memmap(folder / f"{name}.pcm", dtype=np.int16, mode="r")
    rows = (json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
    return [Clip(samples[at : at + n], text, voice) for at, n, text, voice in rows]


def parts(folder: Path, prefix: str) -> list[str]:
    """Names of the parts that begin so."""
    return sorted(path.stem for path in folder.glob(f"{prefix}*.jsonl"))


def recordings(manifest: Path, split: str, corpus: str = "") -> Iterator[tuple[np.ndarray, str, str]]:
    """Real recordings of a manifest: lines with `audio` (a path beside it), `text`, `corpus` and `split`."""
    for line in manifest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["split"] == split and corpus in ("", row["corpus"]):
            yield to_int16(load_audio(manifest.parent / row["audio"])), plain(row["text"]), row["corpus"]


# Augmentation


@dataclass(frozen=True)
class Augmentation:
    """How often, and how far, a training clip is changed."""

    speed: float = 0.45  # chance of another speed, which moves the pitch too
    speed_range: tuple[float, float] = (0.87, 1.28)  # upwards further: most voices are men's
    reverb: float = 0.05  # chance of a room's echo
    reverb_seconds: tuple[float, float] = (0.05, 0.25)
    lowpass: float = 0.05  # chance of a narrow band
    lowpass_range: tuple[float, float] = (0.4, 0.7)  # what is kept, of 8 kHz
    codec: float = 0.05  # chance of a telephone's codec
    equalizer: float = 0.4  # chance of another microphone: some frequencies louder, others softer
    equalizer_range: float = 12.0  # dB at most, up or down
    noise: float = 0.45  # chance of noise
    snr_range: tuple[float, float] = (2.0, 35.0)  # dB
    silence: float = 0.3  # seconds at most before and after


def augment(samples: np.ndarray, rng: np.random.Generator, a: Augmentation) -> np.ndarray:
    """A changed copy of a clip: int16 (n,) -> float32 (m,)."""
    return augment_in_time(samples, rng, a)[0]


def augment_in_time(samples: np.ndarray, rng: np.random.Generator, a: Augmentation) -> tuple[np.ndarray, float, int]:
    """A changed copy of a clip, how many times as fast it is, and how many samples of silence stand before it."""
    x, factor = samples.astype(np.float32) / 32768, 1.0
    if rng.random() < a.speed:
        factor = rng.uniform(*a.speed_range)
        x = change_speed(x, factor)
    room = rng.random()
    if room < a.reverb:
        x = add_reverb(x, rng, rng.uniform(*a.reverb_seconds))
    elif room < a.reverb + a.lowpass:
        x = cut_high(x, rng.uniform(*a.lowpass_range))
    elif room < a.reverb + a.lowpass + a.codec:
        x = telephone(x)
    if rng.random() < a.equalizer:
        x = equalize(x, rng.uniform(-a.equalizer_range, a.equalizer_range, 8))
    before, after = (int(rng.uniform(0, a.silence) * SAMPLING_RATE) for _ in range(2))
    x = np.pad(x, (before, after))
    return add_noise(x, rng, rng.uniform(*a.snr_range)) if rng.random() < a.noise else x, factor, before


def change_speed(x: np.ndarray, factor: float) -> np.ndarray:
    """The waveform read `factor` times as fast."""
    if factor == 1:
        return x
    return np.interp(np.linspace(0, len(x) - 1, int(len(x) / factor)), np.arange(len(x)), x).astype(np.float32)


def add_reverb(x: np.ndarray, rng: np.random.Generator, seconds: float) -> np.ndarray:
    """The waveform in a room: a direct sound and a decaying noise after it."""
    n = int(seconds * SAMPLING_RATE)
    room = rng.standard_normal(n) * np.exp(-5 * np.arange(n) / n)
    room[0] = rng.uniform(3, 10)
    size = 1 << (len(x) + n).bit_length()
    wet = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(room, size), size)[: len(x)]
    return (wet / np.sqrt(np.square(room).sum())).astype(np.float32)


def cut_high(x: np.ndarray, keep: float) -> np.ndarray:
    """The waveform without the highest frequencies."""
    spectrum = np.fft.rfft(x)
    spectrum[int(len(spectrum) * keep) :] = 0
    return np.fft.irfft(spectrum, len(x)).astype(np.float32)


def equalize(x: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """The waveform with gains in dB at frequencies spread evenly over mel's scale, and between them in between."""
    edges = 700 * (10 ** (np.linspace(0, 2840, len(gains)) / 2595) - 1)  # Hz; 2840 mel are 8 kHz
    spectrum = np.fft.rfft(x)
    spectrum *= 10 ** (np.interp(np.linspace(0, SAMPLING_RATE / 2, len(spectrum)), edges, gains) / 20)
    return np.fft.irfft(spectrum, len(x)).astype(np.float32)


def telephone(x: np.ndarray) -> np.ndarray:
    """The waveform after G.711: below 4 kHz, eight bits by the mu law."""
    x = cut_high(x, 0.5)
    peak = np.abs(x).max() + 1e-9
    squeezed = np.round(np.sign(x) * np.log1p(255 * np.abs(x / peak)) / np.log(256) * 127) / 127
    return (np.sign(squeezed) * (256 ** np.abs(squeezed) - 1) / 255 * peak).astype(np.float32)


# Other throats


def vocoded(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A clip as a statistical synthesiser with a woman's voice would say it: int16 (n,) at 16 kHz -> int16 (m,).

    The vocoder WORLD (Morise and others, 2016) takes it apart and puts it together: with a higher and smoother melody,
    a shorter throat, and spectra as few cepstral coefficients keep them, smoothed over time, as models of mean spectra
    are (Zen, Tokuda and Black 2009).
    """
    import pyworld  # only here: it is built from source
    from scipy.fft import dct, idct
    from scipy.ndimage import uniform_filter1d

    x = samples.astype(np.float64) / 32768
    f0, times = pyworld.dio(x, SAMPLING_RATE)
    f0 = pyworld.stonemask(x, f0, times, SAMPLING_RATE)
    spectra = pyworld.cheaptrick(x, f0, times, SAMPLING_RATE)  # (frames, 513)
    noise = pyworld.d4c(x, f0, times, SAMPLING_RATE)  # (frames, 513)
    voiced = f0 > 0
    if not voiced.any():
        return samples
    middle, melody = np.log(f0[voiced]).mean(), np.log(np.where(voiced, f0, 1.0))
    mean = np.log(rng.uniform(150, 230))
    smooth = rng.uniform(0.5, 1.1) * uniform_filter1d(np.where(voiced, melody - middle, 0.0), 7)
    f0 = np.where(voiced, np.exp(mean + smooth), 0.0)
    bins = np.arange(spectra.shape[1])
    mel = np.geomspace(700, 700 + 8000, 200) - 700  # Hz
    logs = np.log(spectra + 1e-12)
    shorter = rng.uniform(1.0, 1.12) * (1.0 if np.exp(middle) > 150 else rng.uniform(1.05, 1.15))
    warped = np.stack([np.interp(mel / shorter, bins * 8000 / 512, frame) for frame in logs])
    cepstra = dct(warped, norm="ortho")
    cepstra[:, int(rng.uniform(25, 45)) :] = 0
    warped = idct(uniform_filter1d(cepstra, int(rng.integers(1, 8)), axis=0), norm="ortho")
    spectra = np.exp(np.stack([np.interp(bins * 8000 / 512, mel, frame) for frame in warped]))
    return to_int16(pyworld.synthesize(f0, np.ascontiguousarray(spectra), noise, SAMPLING_RATE).astype(np.float32))


def vocode(folder: Path, clips: int, seed: int) -> Iterator[tuple[np.ndarray, str, str]]:
    """So many of the folder's synthetic training clips that are no espeak-ng's, vocoded."""
    clips_of_all = [c for name in parts(folder, "train-synthetic") for c in read_part(folder, name)]
    given = [c for c in clips_of_all if not c.voice.startswith("espeak")]
    rng = np.random.default_rng(seed)
    for clip in random.Random(seed).sample(given, min(clips, len(given))):
        yield vocoded(np.asarray(clip.samples), rng), clip.text, f"world {clip.voice}"


# Command line

TESTS = {  # name: (voices, kind of sentence, clips)
    "test-held-out-espeak-curriculum": ([("espeak", v) for v in HELD_OUT_ESPEAK], "curriculum", 264),
    "test-held-out-festival-curriculum": ([("festival", v) for v in HELD_OUT_FESTIVAL], "curriculum", 60),
    "test-held-out-espeak-questions": ([("espeak", v) for v in HELD_OUT_ESPEAK], "question", 132),
    "test-held-out-espeak-glosses": ([("espeak", v) for v in HELD_OUT_ESPEAK], "gloss", 66),
    "test-held-out-festival-questions": ([("festival", v) for v in HELD_OUT_FESTIVAL], "question", 60),
    "test-held-out-festival-glosses": ([("festival", v) for v in HELD_OUT_FESTIVAL], "gloss", 30),
    "test-training-voices-questions": ([training_voice(random.Random(i)) for i in range(40)], "question", 80),
    "test-training-voices-glosses": ([training_voice(random.Random(i)) for i in range(40, 60)], "gloss", 40),
}


def test_jobs(name: str, sentences: Sentences, seed: int) -> list[Job]:
    """The unseen sentences of a test, dealt out to its voices."""
    voices, kind, n = TESTS[name]
    drawn = draw(sentences, n, f"{seed}-{name}", kind, test=True)
    return [
        Job(engine, voice, tuple(drawn[i :: len(voices)]), seed * 10**6 + i) for i, (engine, voice) in enumerate(voices)
    ]


def synthesise(jobs: list[Job], processes: int) -> Iterator[tuple[np.ndarray, str, str]]:
    """The clips of all jobs, in order."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for clips in pool.imap(speak, jobs, chunksize=2):
            yield from clips


def training_sentences(sentences: Sentences, n: int, seed: int, files: list[Path]) -> list[str]:
    """`n` sentences to learn from: the students' and broad English, or, where there are plain texts, theirs alone."""
    if not files:
        return draw(sentences, n, seed, "mixed", test=False)
    told = sorted({s for path in files for s in prose(path) if len(s.split()) <= 16 and not is_test(s)})
    if not told:
        raise SystemExit("--prose: these files hold no sentence of 2 to 16 words without figures.")
    return random.Random(seed).sample(told, min(n, len(told)))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, required=True, help="folder for the audio; never commit it")
    add_synthetic(parser)
    real = parser.add_argument_group("real speech")
    real.add_argument("--speech-manifest", type=Path, help="manifest.jsonl of recordings with splits train and dev")
    other = parser.add_argument_group("other throats")
    other.add_argument(
        "--vocode",
        type=int,
        default=0,
        metavar="N",
        help="also write N of the synthetic training clips again, "
        "as a statistical synthesiser with a woman's voice would say them (needs pyworld)",
    )
    return parser.parse_args()


def add_synthetic(parser: argparse.ArgumentParser) -> None:
    """The options of synthetic speech."""
    synthetic = parser.add_argument_group("synthetic speech")
    synthetic.add_argument(
        "--utterances",
        type=int,
        default=24_000,
        help="sentences to speak for training; 24,000 are about 15 hours; 0 for none",
    )
    synthetic.add_argument(
        "--part", default="synthetic", help="name of the training part: train-NAME; it begins with synthetic"
    )
    synthetic.add_argument(
        "--only",
        choices=[*neural.VOICES],
        default="",
        help="speak them by this neural synthesiser (training/neural.py says what it needs); "
        "by default by espeak-ng, Pico, flite and festival",
    )
    synthetic.add_argument(
        "--prose",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="speak sentences of at most 16 words of these plain texts, none of the students'",
    )
    synthetic.add_argument("--seed", type=int, default=1, help="another seed gives other sentences and voices")
    synthetic.add_argument("--processes", type=int, default=2, help="synthesisers running at a time")


def main() -> None:
    """Write the training and test parts into the work folder."""
    args = parse_args()
    if not args.part.startswith("synthetic"):
        raise SystemExit(
            f"--part {args.part}: a part of synthetic speech has a name that begins with synthetic, "
            "since all others are taken for recordings of people."
        )
    args.work_dir.mkdir(parents=True, exist_ok=True)
    sentences = load_sentences()
    for name in TESTS:
        if not (args.work_dir / f"{name}.jsonl").exists():
            write_part(args.work_dir, name, synthesise(test_jobs(name, sentences, seed=7), args.processes))
    if args.speech_manifest:
        corpora = {json.loads(line)["corpus"] for line in args.speech_manifest.read_text(encoding="utf-8").splitlines()}
        for corpus in sorted(corpora):
            write_part(args.work_dir, f"dev-{corpus}", recordings(args.speech_manifest, "dev", corpus))
        write_part(args.work_dir, "train-real", recordings(args.speech_manifest, "train"))
    if args.utterances:
        drawn = training_sentences(sentences, args.utterances, args.seed, args.prose)
        jobs = training_jobs(drawn, args.seed, args.only)
        write_part(args.work_dir, f"train-{args.part}", synthesise(jobs, args.processes))
    if args.vocode:
        write_part(args.work_dir, "train-vocoded", vocode(args.work_dir, args.vocode, args.seed))


if __name__ == "__main__":
    main()
