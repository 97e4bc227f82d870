"""Train HuBERT-mini from scratch with CTC, on two CPU cores or on CUDA; export it; measure it.

    python training/speech.py --work-dir build/speech --utterances 24000 --speech-manifest recordings/manifest.jsonl
    nice python training/train_hubert.py --work-dir build/speech --minutes 88 --real 0 --out hubert_llama/mini/hubert
    python training/train_hubert.py --work-dir build/speech --evaluate hubert_llama/mini/hubert

The learning rate follows the time spent, so that the schedule ends whatever else the machine does. A
checkpoint in --work-dir lets a training that was stopped go on; --init-from starts from a folder's weights;
--export writes the checkpoint so far to --out without training.
"""

import argparse
import json
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path

import noises
import numpy as np
import torch
from lists import words
from optimizer import MuonAdamW, learn
from phonemes import IDS as PHONEME_IDS
from phonemes import phonemes
from quicken import RowsEncoder, quicken
from speech import Augmentation, Clip, augment, augment_in_time, parts, read_part
from teacher import WIDTH, states_at, with_states
from transformers import HubertConfig, HubertForCTC, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from hubert_llama.audio import FRAME_LENGTH, FRAME_STRIDE, SAMPLING_RATE, n_frames
from hubert_llama.words.ctc import edit_distance
from hubert_llama.words.recogniser import ReadingConfig, weighed_again
from hubert_llama.words.search import BeamSearch

# ids 0–31, those of facebook/hubert-large-ls960-ft
SYMBOLS = words("<pad> <s> </s> <unk> | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z")
IDS = {symbol: i for i, symbol in enumerate(SYMBOLS)}
COMPILED_BUCKETS = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 7.5, 17.5)  # seconds: few shapes, so that each can be compiled
CONV_DIM = (24, 32, 64, 96, 128, 192, 256)  # tapered: the first convolutions run 5,000 times a second and cost most


@dataclass(frozen=True)
class Settings:
    """Everything the weights depend on, besides the parts; saved beside them."""

    minutes: float = 88.0  # training time; the schedule ends with it
    seed: int = 0
    # model
    hidden_size: int = 256
    layers: int = 7
    heads: int = 4
    intermediate_size: int = 1024
    position_kernel: int = 64  # frames that the convolutional position embedding sees
    conv_dim: tuple[int, ...] = CONV_DIM
    # optimisation
    batch_seconds: float = 30.0  # padded audio in a batch
    together: int = 1  # batches in a step, each read by a thread of its own: one for each core
    peak_lr: float = 1e-3
    matrix_lr: float = 1.0  # times the learning rate: the layers' matrices, which Muon steps
    warmup: int = 250  # steps
    hold: float = 0.25  # fraction of the time at the peak, before the cosine
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    phoneme_weight: float = 0.3  # of the loss of the phonemes, which a middle layer learns to hear; 0: none
    phoneme_layer: int = 4
    # of how far a layer is from the states that training/teacher.py has written beside the clips
    teacher_weight: float = 0.0
    teacher_layer: int = 6
    # weight of how far two maskings of a clip are heard differently; 0: each clip is masked once
    consistency: float = 0.0
    freeze_convolutions: bool = False  # once they have learned: a step then takes a third less time
    # data
    # seconds that clips are padded to; with --compile COMPILED_BUCKETS
    buckets: tuple[float, ...] = (*(1.5 + 0.25 * i for i in range(26)), *(8.5 + i for i in range(9)))
    real: float = 0.05  # share of real clips
    neural: float = 0.0  # share of neural synthesisers among the synthetic ones; NEURAL says how it is dealt out
    espeak: float = 0.6  # share of espeak-ng among the synthetic ones that are not neural
    voiceless: float = 0.015  # share of clips in which nobody speaks, once it is no longer easy
    # loss: above it only short, clean, synthetic clips are read, with which CTC leaves its plateau and learns to
    # spell sooner
    easy_until: float = 0.7
    easy_seconds: float = 8.0
    longest_seconds: float = 16.0
    mask_time_prob: float = 0.05  # SpecAugment, once it is no longer easy
    mask_feature_prob: float = 0.0  # and of the features' channels
    dropout: float = 0.0  # of what a layer adds
    augmentation: Augmentation = field(default_factory=Augmentation)


# Model and letters


def save_processor(folder: Path) -> None:
    """Write the feature extractor and letters of facebook/hubert-large-ls960-ft, in files named as its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(IDS), encoding="utf-8")
    extractor = Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=SAMPLING_RATE, padding_value=0.0, do_normalize=True, return_attention_mask=True
    )
    tokenizer = Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"),
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        word_delimiter_token="|",
    )
    for part in (extractor, tokenizer):  # preprocessor_config.json, tokenizer_config.json
        part.save_pretrained(folder)


def make_config(s: Settings) -> HubertConfig:
    """A small HuBERT of hubert-large's make, by default without dropout: it underfits as it is."""
    return HubertConfig(
        vocab_size=len(SYMBOLS),
        hidden_size=s.hidden_size,
        num_hidden_layers=s.layers,
        num_attention_heads=s.heads,
        intermediate_size=s.intermediate_size,
        conv_dim=list(s.conv_dim),
        conv_bias=True,
        feat_extract_norm="layer",
        feat_proj_layer_norm=True,
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=s.position_kernel,
        num_conv_pos_embedding_groups=16,
        hidden_dropout=s.dropout,
        activation_dropout=0.0,
        attention_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=s.mask_time_prob,
        mask_time_length=10,
        mask_feature_prob=s.mask_feature_prob,
        ctc_loss_reduction="mean",
        ctc_zero_infinity=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def encode(text: str) -> list[int]:
    """Letter ids: "a b" -> [A, |, B]."""
    return [IDS["|" if letter == " " else letter] for letter in text.upper()]


def encode_phonemes(text: str) -> list[int]:
    """Phoneme ids of a sentence."""
    return [PHONEME_IDS[p] for p in phonemes(text) if p in PHONEME_IDS]


def padded(rows: Iterable[list[int]]) -> torch.Tensor:
    """Label ids as one tensor (B, longest), -100 after the ends."""
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row, dtype=torch.int64) for row in rows], batch_first=True, padding_value=-100
    )


# Batches

# seconds at most that a step counts as training: stopping the process for a while takes nothing from its schedule
PAUSE = 15.0
NO_AUGMENTATION = Augmentation(speed=0, reverb=0, lowpass=0, codec=0, equalizer=0, noise=0)


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded clips and their letters."""

    input_values: torch.Tensor  # float32 (B, n), each row of zero mean and unit variance, 0 after its end
    attention_mask: torch.Tensor  # int64 (B, n)
    labels: torch.Tensor  # int64 (B, letters), -100 after the end
    phonemes: torch.Tensor | None  # int64 (B, phonemes), -100 after the end
    # float32 (B, T, 288), the teacher's states at the model's frames, NaN where there are none
    taught: torch.Tensor | None
    seconds: float  # of audio, without padding


MADE = ("train-synthetic", "train-vocoded")  # how the names of parts begin that nobody spoke
NEURAL = {"kokoro": 0.7, "hibari": 0.18, "piper": 0.12}  # Kokoro has many speakers, the others one each


def load_clips(folder: Path, s: Settings) -> dict[str, list[Clip]]:
    """The training clips of each kind that are neither too long nor too short for their letters.

    Kinds are each corpus of recordings ("real NAME"), espeak-ng, each neural synthesiser, and "other" ones.
    """
    clips: dict[str, list[Clip]] = {kind: [] for kind in ("espeak", "other", *NEURAL)}
    for name in parts(folder, "train-"):
        for c in with_states(folder, name, read_part(folder, name)):
            if c.text and 0.03 * len(c.text) < c.seconds < s.longest_seconds:
                engine = c.voice.split()[0]
                made = engine if engine in clips else "other"
                kind = made if name.startswith(MADE) else f"real {c.voice}"
                clips.setdefault(kind, []).append(c)
    if not any(clips.values()):
        raise SystemExit(f"No training parts in {folder}: make them with training/speech.py --work-dir {folder}.")
    return clips


def draw_noise(rng: np.random.Generator) -> Clip:
    """A clip without a voice, loud or quiet."""
    kind = rng.choice(list(noises.KINDS), p=np.array(list(noises.KINDS.values())) / sum(noises.KINDS.values()))
    x = kind(rng, int(rng.uniform(1, 6) * SAMPLING_RATE)) * 10 ** (-rng.uniform(0, 40) / 20)
    return Clip((x * 32767).clip(-32768, 32767).astype(np.int16), "", kind.__name__)


def shares_of(clips: dict[str, list[Clip]], easy: bool, s: Settings) -> dict[str, float]:
    """How often a clip of each kind that is there is drawn.

    Corpora of recordings are drawn by the square roots of their clips, so that a small one counts.
    """
    ruled = 1 - s.neural  # of the synthetic clips: those by rules, diphones and statistics
    made = {
        "espeak": ruled * s.espeak,
        "other": ruled * (1 - s.espeak),
        **{engine: s.neural * share for engine, share in NEURAL.items()},
    }
    made = {kind: (1 - s.real) * share for kind, share in made.items() if clips[kind] and share * (1 - s.real) > 0}
    if easy and made:
        return made
    roots = {kind: math.sqrt(len(of_kind)) for kind, of_kind in clips.items() if kind.startswith("real ")}
    of_people = (s.real if made else 1.0) / sum(roots.values()) if roots else 0.0
    return made | {kind: of_people * root for kind, root in roots.items()}


def draw_clip(clips: dict[str, list[Clip]], easy: bool, s: Settings, rng: random.Random) -> Clip:
    """A random clip of a kind that is there."""
    shares = shares_of(clips, easy, s)
    while True:
        clip = rng.choice(clips[rng.choices(list(shares), shares.values())[0]])
        if not easy or clip.seconds < s.easy_seconds:
            return clip


Row = tuple[np.ndarray, str, np.ndarray | None]  # a waveform, its words, the teacher's states at the model's frames


def collate(rows: list[Row], seconds: float, s: Settings) -> Batch:
    """Waveforms normalised and padded to so many seconds, with their letters.

    Their phonemes and the teacher's states are there where these are wanted.
    """
    n = int(seconds * SAMPLING_RATE)
    values, mask = np.zeros((len(rows), n), np.float32), np.zeros((len(rows), n), np.int64)
    taught = np.full((len(rows), n_frames(n), WIDTH), np.nan, np.float32) if s.teacher_weight else None
    for i, (row, _, states) in enumerate(rows):
        values[i, : len(row)] = (row - row.mean()) / np.sqrt(row.var() + 1e-7)
        mask[i, : len(row)] = 1
        if taught is not None and states is not None:
            taught[i, : len(states)] = states
    texts = [text for _, text, _ in rows]
    return Batch(
        input_values=torch.from_numpy(values),
        attention_mask=torch.from_numpy(mask),
        labels=padded(map(encode, texts)),
        phonemes=padded(map(encode_phonemes, texts)) if s.phoneme_weight else None,
        taught=None if taught is None else torch.from_numpy(taught),
        seconds=sum(len(row) for row, _, _ in rows) / SAMPLING_RATE,
    )


def changed(clip: Clip, rng: np.random.Generator, a: Augmentation, taught: bool) -> Row:
    """A clip changed on the fly.

    The teacher heard it as it was; its states are where the change has put what they are of.
    """
    row, factor, before = augment_in_time(clip.samples, rng, a)
    if not taught or clip.taught is None:
        return row, clip.text, None
    middles = FRAME_STRIDE * np.arange(n_frames(len(row))) + FRAME_LENGTH // 2
    return row, clip.text, states_at(clip.taught, (middles - before) * factor)


def make_batches(clips: dict[str, list[Clip]], s: Settings, seed: int, easy: Callable[[], bool]) -> Iterator[Batch]:
    """Batches for ever: clips are drawn and changed one by one, and wait until the bucket of their length is full."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    waiting: dict[float, list[Row]] = {seconds: [] for seconds in s.buckets}
    while True:
        clip = draw_noise(noise) if rng.random() < s.voiceless and not easy() else draw_clip(clips, easy(), s, rng)
        row = changed(clip, noise, NO_AUGMENTATION if easy() else s.augmentation, s.teacher_weight > 0)
        seconds = next((b for b in s.buckets if len(row[0]) <= b * SAMPLING_RATE), None)
        if seconds is None:
            continue
        waiting[seconds].append(row)
        if len(waiting[seconds]) == max(1, int(s.batch_seconds / seconds)):
            yield collate(waiting[seconds], seconds, s)
            waiting[seconds] = []


def batches(clips: dict[str, list[Clip]], s: Settings, seed: int, easy: Callable[[], bool]) -> Iterator[Batch]:
    """The batches of `make_batches`, made by a thread while those before them are learned."""
    made = make_batches(clips, s, seed, easy)
    with ThreadPoolExecutor(1) as thread:
        ahead = deque(thread.submit(next, made) for _ in range(s.together))
        while True:
            ahead.append(thread.submit(next, made))
            yield ahead.popleft().result()


# Training


@dataclass
class State:
    """How far a training is; saved in its checkpoint."""

    spent: float = 0.0  # seconds
    step: int = 0
    easy: bool = True  # until the loss falls below `easy_until`
    audio: float = 0.0  # seconds of speech learned from
    log: list[dict] = field(default_factory=list)
    settings: dict = field(default_factory=dict)  # those it had last

    def count(self, audio: float, losses: deque[float], seconds: float, s: Settings, apart: deque[float]) -> None:
        """Take note of a step over so many seconds of audio; every hundred, log it."""
        self.step, self.audio, self.spent = self.step + 1, self.audio + audio, self.spent + seconds
        recent = list(losses)[-50:]
        self.easy = self.easy and not (len(recent) == 50 and np.mean(recent) < s.easy_until)
        if self.step % 100 == 0:
            row = {
                "step": self.step,
                "minutes": round(self.spent / 60, 2),
                "hours": round(self.audio / 3600, 3),
                "loss": round(float(np.mean(losses)), 4),
                "lr": round(lr_at(self.spent / (s.minutes * 60), self.step, s), 7),
                **({"apart": round(float(np.mean(apart)), 4)} if apart else {}),
            }
            self.log.append(row)
            print(row, f"{self.audio / self.spent:.1f} x real time", flush=True)


def lr_at(phase: float, step: int, s: Settings) -> float:
    """Warm-up by steps, the peak for a while, then a cosine over what is left of the time."""
    after = max(0.0, phase - s.hold) / (1 - s.hold)
    return s.peak_lr * min(1.0, (step + 1) / s.warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, after))) + 1e-6


class Learner(torch.nn.Module):
    """The model and what only training needs.

    That is heads for the phonemes and the teacher's states, on middle layers, and clips that are masked twice.
    """

    def __init__(self, model: HubertForCTC, s: Settings):
        super().__init__()
        self.model, self.layer, self.weight, self.consistency = model, s.phoneme_layer, s.phoneme_weight, s.consistency
        self.apart: deque[float] = deque(maxlen=200)  # from the teacher, of late
        if s.consistency:  # once the convolutions, which see no mask, are through
            projection = model.hubert.feature_projection
            projection.register_forward_hook(lambda module, inputs, features: features.repeat(2, 1, 1))
        norm, linear = torch.nn.LayerNorm(s.hidden_size), torch.nn.Linear(s.hidden_size, 1 + len(PHONEME_IDS))
        self.phonemes = torch.nn.Sequential(norm, linear)
        self.taught = TaughtHead(s.hidden_size)
        self.taught_layer, self.taught_weight = s.teacher_layer, s.teacher_weight

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch: of its letters, and shares of what else is learned.

        That is how far two maskings are apart, the loss of the phonemes, and how far a layer is from the teacher.
        """
        maskings = 2 if self.consistency else 1  # of each clip
        mask, labels, phonemes = (
            rows if rows is None else rows.to(self.model.device).repeat(maskings, 1)
            for rows in (batch.attention_mask, batch.labels, batch.phonemes)
        )
        heard = self.model.hubert(
            batch.input_values.to(self.model.device),
            attention_mask=mask,
            output_hidden_states=phonemes is not None or batch.taught is not None,
        )
        lengths = self.model._get_feat_extract_output_lengths(mask.sum(1))
        logits = self.model.lm_head(heard.last_hidden_state)
        loss = ctc_loss(logits, lengths, labels)
        if self.consistency:
            loss = loss + self.consistency * disagreement(logits, lengths, (labels >= 0).sum(1))
        if phonemes is not None:
            loss = loss + self.weight * ctc_loss(self.phonemes(heard.hidden_states[self.layer]), lengths, phonemes)
        if batch.taught is not None:
            states = batch.taught.to(self.model.device).repeat(maskings, 1, 1)
            apart = self.taught(heard.hidden_states[self.taught_layer], states)
            if not batch.taught[..., 0].isnan().all():
                self.apart.append(apart.item())
            loss = loss + self.taught_weight * apart
        return loss


class TaughtHead(torch.nn.Module):
    """What a middle layer's states say that the teacher's are, each of whose dimensions is taken in its own measure.

    H.-J. Chang and others, 2022, "DistilHuBERT: Speech representation learning by layer-wise distillation of
    hidden-unit BERT".
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.norm, self.linear = torch.nn.LayerNorm(hidden_size), torch.nn.Linear(hidden_size, WIDTH)
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.register_buffer("deviation", torch.ones(WIDTH))

    def measure(self, clips: dict[str, list[Clip]], seed: int) -> None:
        """Measure the teacher's dimensions on at most 200 clips of each kind, unless that has been done."""
        if self.mean.any():
            return
        some = [random.Random(seed).sample(of_kind, min(200, len(of_kind))) for of_kind in clips.values()]
        taught = [c.taught for of_kind in some for c in of_kind if c.taught is not None]
        if not taught:
            raise SystemExit(
                "--teacher-weight: no training part in --work-dir has a teacher's states. "
                "Write them with training/teacher.py."
            )
        rows = torch.from_numpy(np.concatenate(taught).astype(np.float32))
        self.mean.copy_(rows.mean(0))
        self.deviation.copy_(rows.std(0))

    def forward(self, states: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
        """The mean square error of states (B, T, D); 1 is what the teacher's mean alone would have.

        The teacher's states (B, T, 288) are NaN where it says nothing.
        """
        said = ~taught[..., :1].isnan()  # (B, T, 1)
        wanted = (taught.nan_to_num() - self.mean) / self.deviation
        # whole, not those frames alone: sizes that never come again would not be given back
        apart = (self.linear(self.norm(states)).float() - wanted).square() * said
        return apart.sum() / (said.sum() * WIDTH).clamp(min=1)


def disagreement(logits: torch.Tensor, lengths: torch.Tensor, letters: torch.Tensor) -> torch.Tensor:
    """How far the first half of a batch, logits (2 B, T, V), is from the second, the same clips masked otherwise.

    It is the divergence of each half from the other, held fast, summed over the frames, for each letter.
    Z. Yao and others, 2024, "CR-CTC: Consistency regularization on CTC for improved speech recognition".
    """
    a, b = logits.float().log_softmax(-1).chunk(2)  # (B, T, V)
    kl_div = partial(torch.nn.functional.kl_div, reduction="none", log_target=True)
    apart = kl_div(a, b.detach()).sum(-1) + kl_div(b, a.detach()).sum(-1)  # (B, T)
    heard = torch.arange(apart.shape[1], device=apart.device) < lengths[: len(a), None]
    return (apart * heard / letters[: len(a), None].clamp(min=1)).sum(1).mean() / 2


def ctc_loss(logits: torch.Tensor, lengths: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean CTC loss for each label of a clip, 0 being the blank.

    logits (B, T, V), lengths (B,), labels (B, N) with -100 after the ends -> ().
    """
    emissions, there = logits.transpose(0, 1).float().log_softmax(-1), labels >= 0
    return torch.nn.functional.ctc_loss(emissions, labels[there], lengths, there.sum(1), zero_infinity=True)


def save_checkpoint(path: Path, learner: Learner, optimizer: MuonAdamW, state: State) -> None:
    """Write the checkpoint whole or not at all."""
    torch.save(
        {
            "model": learner.model.state_dict(),
            "phonemes": learner.phonemes.state_dict(),
            "taught": learner.taught.state_dict(),
            "optimizer": optimizer.state_dict(),
            "state": json.dumps(asdict(state)),
        },
        path.with_suffix(".tmp"),
    )
    path.with_suffix(".tmp").replace(path)


def load_checkpoint(
    path: Path, model: HubertForCTC, learner: Learner | None = None, optimizer: MuonAdamW | None = None
) -> State:
    """Put a checkpoint's weights into the model, and what training needs besides into the learner and the optimizer."""
    saved = torch.load(path, map_location=model.device, weights_only=True)
    if optimizer is not None and "taught" not in saved:
        raise SystemExit(
            f"{path} was written before there were teachers. "
            f"Begin a new training with --init-from {path}, and another --checkpoint."
        )
    model.load_state_dict(saved["model"])
    if learner is not None:
        learner.phonemes.load_state_dict(saved["phonemes"])
        learner.taught.load_state_dict(saved["taught"])
    if optimizer is not None:
        optimizer.load_state_dict(saved["optimizer"])
    return State(**json.loads(saved["state"]))


def step(
    learner: Learner, optimizer: MuonAdamW, batches: list[Batch], lr: float, s: Settings, pool: ThreadPoolExecutor
) -> float:
    """Learn from batches, each read by a thread of its own, at a learning rate; returns their mean loss."""
    loss = learn(learner, learner, batches, pool)
    torch.nn.utils.clip_grad_norm_(learner.parameters(), s.clip_norm)
    optimizer.step(lr)
    return loss


def grown(weights: HubertForCTC, s: Settings) -> HubertForCTC:
    """A model of the settings' size that computes just what smaller `weights` do.

    Its further layers add nothing until they have learned to.
    """
    if weights.config.num_hidden_layers > s.layers:
        raise SystemExit(
            f"--init-from: its weights have {weights.config.num_hidden_layers} layers and --layers says {s.layers}; "
            "layers can be added, not taken away."
        )
    model = HubertForCTC(make_config(s))
    missing = model.load_state_dict(weights.state_dict(), strict=False).missing_keys
    for layer in model.hubert.encoder.layers[weights.config.num_hidden_layers :]:
        for last in (layer.attention.out_proj, layer.feed_forward.output_dense):
            torch.nn.init.zeros_(last.weight)
            torch.nn.init.zeros_(last.bias)
    if any(not name.startswith("hubert.encoder.layers.") for name in missing):
        raise SystemExit(
            f"--init-from: its weights lack {missing[0]}; only the number of layers may differ from the settings."
        )
    return model


def compile_parts(model: HubertForCTC) -> None:
    """Compile what is called for every batch, part by part, so that equal layers share their code.

    What that is worth depends on the CPU.
    """
    hubert = model.hubert
    convolutions = () if isinstance(hubert.feature_extractor, RowsEncoder) else hubert.feature_extractor.conv_layers
    for part in (*convolutions, hubert.feature_projection, hubert.encoder.pos_conv_embed, *hubert.encoder.layers):
        part.compile(dynamic=False)
    torch._dynamo.config.cache_size_limit = 1000  # every bucket is a shape of its own


def load_weights(path: Path, s: Settings) -> HubertForCTC:
    """The weights of a folder, or of a checkpoint, in a model of the settings' size."""
    if not path.exists():
        raise SystemExit(f"{path} is not there. Name a folder of weights or a checkpoint.")
    if path.is_dir():
        return grown(HubertForCTC.from_pretrained(path, dtype=torch.float32), s)
    weights = torch.load(path, map_location="cpu", weights_only=True)["model"]
    layers = 1 + max(int(name.split(".")[3]) for name in weights if name.startswith("hubert.encoder.layers."))
    model = HubertForCTC(make_config(replace(s, layers=layers)))
    model.load_state_dict(weights)
    return grown(model, s)


def begin(
    s: Settings, init_from: Path | None, checkpoint: Path, pool: ThreadPoolExecutor
) -> tuple[Learner, MuonAdamW, State]:
    """What a training starts with: its checkpoint where there is one, else other weights or random ones."""
    model = load_weights(init_from, s) if init_from else HubertForCTC(make_config(s))
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").train()
    if model.device.type == "cpu":
        model.set_attn_implementation("eager")  # learns a sixth faster here than with PyTorch's fused attention
        quicken(model)
    learner = Learner(model, s).to(model.device)
    if init_from and init_from.is_file():
        # of the file only the heads are read
        saved = torch.load(init_from, map_location=model.device, weights_only=True, mmap=True)
        learner.phonemes.load_state_dict(saved["phonemes"])
        if "taught" in saved:
            learner.taught.load_state_dict(saved["taught"])
    optimizer = MuonAdamW(learner, model.hubert.encoder.layers, s.weight_decay, pool, s.together, s.matrix_lr)
    state = load_checkpoint(checkpoint, model, learner, optimizer) if checkpoint.exists() else State()
    if s.freeze_convolutions:
        model.freeze_feature_encoder()
    return learner, optimizer, state


def train(
    s: Settings, folder: Path, init_from: Path | None, checkpoint: Path, compiled: bool
) -> tuple[HubertForCTC, State]:
    """Train until the time is spent; goes on from `checkpoint` when it exists."""
    torch.manual_seed(s.seed)
    pool = ThreadPoolExecutor(s.together, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),))
    learner, optimizer, state = begin(s, init_from, checkpoint, pool)
    model, state.settings = learner.model, asdict(s)
    if compiled:
        compile_parts(model)
    clips, tests = load_clips(folder, s), load_tests(folder, at_most=20)
    million, n_clips = sum(p.numel() for p in model.parameters()) / 1e6, {k: len(v) for k, v in clips.items()}
    print(f"{million:.2f} M parameters, clips: {n_clips}", flush=True)
    if s.teacher_weight:
        learner.taught.measure(clips, s.seed)
    stream, losses = batches(clips, s, s.seed + state.step, easy=lambda: state.easy), deque(maxlen=100)
    last = saved = measured = time.monotonic()
    while (phase := state.spent / (s.minutes * 60)) < 1:
        model.config.mask_time_prob = 0.0 if state.easy else s.mask_time_prob
        drawn = [next(stream) for _ in range(s.together)]
        losses.append(step(learner, optimizer, drawn, lr_at(phase, state.step, s), s, pool))
        now = time.monotonic()
        state.count(sum(b.seconds for b in drawn), losses, min(now - last, PAUSE), s, learner.apart)
        last = now
        if now - measured > 400:
            state.log[-1:] = [{**row, "wer": quick_wer(model, tests)} for row in state.log[-1:]]
            print(state.log[-1:], flush=True)
            measured = last = time.monotonic()  # measuring is not training time
        if now - saved > 180:
            save_checkpoint(checkpoint, learner, optimizer, state)
            saved = last = time.monotonic()
    save_checkpoint(checkpoint, learner, optimizer, state)
    return model, state


# Measuring


def load_tests(folder: Path, at_most: int = 10**9) -> dict[str, list[Clip]]:
    """Every test part, without a sentence that any training part holds."""
    trained = {clip.text for name in parts(folder, "train-") for clip in read_part(folder, name)}
    tests = {
        name: [c for c in read_part(folder, name) if c.text and c.text not in trained]
        for prefix in ("test-", "dev-")
        for name in parts(folder, prefix)
    }
    return {name: clips[:at_most] for name, clips in tests.items()}


def greedy_text(ids: list[int]) -> str:
    """The reading of the likeliest letter of each frame: repeats merged, blanks and marks dropped, in lower case."""
    kept = [SYMBOLS[i] for at, i in enumerate(ids) if i > 3 and (at == 0 or ids[at - 1] != i)]
    return " ".join("".join(kept).replace("|", " ").lower().split())


@torch.inference_mode()
def read_clips(model: HubertForCTC, clips: list[Clip]) -> list[str]:
    """What the model hears, clip by clip."""
    return [greedy_text(logits_of(model, clip).argmax(-1).tolist()) for clip in clips]  # (T, V) -> (T,)


def logits_of(model: HubertForCTC, clip: Clip) -> torch.Tensor:
    """The model's logits of one clip, without padding: (T, V)."""
    x = clip.samples.astype(np.float32)
    x = torch.from_numpy((x - x.mean()) / np.sqrt(x.var() + 1e-7))[None].to(model.device, model.dtype)  # (1, n)
    return model(x).logits[0]


def score(clips: list[Clip], heard: list[str]) -> dict[str, float]:
    """Word and letter error rates over all clips together, and the share of sentences heard without an error."""
    words = sum(len(c.text.split()) for c in clips)
    wrong_words = sum(edit_distance(c.text.split(), h.split()) for c, h in zip(clips, heard, strict=True))
    wrong_letters = sum(edit_distance(list(c.text), list(h)) for c, h in zip(clips, heard, strict=True))
    exact = sum(c.text == h for c, h in zip(clips, heard, strict=True))
    return {
        "clips": len(clips),
        "words": words,
        "wer": round(100 * wrong_words / words, 1),
        "cer": round(100 * wrong_letters / sum(len(c.text) for c in clips), 1),
        "exact": round(100 * exact / len(clips), 1),
    }


def quick_wer(model: HubertForCTC, tests: dict[str, list[Clip]]) -> dict[str, float]:
    """Word error rate, in percent, of each test, in the midst of training.

    A copy reads them, whose layers are not compiled anew for every length.
    """
    copy = HubertForCTC(model.config).to(model.device).eval()
    copy.load_state_dict(model.state_dict())
    return {name: score(clips, read_clips(copy, clips))["wer"] for name, clips in tests.items() if clips}


def evaluate(model_folder: Path, folder: Path, dtype: torch.dtype, examples: int) -> dict[str, dict]:
    """Measure exported weights on every test part, as the service loads them."""
    model = HubertForCTC.from_pretrained(model_folder, dtype=dtype).eval()
    results = {}
    for name, clips in load_tests(folder).items():
        heard = read_clips(model, clips)
        results[name] = score(clips, heard)
        print(f"{name:36} {results[name]}", flush=True)
        for clip, text in list(zip(clips, heard, strict=True))[:examples]:
            print(f"    {clip.voice:22} {clip.text}\n    {'':22} {text}", flush=True)
    return results


@torch.inference_mode()
def search_clips(model: HubertForCTC, clips: list[Clip], language_model: Path, n: int = 16) -> list[dict]:
    """What the service makes of the clips with a folder's language model.

    That is the greedy reading, and its beam search's n best, each with its score and its language model's part of it.
    """
    search = BeamSearch.from_pretrained(str(language_model), SYMBOLS)
    rows = []
    for clip in clips:
        emissions = logits_of(model, clip).log_softmax(-1).numpy()  # (T, V)
        greedy = greedy_text(emissions.argmax(-1).tolist())
        found = weighed_again(search(emissions, ReadingConfig.listed, "", greedy), n)
        readings = [[h.text, round(h.total, 3), round(h.lm, 3)] for h in found]
        rows.append({"heard": greedy, "readings": readings})
    return rows


HEARD = Augmentation(noise=0.75, snr_range=(0.0, 25.0))  # noisier than what is learned: Llama must meet what goes wrong


def hear(weights: Path, s: Settings, folder: Path, n: int, out: Path, language_model: Path | None) -> None:
    """Write what weights (a checkpoint, or a folder) hear in `n` augmented training clips.

    The lines {"text", "heard"}, with "readings" of the search where it has a language model, are train_llama.py's
    --hypotheses.
    """
    model = load_weights(weights, s).eval()
    clips, rng = load_clips(folder, s), np.random.default_rng(s.seed)
    spoken = [c for kind, of_kind in clips.items() if not kind.startswith("real ") for c in of_kind]
    drawn = random.Random(s.seed).sample(spoken, min(n, len(spoken)))
    noisy = [replace(c, samples=augment(c.samples, rng, HEARD)) for c in drawn]
    if language_model:
        heard = search_clips(model, noisy, language_model)
    else:
        heard = [{"heard": text} for text in read_clips(model, noisy)]
    rows = [{"text": c.text, **row} for c, row in zip(noisy, heard, strict=True)]
    out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{out}: {len(rows)} clips, word error rate {score(noisy, [row['heard'] for row in rows])['wer']} %")


# Export


def export(model: HubertForCTC, state: State, s: Settings, out: Path, more: dict[str, float] | None = None) -> None:
    """Save bf16 weights, letters, settings and log as the hub's checkpoints are laid out."""
    save_processor(out)
    model.config.mask_time_prob = s.mask_time_prob
    model.to(torch.bfloat16).save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)  # written for the owner alone, but it goes into a package
    told = {
        "settings": state.settings or asdict(s),
        "steps": state.step,
        "hours_of_speech_seen": round(state.audio / 3600, 2),
        "minutes_spent": round(state.spent / 60, 1),
        "torch": torch.__version__,
        **(more or {}),
    }
    (out / "training_args.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    (out / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in state.log), encoding="utf-8")


def export_checkpoint(s: Settings, checkpoint: Path, out: Path, before: Path | None = None, share: float = 1.0) -> None:
    """Export what a checkpoint holds; or so large a share of it, the rest being the weights that it began with.

    Between the two lie models that hear the old voices nearly as well as before and the new ones as well as the last
    (M. Wortsman and others, 2022, "Robust fine-tuning of zero-shot models").
    """
    model = HubertForCTC(make_config(s))
    state = load_checkpoint(checkpoint, model)
    if before:
        old, new = load_weights(before, s).state_dict(), model.state_dict()
        model.load_state_dict({name: torch.lerp(old[name], weight, share) for name, weight in new.items()})
    export(model, state, s, out, {"share_of_these_weights": share} if before else {})


# Command line


def parse_args() -> argparse.Namespace:
    """The command line; every number of `Settings` has its flag."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_files(parser)
    add_measuring(parser)
    settings = parser.add_argument_group("settings")
    for f in fields(Settings):
        if f.name not in ("conv_dim", "buckets", "augmentation"):
            is_flag = isinstance(f.default, bool)
            kind = {"action": argparse.BooleanOptionalAction} if is_flag else {"type": type(f.default)}
            name = "--" + f.name.replace("_", "-")
            settings.add_argument(name, **kind, default=f.default, help=f"default {f.default}")
    return parser.parse_args()


def add_files(parser: argparse.ArgumentParser) -> None:
    """The options that say where things lie, and how the machine is used."""
    where = parser.add_argument_group("files")
    where.add_argument(
        "--work-dir",
        type=Path,
        required=True,
        help="folder of training/speech.py's parts; the checkpoint lies there too",
    )
    where.add_argument("--checkpoint", type=Path, help="checkpoint file (default: checkpoint.pt in --work-dir)")
    where.add_argument("--out", type=Path, help="folder to export weights to")
    where.add_argument(
        "--init-from",
        type=Path,
        help="start from the weights of this folder or checkpoint, not from random ones; "
        "--hear without a checkpoint hears with them",
    )
    where.add_argument(
        "--threads",
        type=int,
        default=1,
        help="CPU threads; these layers are so small that one is nearly as fast as two",
    )
    where.add_argument(
        "--compile",
        action="store_true",
        help="compile the layers, which helps some CPUs, after some minutes; needs a C++ compiler and Python's headers",
    )


def add_measuring(parser: argparse.ArgumentParser) -> None:
    """The options of what is done instead of training."""
    do = parser.add_argument_group("instead of training")
    do.add_argument("--export", action="store_true", help="only write the checkpoint to --out")
    do.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="how much of the checkpoint --export takes; the rest are those that --init-from names",
    )
    do.add_argument("--evaluate", type=Path, metavar="FOLDER", help="only measure the weights of FOLDER")
    do.add_argument(
        "--hear",
        type=Path,
        metavar="FILE",
        help="only write what the checkpoint hears in training clips: the mishearings that train_llama.py learns from",
    )
    do.add_argument(
        "--language-model",
        type=Path,
        metavar="FOLDER",
        help="let --hear also read as the service does, by beam search with the language model of this exported HuBERT",
    )
    do.add_argument("--clips", type=int, default=6000, help="how many clips --hear reads")
    do.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="what --evaluate computes in")
    do.add_argument("--examples", type=int, default=0, help="clips of each test that --evaluate shows")


def main() -> None:
    """Train and export, or one of the two, or measure."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    if args.share < 1 and not args.init_from:
        raise SystemExit("--share: of what is the rest? Name the weights before with --init-from.")
    s = replace(
        Settings(),
        **{f.name: getattr(args, f.name) for f in fields(Settings) if hasattr(args, f.name)},
        buckets=COMPILED_BUCKETS if args.compile else Settings.buckets,
    )
    checkpoint = args.checkpoint or args.work_dir / "checkpoint.pt"
    if args.evaluate:
        evaluate(args.evaluate, args.work_dir, getattr(torch, args.dtype), args.examples)
    elif args.hear:
        weights = args.init_from if args.init_from and not checkpoint.exists() else checkpoint
        hear(weights, s, args.work_dir, args.clips, args.hear, args.language_model)
    elif args.export:
        export_checkpoint(s, checkpoint, args.out, args.init_from if args.share < 1 else None, args.share)
    else:
        model, state = train(s, args.work_dir, args.init_from, checkpoint, args.compile)
        if args.out:
            export(model, state, s, args.out)


if __name__ == "__main__":
    main()
