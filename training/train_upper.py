"""Go on with HuBERT-mini's upper layers alone, on a CPU, on what the lower ones make of speech, which is computed once and kept.

    python training/train_upper.py --work-dir build/speech-11 --init-from hubert_llama/mini/hubert --frozen-layers 5 --layers 13 --hours 34 --minutes 70 --out build/hubert-10

The lower layers hear and the upper ones spell. What the lower ones make of so many hours of augmented clips fills some gigabytes
(96 MB an hour) and is kept in --work-dir; a step through the upper layers then costs neither convolutions nor the lower layers nor
augmentation. Settings, schedule and checkpoint are those of train_hubert.py, whose --export, --evaluate and --hear serve for what this leaves.
"""

import argparse
import copy
import hashlib
import json
import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from optimizer import MuonAdamW, half_precision
from speech import parts
from tqdm import tqdm
from train_hubert import Batch, Settings, State, batches, ctc_loss, export, load_checkpoint, load_clips, load_tests, load_weights, quick_wer, quicken, save_checkpoint, spend, step
from transformers import HubertForCTC

UNUSED = ("conv_dim", "phoneme_weight", "phoneme_layer", "consistency", "freeze_convolutions", "buckets", "easy_until", "easy_seconds", "mask_feature_prob", "augmentation")  # settings that say nothing here
OF_LESSONS = ("seed", "batch_seconds", "buckets", "real", "neural", "espeak", "voiceless", "longest_seconds", "augmentation")  # and those that lessons depend on


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
        del self.model.lm_head

    @torch.no_grad()
    def forward(self, batch: Batch) -> Lesson:
        """What the upper layers are given."""
        with half_precision(batch.input_values.device):
            heard = self.model.hubert(batch.input_values, attention_mask=batch.attention_mask).last_hidden_state
        return Lesson(heard.to(torch.bfloat16), self.model._get_feat_extract_output_lengths(batch.attention_mask.sum(1)), batch.labels, batch.seconds)

    def fingerprint(self) -> str:
        """Sixteen letters that stand for the weights."""
        seen = hashlib.sha256()
        for name, weight in sorted(self.state_dict().items()):
            seen.update(name.encode() + weight.float().numpy().tobytes())
        return seen.hexdigest()[:16]


class Upper(torch.nn.Module):
    """The upper layers and the letters, in training: what is learned."""

    def __init__(self, model: HubertForCTC, frozen: int, mask_time_prob: float):
        super().__init__()
        encoder = model.hubert.encoder
        self.layers, self.layer_norm, self.lm_head = encoder.layers[frozen:], encoder.layer_norm, model.lm_head
        self.mask_time_prob = mask_time_prob

    def forward(self, lesson: Lesson) -> torch.Tensor:
        """The CTC loss of a lesson, some of its time masked."""
        hidden = lesson.hidden.float()  # (B, T, D)
        sound = torch.arange(hidden.shape[1]) < lesson.lengths[:, None]  # (B, T)
        hidden = hidden * (sound & ~spans(*sound.shape, self.mask_time_prob))[..., None]
        bias = torch.where(sound, 0.0, torch.finfo(torch.float32).min)[:, None, None]  # (B, 1, 1, T)
        for layer in self.layers:
            hidden = layer(hidden, attention_mask=bias)
        return ctc_loss(self.lm_head(self.layer_norm(hidden)), lesson.lengths, lesson.labels)


def spans(rows: int, frames: int, share: float, length: int = 10) -> torch.Tensor:
    """Where about so large a share of the frames lies in spans of so many, at random: bool (rows, frames)."""
    starts = (torch.rand(rows, 1, frames) < share / length).float()
    return torch.nn.functional.max_pool1d(torch.nn.functional.pad(starts, (length - 1, 0)), length, 1)[:, 0] > 0


def kept_lessons(path: Path, made_by: dict) -> list[Lesson] | None:
    """The lessons of a file, which stay on disk until used; None where there is none."""
    if not path.exists():
        return None
    kept = torch.load(path, weights_only=True, mmap=True)
    if json.loads(kept["made_by"]) != json.loads(json.dumps(made_by)):
        raise SystemExit(f"{path} was made with other lower layers, recordings or settings: delete it, or name another --work-dir or --seed.")
    return [Lesson(*row) for row in kept["lessons"]]


def listen(lower: Lower, s: Settings, hours: float, folder: Path, pool: ThreadPoolExecutor) -> list[Lesson]:
    """So many hours of lessons of the folder's clips, made once."""
    made_by = {"lower": lower.fingerprint(), "hours": hours, "parts": {name: (folder / f"{name}.pcm").stat().st_size for name in parts(folder, "train-")}, **{name: asdict(s)[name] for name in OF_LESSONS}}
    path = folder / f"lessons-{s.seed}.pt"
    if (lessons := kept_lessons(path, made_by)) is None:
        stream, rows, seconds = batches(load_clips(folder, s), s, s.seed, easy=lambda: False), [], 0.0
        waiting = deque(pool.submit(lower, next(stream)) for _ in range(s.together))
        with tqdm(total=round(hours * 3600), unit="s", desc="the lower layers listen", mininterval=20) as bar:
            while seconds < hours * 3600:
                lesson = waiting.popleft().result()
                rows.append((lesson.hidden, lesson.lengths, lesson.labels, lesson.seconds))
                seconds += lesson.seconds
                bar.update(lesson.seconds)
                waiting.append(pool.submit(lower, next(stream)))
        torch.save({"made_by": json.dumps(made_by), "lessons": rows}, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
        lessons = kept_lessons(path, made_by)
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
    upper = Upper(model, frozen, s.mask_time_prob).train()
    optimizer = MuonAdamW(upper, upper.layers, s.weight_decay, pool, s.together, s.matrix_lr)
    state = load_checkpoint(checkpoint, model, optimizer=optimizer) if checkpoint.exists() else State(easy=False)
    lessons, tests = listen(Lower(model, frozen), s, hours, folder, pool), load_tests(folder, at_most=20)
    print(f"{sum(p.numel() for p in upper.parameters()) / 1e6:.2f} of {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters learn, {sum(x.seconds for x in lessons) / 3600:.1f} h of lessons", flush=True)
    stream = shuffled(lessons, s.seed + state.step)

    def learn_next(lr: float) -> tuple[float, float]:
        """One step."""
        drawn = [next(stream) for _ in range(s.together)]
        return step(upper, optimizer, drawn, lr, s, pool), sum(x.seconds for x in drawn)

    spend(s, state, learn_next, lambda: quick_wer(model, tests), lambda: save_checkpoint(checkpoint, model, optimizer, state))
    return model, state


def parse_args() -> argparse.Namespace:
    """The command line; every number of train_hubert.py's `Settings` that says something here has its flag."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of training/speech.py's parts; checkpoint and lessons lie there too")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint file (default: upper.pt in --work-dir)")
    parser.add_argument("--init-from", type=Path, required=True, help="the weights to go on with: a folder, or a checkpoint")
    parser.add_argument("--out", type=Path, help="folder to export weights to")
    parser.add_argument("--frozen-layers", type=int, default=5, help="how many layers stay as they are (default: %(default)s)")
    parser.add_argument("--hours", type=float, default=34.0, help="of augmented speech that the lower layers listen to (default: %(default)g)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each batch (default: %(default)s)")
    settings = parser.add_argument_group("settings")
    for f in fields(Settings):
        if f.name not in UNUSED:
            settings.add_argument("--" + f.name.replace("_", "-"), type=type(f.default), default=f.default, help=f"default {f.default}")
    args = parser.parse_args()
    if not 0 < args.frozen_layers < args.layers:
        parser.error(f"--frozen-layers {args.frozen_layers}: of --layers {args.layers} at least one has to stay and one to learn.")
    return args


def main() -> None:
    """Train, and export where that is asked for."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    s = Settings(phoneme_weight=0.0, freeze_convolutions=True)
    s = replace(s, **{f.name: getattr(args, f.name) for f in fields(Settings) if f.name not in UNUSED})
    model, state = train(s, args.work_dir, args.init_from, args.checkpoint or args.work_dir / "upper.pt", args.frozen_layers, args.hours)
    if args.out:
        export(model, state, s, args.out, {"frozen_layers": args.frozen_layers, "hours_of_lessons": args.hours})


if __name__ == "__main__":
    main()
