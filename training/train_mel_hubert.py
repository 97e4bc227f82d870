"""Tune a MelHuBERT, whose encoder is Whisper base's, to write letters: CTC on people's recordings, changed on the fly.

    python training/train_mel_hubert.py --prepare recordings/manifest.jsonl
    nice -n 19 python training/train_mel_hubert.py
    echo 25 > build/mel-hubert/finish     # let the learning rate fall, and end in 25 minutes
    python training/train_mel_hubert.py --evaluate build/mel-hubert

Stop it whenever you like (SIGTERM, Ctrl-C): it saves, and the same command goes on with the batch that comes next.
Which clips a step has, and how they are changed, follows from the seed and the step's number alone.
"""

import argparse
import json
import math
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path

import noises
import numpy as np
import torch
from optimizer import learn
from speech import (
    Clip,
    add_reverb,
    change_speed,
    cut_high,
    equalize,
    parts,
    read_part,
    recordings,
    telephone,
    write_part,
)
from torch.nn import functional as F
from train_hubert import SYMBOLS, encode, greedy_text, padded, save_processor, score
from whisper_weights import fetch, from_whisper

from hubert_llama.audio import SAMPLING_RATE, n_frames
from hubert_llama.mel_hubert import MelHubertForCTC, log_mel
from hubert_llama.words.recogniser import ReadingConfig, weighed_again
from hubert_llama.words.search import BeamSearch

# shares of the seconds that are learned from; a corpus that is not there leaves its share to the others
SHARES = {
    "librispeech": 0.54, "speechocean762": 0.18, "rhasspy_kathleen": 0.04, "vctk": 0.04, "common_voice": 0.05,
    "synthetic": 0.07, "synthetic-prose": 0.08,  # voices that speech.py made; their parts belong into --data
}


@dataclass(frozen=True)
class Settings:
    """Everything the weights depend on, besides the recordings; saved in the checkpoint."""

    seed: int = 0
    # optimisation
    batch_seconds: float = 16.0  # padded sound in a batch
    together: int = 2  # batches in a step
    layers_lr: float = 1.5e-4
    head_lr: float = 1e-3
    warmup: int = 100  # steps
    decay_minutes: float = 25.0  # over which the learning rate falls at the end
    final_lr: float = 0.03  # of the learning rate, what is left at the end
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average: float = 0.995  # of the mean of the weights, what a step leaves; the rest are the new weights
    train_front: bool = False  # let the two convolutions learn too
    # data
    pool: int = 128  # clips drawn for a batch, of which neighbours in length are taken
    longest_seconds: float = 17.5
    time_mask: float = 2.0  # seconds of sound for each mask over time
    time_mask_frames: int = 20  # log-mel frames (10 ms) that such a mask hides at most
    mel_masks: int = 2  # masks over frequency
    mel_mask_bins: int = 10  # bins that such a mask hides at most


# Clips, changed on the fly


@dataclass(frozen=True)
class Changes:
    """How often, and how far, a clip is changed."""

    speed: float = 0.6
    speed_range: tuple[float, float] = (0.9, 1.1)
    equalizer: float = 0.2
    equalizer_range: float = 10.0  # dB at most, up or down
    reverb: float = 0.08
    reverb_seconds: tuple[float, float] = (0.05, 0.4)
    telephone: float = 0.04
    lowpass: float = 0.04
    clipping: float = 0.04
    noise: float = 0.3
    snr_range: tuple[float, float] = (5.0, 25.0)  # dB
    babble: float = 0.3  # of the noises: other clips
    gain_range: tuple[float, float] = (-26.0, 3.0)  # dB, of clips whose peak is 0.7 of full scale
    silence: float = 0.3  # seconds at most before and after


NOISES = (noises.white, noises.pink, noises.hum, noises.clicks, noises.tones)


def babble(clips: list[Clip], rng: np.random.Generator, n: int) -> np.ndarray:
    """One to five other clips at a time, over and over: float32 (n,)."""
    x = np.zeros(n, np.float32)
    for i in rng.integers(len(clips), size=rng.integers(1, 6)):
        x += np.resize(clips[i].samples.astype(np.float32), n) / 32768
    return x


def with_noise(x: np.ndarray, rng: np.random.Generator, c: Changes, others: list[Clip]) -> np.ndarray:
    """The waveform with one kind of noise."""
    made = babble(others, rng, len(x)) if rng.random() < c.babble else NOISES[rng.integers(len(NOISES))](rng, len(x))
    level = x.std() / (made.std() + 1e-9) * 10 ** (-rng.uniform(*c.snr_range) / 20)
    return x + (made * level).astype(np.float32)


def changed(samples: np.ndarray, speed: float, rng: np.random.Generator, c: Changes, others: list[Clip]) -> np.ndarray:
    """A changed copy of a clip: int16 (n,) -> float32 (m,)."""
    x = change_speed(samples.astype(np.float32) / 32768, speed)
    if rng.random() < c.equalizer:
        x = equalize(x, rng.uniform(-c.equalizer_range, c.equalizer_range, 8))
    if rng.random() < c.reverb:
        x = add_reverb(x, rng, rng.uniform(*c.reverb_seconds))
    x = np.pad(x, [int(rng.uniform(0, c.silence) * SAMPLING_RATE) for _ in range(2)])
    if rng.random() < c.noise:
        x = with_noise(x, rng, c, others)
    band = rng.random()
    if band < c.telephone:
        x = telephone(x)
    elif band < c.telephone + c.lowpass:
        x = cut_high(x, rng.uniform(0.4, 0.8))
    if rng.random() < c.clipping:
        limit = np.abs(x).max() * rng.uniform(0.15, 0.6)
        x = x.clip(-limit, limit)
    return x * np.float32(10 ** (rng.uniform(*c.gain_range) / 20))


def mask(features: torch.Tensor, rng: np.random.Generator, s: Settings) -> torch.Tensor:
    """Log-mel frames (F, bins) with some times and some frequencies at their mean (D. Park and others, 2019)."""
    frames, bins, mean = *features.shape, features.mean()
    for _ in range(rng.poisson(frames / 100 / s.time_mask)):
        at, width = rng.integers(frames), rng.integers(1, s.time_mask_frames + 1)
        features[at : at + width] = mean
    for _ in range(s.mel_masks):
        at, width = rng.integers(bins), rng.integers(0, s.mel_mask_bins + 1)
        features[:, at : at + width] = mean
    return features


# Batches


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded log-mel frames and letters."""

    features: torch.Tensor  # float32 (B, F, bins)
    lengths: torch.Tensor  # int64 (B,) log-mel frames of each clip
    frames: torch.Tensor  # int64 (B,) frames of each clip that letters are read from
    labels: torch.Tensor  # int64 (B, letters), -100 after the end
    seconds: float  # of sound, without padding


class Recordings:
    """The clips that are learned from, and how likely each is to be drawn."""

    def __init__(self, folder: Path, s: Settings):
        self.clips, chances = [], []
        for name in parts(folder, "train-"):
            found = [c for c in read_part(folder, name) if 0 < 0.04 * len(c.text) < c.seconds < s.longest_seconds]
            self.clips += found
            seconds = sum(c.seconds for c in found)
            chances += [SHARES[name.removeprefix("train-")] / seconds] * len(found)
        if not self.clips:
            raise SystemExit(f"No recordings in {folder}: make them with --prepare MANIFEST.")
        self.chances = np.array(chances) / sum(chances)
        self.s, self.changes = s, Changes()

    def batch(self, step: int, number: int) -> Batch:
        """A step's batch of that number: always the same one."""
        rng = np.random.default_rng([self.s.seed, step, number])
        batches = self._plan(rng)
        rows = [self._row(clip, speed, rng) for clip, speed in batches[rng.integers(len(batches))]]
        features = [mask(log_mel(torch.from_numpy(x)), rng, self.s) for x, _ in rows]
        return Batch(
            torch.nn.utils.rnn.pad_sequence(features, batch_first=True),
            torch.tensor([len(f) for f in features]),
            torch.tensor([n_frames(len(x)) for x, _ in rows]),
            padded(encode(text) for _, text in rows),
            sum(len(x) for x, _ in rows) / SAMPLING_RATE,
        )

    def _plan(self, rng: np.random.Generator) -> list[list[tuple[Clip, float]]]:
        """Clips and their speeds in batches of neighbours in length; each batch lasts about as long."""
        drawn = [self.clips[i] for i in rng.choice(len(self.clips), self.s.pool, p=self.chances)]
        faster = rng.uniform(*self.changes.speed_range, len(drawn))
        faster[rng.random(len(drawn)) >= self.changes.speed] = 1.0
        batches: list[list[tuple[Clip, float]]] = [[]]
        for clip, speed in sorted(zip(drawn, faster, strict=True), key=lambda pair: -pair[0].seconds / pair[1]):
            longest = max([pair[0].seconds / pair[1] for pair in batches[-1][:1]], default=0.0)
            if longest * (len(batches[-1]) + 1) > self.s.batch_seconds:
                batches.append([])
            batches[-1].append((clip, speed))
        return batches

    def _row(self, clip: Clip, speed: float, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """A changed waveform and its text."""
        return changed(clip.samples, speed, rng, self.changes, self.clips), clip.text


def steps(recordings: Recordings, first: int, together: int, ahead: int = 2) -> Iterator[list[Batch]]:
    """The batches of every step from one on, made by a thread while those before them are learned."""
    with ThreadPoolExecutor(1) as thread:
        def make(step: int) -> Future:
            return thread.submit(lambda: [recordings.batch(step, i) for i in range(together)])

        made = deque(make(first + i) for i in range(ahead))
        while True:
            first += 1
            made.append(make(first + ahead - 1))
            yield made.popleft().result()


# Learning


def ctc_loss(model: MelHubertForCTC, batch: Batch) -> torch.Tensor:
    """Nats a letter."""
    states, frames = model.hubert.encode(batch.features, batch.lengths)
    logits = model.lm_head(model.hubert.mixture(states, frames))
    log_probs = logits.float().log_softmax(-1).transpose(0, 1)  # (T, B, V)
    letters = batch.labels >= 0
    loss = F.ctc_loss(
        log_probs, batch.labels[letters], batch.frames, letters.sum(1),
        blank=model.config.pad_token_id, reduction="sum", zero_infinity=True,
    )
    return loss / letters.sum()


@dataclass
class State:
    """How far a training is; saved in its checkpoint."""

    step: int = 0
    spent: float = 0.0  # seconds of training
    sound: float = 0.0  # seconds learned from
    end: float = math.inf  # `spent` at which it ends; `decay_minutes` before, the learning rate begins to fall
    log: list[dict] = field(default_factory=list)


def lr_factor(state: State, s: Settings) -> float:
    """What part of the learning rate a step has: it rises at first, stays, and falls before the end."""
    left = (state.end - state.spent) / (60 * s.decay_minutes)
    falling = s.final_lr + (1 - s.final_lr) * min(1.0, max(0.0, left))
    return min(1.0, (state.step + 1) / s.warmup) * falling


def make_optimizer(model: MelHubertForCTC, s: Settings) -> torch.optim.AdamW:
    """AdamW with one rate for Whisper's layers and another for what is new; vectors are not decayed."""
    groups = []
    for new, lr in ((False, s.layers_lr), (True, s.head_lr)):
        named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        own = [p for n, p in named.items() if n.startswith(("hubert.mixture", "lm_head")) == new]
        for matrices in (True, False):
            chosen = [p for p in own if (p.ndim > 1) == matrices]
            groups.append({"params": chosen, "lr": lr, "base_lr": lr, "weight_decay": s.weight_decay * matrices})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


class Training:
    """A model, its optimizer, the mean of its weights, and how far it is."""

    def __init__(self, model: MelHubertForCTC, s: Settings):
        self.model, self.s, self.state = model.train(), s, State()
        model.hubert.front.requires_grad_(s.train_front)
        self.optimizer = make_optimizer(model, s)
        self.learned = [p for p in model.parameters() if p.requires_grad]
        self.means = [p.detach().clone() for p in self.learned]

    def step(self, batches: list[Batch], pool: ThreadPoolExecutor) -> float:
        """Learn some batches together; returns their mean loss."""
        loss = learn(partial(ctc_loss, self.model), self.model, batches, pool)
        torch.nn.utils.clip_grad_norm_(self.learned, self.s.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * lr_factor(self.state, self.s)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        kept = min(self.s.average, self.state.step / (self.state.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.means, self.learned, 1 - kept)
        self.state.step += 1
        self.state.sound += sum(b.seconds for b in batches)
        return loss

    def averaged(self) -> MelHubertForCTC:
        """A copy with the mean weights."""
        copy = MelHubertForCTC(self.model.config)
        copy.load_state_dict(self.model.state_dict())
        own = dict(zip([n for n, p in self.model.named_parameters() if p.requires_grad], self.means, strict=True))
        copy.load_state_dict(own, strict=False)
        return copy.eval()

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on, all or nothing."""
        kept = {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "means": self.means,
            "state": asdict(self.state), "settings": asdict(self.s),
        }
        torch.save(kept, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)

    def load(self, path: Path) -> None:
        """Take up what `save` wrote, at this run's learning rates."""
        kept = torch.load(path, weights_only=True)
        self.model.load_state_dict(kept["model"])
        rates = [group["base_lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(kept["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["base_lr"] = rate
        with torch.no_grad():
            torch._foreach_copy_(self.means, kept["means"])
        self.state = State(**kept["state"])


# Measuring


@torch.inference_mode()
def read(model: MelHubertForCTC, clip: Clip, search: BeamSearch | None) -> str:
    """What the model hears, by the likeliest letter of each frame, or as the service's search finds it."""
    x = torch.from_numpy(clip.samples.astype(np.float32) / 32768)[None]
    emissions = model(x).logits[0].log_softmax(-1).numpy()  # (T, V)
    greedy = greedy_text(emissions.argmax(-1).tolist())
    found = weighed_again(search(emissions, ReadingConfig.listed, "", greedy), 1) if search else []
    return found[0].text.lower() if found else greedy


def measure(
    model: MelHubertForCTC,
    folder: Path,
    at_most: int | None,  # clips of each part
    search: BeamSearch | None = None,
) -> dict[str, dict[str, float]]:
    """Word and letter error rates of every dev part."""
    found = {}
    for name in parts(folder, "dev-"):
        clips = read_part(folder, name)[:at_most]
        rates = score(clips, [read(model, clip, search) for clip in clips])
        found[name.removeprefix("dev-")] = {"wer": rates["wer"], "cer": rates["cer"], "clips": len(clips)}
    return found


def evaluate(weights: Path, folder: Path, language_model: Path | None) -> None:
    """Print how a folder's weights read all dev clips, letter by letter and by search."""
    model = MelHubertForCTC.from_pretrained(weights, dtype=torch.float32).eval()
    found = {"greedy": measure(model, folder, None)}
    if language_model:
        search = BeamSearch.from_pretrained(str(language_model), SYMBOLS)
        found["search"] = measure(model, folder, None, search)
    print(json.dumps(found), flush=True)


def export(model: MelHubertForCTC, state: State, s: Settings, out: Path) -> None:
    """Save 16-bit weights and letters as the hub's checkpoints are laid out, with how they came about."""
    save_processor(out)
    extractor = out / "preprocessor_config.json"  # log-mel is taken of the waveform as it is
    extractor.write_text(json.dumps(json.loads(extractor.read_text()) | {"do_normalize": False}, indent=2) + "\n")
    copy = MelHubertForCTC(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.float16).save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    told = {"settings": asdict(s), "steps": state.step, "hours_of_sound": round(state.sound / 3600, 2)}
    told |= {"hours_spent": round(state.spent / 3600, 2), "torch": torch.__version__}
    (out / "training_args.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    (out / "training_log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in state.log), encoding="utf-8")


# The run


class Run:
    """A training from one start to its stop: logs, saves, measures."""

    def __init__(self, training: Training, args: argparse.Namespace):
        self.training, self.args = training, args
        self.losses: deque[float] = deque(maxlen=args.log_steps)
        self.stopped = False
        self.saved = self.measured = self.last = time.monotonic()
        self.logged = (training.state.spent, training.state.sound)

    def stop(self, *_) -> None:
        """End after the step at hand; a signal's handler."""
        self.stopped = True

    def go(self, batches: Iterator[list[Batch]], pool: ThreadPoolExecutor) -> None:
        """Learn until the end or a signal."""
        before = {number: signal.signal(number, self.stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._learn(batches, pool)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _learn(self, batches: Iterator[list[Batch]], pool: ThreadPoolExecutor) -> None:
        """Step by step; log, save and measure when it is time."""
        state = self.training.state
        while not self.stopped and state.spent < state.end:
            self.losses.append(self.training.step(next(batches), pool))
            now = time.monotonic()
            state.spent, self.last = state.spent + now - self.last, now
            self._look_for_finish()
            if state.step % self.args.log_steps == 0:
                self._log()
            if now - self.saved > 60 * self.args.save_minutes:
                self._save()
            if now - self.measured > 60 * self.args.measure_minutes:
                self._measure()
        self._save()
        if not self.stopped:
            self._measure()
            self._save()

    def _look_for_finish(self) -> None:
        """A file `finish` holds the minutes that are left."""
        path = self.args.out / "finish"
        if path.exists():
            minutes = float(path.read_text() or self.training.s.decay_minutes)
            self.training.state.end = self.training.state.spent + 60 * minutes
            path.unlink()
            print(f"The end is in {minutes} minutes.", flush=True)

    def _log(self) -> None:
        """One line on the last steps."""
        state, (spent, sound) = self.training.state, self.logged
        row = {
            "at": time.strftime("%m-%d %H:%M"), "step": state.step, "hours": round(state.sound / 3600, 3),
            "loss": round(float(np.mean(self.losses)), 4), "lr": round(lr_factor(state, self.training.s), 3),
            "x real time": round((state.sound - sound) / max(1e-9, state.spent - spent), 1),
        }
        self.logged = (state.spent, state.sound)
        state.log.append(row)
        print(json.dumps(row), flush=True)

    def _save(self) -> None:
        """The checkpoint."""
        self.training.save(self.args.out / "checkpoint.pt")
        self.saved = self.last = time.monotonic()

    def _measure(self) -> None:
        """Error rates of the weights and of their mean; those with fewer letters wrong are exported."""
        state = self.training.state
        models = {"means": self.training.averaged(), "weights": self.training.model.eval()}
        found = {name: measure(model, self.args.data, self.args.measure_clips) for name, model in models.items()}
        best = min(found, key=lambda name: sum(rates["cer"] for rates in found[name].values()))
        row = {"at": time.strftime("%m-%d %H:%M"), "step": state.step, "hours": round(state.sound / 3600, 3)}
        state.log.append(row | found | {"exported": best})
        print(json.dumps(state.log[-1]), flush=True)
        export(models[best], state, self.training.s, self.args.out)
        self.training.model.train()
        self.measured = self.last = time.monotonic()


def prepare(manifest: Path, folder: Path) -> None:
    """Decode a manifest's recordings into one part for each corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    for split, corpus in sorted({(row["split"], row["corpus"]) for row in rows}):
        write_part(folder, f"{split}-{corpus}", recordings(manifest, split, corpus))


def first_model(args: argparse.Namespace) -> MelHubertForCTC:
    """The weights that a training begins with: a folder's, or Whisper's with a new head."""
    if args.init_from:
        return MelHubertForCTC.from_pretrained(args.init_from, dtype=torch.float32)
    torch.manual_seed(args.seed)
    return from_whisper(fetch(args.whisper))


def train(args: argparse.Namespace, s: Settings) -> None:
    """Begin, or go on from the checkpoint in the folder."""
    args.out.mkdir(parents=True, exist_ok=True)
    training = Training(first_model(args), s)
    if (args.out / "checkpoint.pt").exists():
        training.load(args.out / "checkpoint.pt")
    if args.minutes:
        training.state.end = 60 * args.minutes
    batches = steps(Recordings(args.data, s), training.state.step, s.together)
    with ThreadPoolExecutor(args.threads) as pool:
        Run(training, args).go(batches, pool)
    batches.close()


def parse_args() -> argparse.Namespace:
    """The command line; every number of `Settings` has its flag."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_argument_group("files")
    where.add_argument("--data", type=Path, default=Path("build/people"), help="folder of decoded recordings")
    where.add_argument("--whisper", type=Path, default=Path("build/whisper"), help="Whisper's, fetched if missing")
    where.add_argument("--init-from", type=Path, help="begin with this folder's weights, not with Whisper's")
    where.add_argument("--out", type=Path, default=Path("build/mel-hubert"), help="for the checkpoint and weights")
    run = parser.add_argument_group("run")
    run.add_argument("--minutes", type=float, default=0.0, help="training time, all starts together; 0: no end")
    run.add_argument("--threads", type=int, default=2, help="batches learned at a time, each by one thread")
    run.add_argument("--log-steps", type=int, default=20)
    run.add_argument("--save-minutes", type=float, default=5.0)
    run.add_argument("--measure-minutes", type=float, default=30.0)
    run.add_argument("--measure-clips", type=int, default=50, help="clips of each dev part, at most")
    do = parser.add_argument_group("instead of training")
    do.add_argument("--prepare", type=Path, metavar="MANIFEST", help="only decode recordings into --data")
    do.add_argument("--evaluate", type=Path, metavar="FOLDER", help="only measure FOLDER's weights on all dev clips")
    do.add_argument("--language-model", type=Path, metavar="FOLDER", help="of a HuBERT whose search reads too")
    settings = parser.add_argument_group("settings")
    for f in fields(Settings):
        kind = {"action": argparse.BooleanOptionalAction} if isinstance(f.default, bool) else {"type": type(f.default)}
        settings.add_argument("--" + f.name.replace("_", "-"), **kind, default=f.default, help=f"default {f.default}")
    return parser.parse_args()


def main() -> None:
    """Train, or prepare, or measure."""
    args = parse_args()
    torch.set_num_threads(1)
    if args.prepare:
        prepare(args.prepare, args.data)
    elif args.evaluate:
        evaluate(args.evaluate, args.data, args.language_model)
    else:
        train(args, Settings(**{f.name: getattr(args, f.name) for f in fields(Settings)}))


if __name__ == "__main__":
    main()
