"""Teach a small chat model a tutor's manners and the curriculum's facts: a LoRA on turns in the service's own words.

    python training/tutor_lora.py --minutes 30
    python training/tutor_lora.py --minutes 30 --bridge conversations/bridge/dataset/train.json
    python training/tutor_lora.py --evaluate

The turns are the curriculum's (training/tutor.py): facts, sums, pages with quotes, follow-ups in one conversation,
and what nobody can know, which is declined. `--bridge` adds real exchanges with pupils as experts rewrote them
(R. Wang and others, 2024; MIT). A question is shown as the service shows it: as it was heard, without a question mark.
Stop it whenever you like (SIGTERM, Ctrl-C): it saves, and the same command goes on. The folder is an adapter in PEFT's
format, which `ChatLlama.from_pretrained(…, adapter=folder)` adds to the weights.
"""

import argparse
import json
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from tutor import Material, Turn, load_material, make_lesson

from hubert_llama.chat import Message
from hubert_llama.course.prompt import conversation
from hubert_llama.models import hub
from hubert_llama.styles import PromptStyle, style_for
from hubert_llama.words.repair import tidy

MATRICES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Settings:
    """Everything the adapter depends on, besides the conversations; saved beside it."""

    seed: int = 0
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    lr: float = 3e-4
    final_lr: float = 0.1  # of the learning rate, what is left at the end
    warmup: int = 10  # steps
    together: int = 8  # conversations in a step
    longest: int = 512  # tokens of a conversation
    bridge_share: float = 0.15  # share of real exchanges, where there are any
    typed: float = 0.3  # share of questions with their punctuation, as a keyboard gives them
    followed: float = 0.4  # share of turns with others before them


# Conversations


@dataclass(frozen=True)
class Example:
    """A conversation, and the answer that is learned."""

    messages: list[Message]
    answer: str


def asked(turn: Turn, rng: random.Random, s: Settings) -> str:
    """The question as the service shows it."""
    return turn.transcript if rng.random() < s.typed else tidy(turn.heard)


def lesson(rng: random.Random, material: Material, style: PromptStyle, s: Settings) -> Example | None:
    """A turn of the curriculum, at times after others; None where it has no answer."""
    turns = [turn.quoting() for turn in make_lesson(rng, material, 3 if rng.random() < s.followed else 1)]
    *before, last = [turn for turn in turns if turn.response] or [None]
    if last is None:
        return None
    history = [(asked(turn, rng, s), turn.response) for turn in before]
    question = asked(last, rng, s)
    return Example(conversation(None, last.context, question, history, last.quotes, style), last.response)


def read_bridge(path: Path, style: PromptStyle) -> list[Example]:
    """Real exchanges: what tutor and pupil wrote, and the expert's reply to the pupil's mistake."""
    found = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        turns: list[list[str]] = []  # who, what; neighbours of the same side joined
        for message in row["c_h"]:
            if turns and turns[-1][0] == message["user"]:
                turns[-1][1] += " " + message["text"]
            else:
                turns.append([message["user"], message["text"]])
        answer = " ".join(message["text"] for message in row["c_r_"]).strip()
        if not turns or turns[-1][0] != "student" or not answer:
            continue
        *before, (_, question) = turns
        topic = f"Topic: {row['lesson_topic'].split('.', 1)[-1]}"
        start = [("Please help me with this.", before[0][1])] if before and before[0][0] == "tutor" else []
        pairs = before[1:] if start else before
        history = start + [(a[1], b[1]) for a, b in zip(pairs[::2], pairs[1::2], strict=False)]
        found.append(Example(conversation(None, topic, question, history, style=style), answer))
    return found


def examples(seed: int, material: Material, real: list[Example], style: PromptStyle, s: Settings) -> Iterator[Example]:
    """Conversations without end; the same for the same seed."""
    rng = random.Random(seed)
    while True:
        example = rng.choice(real) if real and rng.random() < s.bridge_share else lesson(rng, material, style, s)
        if example:
            yield example


def encode(tokenizer, example: Example, longest: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Token ids (1, T) and labels (1, T), -100 where nothing is learned; None for what is too long."""
    prompt = tokenizer.apply_chat_template(example.messages, tokenize=False, add_generation_prompt=True)
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    said = [*tokenizer(example.answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    if len(before) + len(said) > longest:
        return None
    return torch.tensor([before + said]), torch.tensor([[-100] * len(before) + said])


# Learning


@dataclass
class State:
    """How far a training is."""

    step: int = 0
    spent: float = 0.0  # seconds
    log: list[dict] = field(default_factory=list)


class Training:
    """A model with an adapter, its optimiser, and how far they are."""

    def __init__(self, base, s: Settings, out: Path):
        from peft import LoraConfig, PeftModel, get_peft_model

        torch.manual_seed(s.seed)
        config = LoraConfig(
            r=s.rank, lora_alpha=s.alpha, lora_dropout=s.dropout, target_modules=MATRICES, task_type="CAUSAL_LM")
        known = (out / "adapter_model.safetensors").exists() and (out / "state.pt").exists()
        self.model = PeftModel.from_pretrained(base, out, is_trainable=True) if known else get_peft_model(base, config)
        self.s, self.out, self.state = s, out, State()
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=s.lr, weight_decay=0.0)
        if known:
            kept = torch.load(out / "state.pt", weights_only=True)
            self.optimizer.load_state_dict(kept["optimizer"])
            self.state = State(**kept["state"])

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Mean nats a token of the answer."""
        ids, labels = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=self.model.dtype == torch.bfloat16):
            return self.model(input_ids=ids, labels=labels, use_cache=False).loss

    def learn(self, batches: list[tuple[torch.Tensor, torch.Tensor]], left: float) -> float:
        """One step; `left`: the share of the time that is left. The loss before it."""
        self.model.train()
        total = 0.0
        for batch in batches:
            loss = self.loss(batch) / len(batches)
            loss.backward()
            total += float(loss.detach())
        warm = min(1.0, (self.state.step + 1) / self.s.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = self.s.lr * warm * max(self.s.final_lr, left)
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        return total

    @torch.inference_mode()
    def measure(self, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
        """Mean nats a token of answers that are not learned."""
        self.model.eval()
        tokens = [int((labels != -100).sum()) for _, labels in batches]
        losses = [float(self.loss(batch)) * n for batch, n in zip(batches, tokens, strict=True)]
        return sum(losses) / sum(tokens)

    def save(self) -> None:
        """The adapter, and what going on needs."""
        self.model.save_pretrained(self.out)
        torch.save({"optimizer": self.optimizer.state_dict(), "state": asdict(self.state)}, self.out / "state.pt")
        told = {"settings": asdict(self.s), "steps": self.state.step, "minutes": round(self.state.spent / 60, 1)}
        (self.out / "training_args.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        lines = "".join(json.dumps(row) + "\n" for row in self.state.log)
        (self.out / "training_log.jsonl").write_text(lines, encoding="utf-8")


def encoded(source: Iterator[Example], tokenizer, s: Settings) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """What fits, as tokens."""
    for example in source:
        if batch := encode(tokenizer, example, s.longest):
            yield batch


class Run:
    """A training from one start to its stop."""

    def __init__(self, training: Training, args: argparse.Namespace):
        self.training, self.args, self.stopped = training, args, False

    def stop(self, *_) -> None:
        """End after the step at hand; a signal's handler."""
        self.stopped = True

    def go(self, batches: Iterator[tuple[torch.Tensor, torch.Tensor]], held_out: list) -> None:
        """Learn until the time is over or a signal comes; measure at both ends."""
        state, limit = self.training.state, 60 * self.args.minutes
        for _ in range(state.step * self.training.s.together):  # those that were learned from before
            next(batches)
        before = {number: signal.signal(number, self.stop) for number in (signal.SIGTERM, signal.SIGINT)}
        if not state.log:
            self.note(held_out=self.training.measure(held_out))
        last, saved = time.monotonic(), time.monotonic()
        while not self.stopped and state.spent < limit:
            together = [next(batches) for _ in range(self.training.s.together)]
            loss = self.training.learn(together, 1 - state.spent / limit)
            now = time.monotonic()
            state.spent, last = state.spent + now - last, now
            if state.step % self.args.log_steps == 0:
                self.note(loss=loss)
            if now - saved > 60 * self.args.save_minutes:
                self.training.save()
                saved = now
        if not self.stopped:
            self.note(held_out=self.training.measure(held_out))
        self.training.save()
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(self, **figures: float) -> None:
        """A line of the log."""
        state = self.training.state
        row = {"step": state.step, "minutes": round(state.spent / 60, 1)}
        state.log.append(row | {name: round(value, 4) for name, value in figures.items()})
        print(json.dumps(state.log[-1]), flush=True)


def parse_args() -> argparse.Namespace:
    """The command line; every number of `Settings` has its flag."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", default=hub.SMOLLM2, help="the chat model, hub id or folder (default: %(default)s)")
    parser.add_argument("--bridge", type=Path, help="real exchanges: Bridge's train.json")
    parser.add_argument("--out", type=Path, default=Path("build/tutor-lora"), help="for adapter and checkpoint")
    parser.add_argument("--minutes", type=float, default=30.0, help="training time, all starts together")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--log-steps", type=int, default=5)
    parser.add_argument("--save-minutes", type=float, default=5.0)
    parser.add_argument("--measured", type=int, default=40, help="held-out conversations")
    parser.add_argument("--evaluate", action="store_true", help="only measure")
    for f in fields(Settings):
        parser.add_argument("--" + f.name.replace("_", "-"), type=type(f.default), default=f.default)
    return parser.parse_args()


def main() -> None:
    """Train, or measure."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    args = parse_args()
    torch.set_num_threads(args.threads)
    s = Settings(**{f.name: getattr(args, f.name) for f in fields(Settings)})
    folder = hub.fetch(args.llama)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    style = style_for(tokenizer.chat_template)
    args.out.mkdir(parents=True, exist_ok=True)
    training = Training(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16), s, args.out)
    held = encoded(examples(1, load_material(held_out=True), [], style, s), tokenizer, s)
    held_out = [next(held) for _ in range(args.measured)]
    if args.evaluate:
        print(json.dumps({"held_out": round(training.measure(held_out), 4)}))
        return
    real = read_bridge(args.bridge, style) if args.bridge else []
    Run(training, args).go(encoded(examples(s.seed, load_material(), real, style, s), tokenizer, s), held_out)


if __name__ == "__main__":
    main()
