"""Go on with HuBERT-mini's upper layers alone, on what the lower ones make of speech, which is computed once and kept.

    python training/train_upper.py --work-dir build/speech-11 --init-from hubert_llama/mini/hubert --frozen-layers 5 --layers 13 --hours 42 --minutes 70 --real 0.28 --out build/hubert-10

The lower layers hear and the upper ones spell. What the lower ones make of so many hours of augmented clips fills some gigabytes
(92 MB an hour) and is kept in --work-dir; a step through the upper layers then costs neither convolutions nor the lower layers nor
augmentation. Settings, schedule and checkpoint are those of train_hubert.py, whose --export, --evaluate and --hear serve for what this leaves.
"""

import argparse
import copy
import random
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from optimizer import MuonAdamW, half_precision, learn
from tqdm import tqdm
from train_hubert import PAUSE, Batch, Settings, State, batches, ctc_loss, export, load_checkpoint, load_clips, load_tests, load_weights, lr_at, quick_wer, quicken, save_checkpoint
from transformers import HubertForCTC


@dataclass(frozen=True, eq=False)
class Lesson:
    """A batch as the lower layers heard it."""

    hidden: torch.Tensor  # bfloat16 (B, T, D), what goes into the first of the upper layers
    lengths: torch.Tensor  # int64 (B,), frames that are sound
    labels: torch.Tensor  # int64 (B, letters), -100 after the end
    seconds: float  # of audio, without padding


class Lower(torch.nn.Module):
    """A copy of convolutions and lower layers, for evaluation."""

    def __init__(self, model: HubertForCTC, layers: int):
        super().__init__()
        self.model = copy.deepcopy(model).eval()
        encoder = self.model.hubert.encoder
        encoder.layers, encoder.layer_norm = encoder.layers[:layers], torch.nn.Identity()

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Lesson:
        """What the upper layers are given."""
        with half_precision(self.model.device):
            heard = self.model.hubert(batch.input_values.to(self.model.device), attention_mask=batch.attention_mask.to(self.model.device)).last_hidden_state
        lengths = self.model._get_feat_extract_output_lengths(batch.attention_mask.sum(1))
        return Lesson(heard.to(torch.bfloat16).cpu(), lengths, batch.labels, batch.seconds)


class Upper(torch.nn.Module):
    """The upper layers and the letters, in training: what is learned."""

    def __init__(self, model: HubertForCTC, frozen: int, mask_time_prob: float):
        super().__init__()
        encoder = model.hubert.encoder
        self.layers, self.layer_norm, self.lm_head = encoder.layers[frozen:], encoder.layer_norm, model.lm_head
        self.mask_time_prob = mask_time_prob

    def forward(self, lesson: Lesson) -> torch.Tensor:
        """The CTC loss of a lesson, some of its time masked."""
        hidden = lesson.hidden.to(self.lm_head.weight.device).float()  # (B, T, D)
        sound = torch.arange(hidden.shape[1]) < lesson.lengths[:, None]  # (B, T)
        hidden = hidden * (sound & ~spans(*sound.shape, self.mask_time_prob)).to(hidden.device)[..., None]
        bias = torch.where(sound, 0.0, torch.finfo(torch.float32).min)[:, None, None].to(hidden.device)  # (B, 1, 1, T)
        for layer in self.layers:
            made = layer(hidden, attention_mask=bias)
            hidden = made[0] if isinstance(made, tuple) else made
        return ctc_loss(self.lm_head(self.layer_norm(hidden)), lesson.lengths, lesson.labels)


def spans(rows: int, frames: int, share: float, length: int = 10) -> torch.Tensor:
    """Where about so large a share of the frames lies in spans of ten, at random: bool (rows, frames)."""
    starts = (torch.rand(rows, 1, frames) < share / length).float()
    return torch.nn.functional.max_pool1d(torch.nn.functional.pad(starts, (length - 1, 0)), length, 1)[:, 0] > 0


def listen(model: HubertForCTC, s: Settings, frozen: int, hours: float, folder: Path, pool: ThreadPoolExecutor) -> list[Lesson]:
    """So many hours of lessons of the folder's clips; kept there, and taken from there where they are."""
    kept = folder / f"lessons-{frozen}-{s.seed}.pt"
    if kept.exists():
        return [Lesson(*row) for row in torch.load(kept, weights_only=True, mmap=True)]
    stream, lower, lessons = batches(load_clips(folder, s), replace(s, phoneme_weight=0.0, together=4), s.seed, easy=lambda: False), Lower(model, frozen), []
    with tqdm(total=round(hours * 3600), unit="s", desc="the lower layers listen", mininterval=20) as bar:
        waiting = deque(pool.submit(lower, next(stream)) for _ in range(s.together))
        while bar.n < hours * 3600:
            waiting.append(pool.submit(lower, next(stream)))
            lessons.append(waiting.popleft().result())
            bar.update(lessons[-1].seconds)
    torch.save([(x.hidden, x.lengths, x.labels, x.seconds) for x in lessons], kept)
    return lessons


def shuffled(lessons: list[Lesson], seed: int) -> Iterator[Lesson]:
    """Lessons for ever, every time round in another order."""
    rng = random.Random(seed)
    while True:
        yield from rng.sample(lessons, len(lessons))


def train(s: Settings, folder: Path, init_from: Path, checkpoint: Path, frozen: int, hours: float) -> tuple[HubertForCTC, State]:
    """Train the layers above the frozen ones until the time is spent; goes on from `checkpoint` when it exists."""
    torch.manual_seed(s.seed)
    pool = ThreadPoolExecutor(s.together, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),))
    model = load_weights(init_from, s)
    model.set_attn_implementation("eager")
    quicken(model)
    lessons = listen(model, s, frozen, hours, folder, pool)
    upper = Upper(model, frozen, s.mask_time_prob).train()
    optimizer = MuonAdamW(upper, upper.layers, s.weight_decay, pool, s.together, s.matrix_lr)
    state = State(easy=False)
    if checkpoint.exists():
        state = load_checkpoint(checkpoint, model, optimizer=optimizer)
    tests = load_tests(folder, at_most=20)
    print(f"{sum(p.numel() for p in upper.parameters()) / 1e6:.2f} of {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters learn, {sum(x.seconds for x in lessons) / 3600:.1f} h of lessons", flush=True)

    stream, losses = shuffled(lessons, s.seed + state.step), deque(maxlen=100)
    last = saved = measured = time.monotonic()
    while (phase := state.spent / (s.minutes * 60)) < 1:
        drawn = [next(stream) for _ in range(s.together)]
        losses.append(learn(upper, upper, drawn, pool))
        torch.nn.utils.clip_grad_norm_(upper.parameters(), s.clip_norm)
        optimizer.step(lr_at(phase, state.step, s))
        now = time.monotonic()
        state.count(sum(x.seconds for x in drawn), losses, min(now - last, PAUSE), s)
        last = now
        if now - measured > 400:
            state.log[-1:] = [{**row, "wer": quick_wer(model, tests)} for row in state.log[-1:]]
            print(state.log[-1:], flush=True)
            measured = last = time.monotonic()
        if now - saved > 180:
            save_checkpoint(checkpoint, model, optimizer, state)
            saved = last = time.monotonic()
    save_checkpoint(checkpoint, model, optimizer, state)
    return model, state


def parse_args() -> argparse.Namespace:
    """The command line; every number of train_hubert.py's `Settings` has its flag here too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of training/speech.py's parts; checkpoint and lessons lie there too")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint file (default: upper.pt in --work-dir)")
    parser.add_argument("--init-from", type=Path, required=True, help="the weights to go on with: a folder, or a checkpoint")
    parser.add_argument("--out", type=Path, help="folder to export weights to")
    parser.add_argument("--frozen-layers", type=int, default=5, help="how many layers stay as they are")
    parser.add_argument("--hours", type=float, default=42.0, help="of augmented speech that the lower layers listen to")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each batch")
    settings = parser.add_argument_group("settings")
    for f in fields(Settings):
        if f.name not in ("conv_dim", "buckets", "augmentation"):
            kind = {"action": argparse.BooleanOptionalAction} if isinstance(f.default, bool) else {"type": type(f.default)}
            settings.add_argument("--" + f.name.replace("_", "-"), **kind, default=f.default, help=f"default {f.default}")
    return parser.parse_args()


def main() -> None:
    """Train, and export where that is asked for."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    s = replace(Settings(), **{f.name: getattr(args, f.name) for f in fields(Settings) if hasattr(args, f.name)})
    model, state = train(s, args.work_dir, args.init_from, args.checkpoint or args.work_dir / "upper.pt", args.frozen_layers, args.hours)
    if args.out:
        export(model, state, s, args.out)


if __name__ == "__main__":
    main()
