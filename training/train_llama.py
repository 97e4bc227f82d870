"""Train the mini Llama from scratch on tutoring turns, on two CPU cores or on CUDA.

    python training/train_llama.py --minutes 45 --out hubert_llama/mini/llama
    python training/train_llama.py --evaluate hubert_llama/mini/llama

It sees the very conversations that the service builds (`hubert_llama.pipeline.conversation`) and
learns the two assistant turns in them: the transcript and the answer. The learning rate follows the
time spent, so that the schedule ends whatever else the machine does. A checkpoint in --work-dir lets
a training that was stopped go on; --export-only exports it as it is.
"""

import argparse
import json
import math
import os
import random
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from train_hubert import edits
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from torch.nn import functional as F
from tutor import Turn, load_concepts, load_passages, make_turns, plain

from hubert_llama.hubert import DeviceConfig, cpu_multiplies_bf16
from hubert_llama.llama import ChatLlama, Sampling, complete
from hubert_llama.pipeline import conversation, is_faithful, tidy

# Llama 3's control tokens, in its order
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>",
           "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"]
# how Llama 3 splits text before byte pairs are merged: contractions, words, numbers up to three digits, punctuation, spaces
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEMPLATE = (
    "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Settings:
    """Everything the weights depend on; saved beside them."""

    minutes: float = 45.0  # training time; the schedule ends with it
    seed: int = 0
    turns: int = 60_000  # drawn once, then gone through in another order each time
    hypotheses: str | None = None  # file of a recogniser's mishearings to mix in
    vocab_size: int = 2000
    hidden_size: int = 256
    layers: int = 4
    heads: int = 4  # of 64 wide: on a CPU attention takes half the time it takes with 8 of 32
    kv_heads: int = 2
    intermediate_size: int = 512
    window: int = 2048  # tokens
    batch_tokens: int = 2048
    peak_lr: float = 2e-3
    warmup: int = 200  # steps
    weight_decay: float = 0.02


def make_tokenizer(texts: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with Llama 3's control tokens and chat template."""
    bpe = Tokenizer(models.BPE(ignore_merges=True))
    bpe.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=SPECIAL[0], eos_token="<|eot_id|>", pad_token="<|finetune_right_pad_id|>", chat_template=TEMPLATE, clean_up_tokenization_spaces=False)


def make_model(tokenizer: PreTrainedTokenizerFast, s: Settings) -> LlamaForCausalLM:
    """A small random Llama."""
    torch.manual_seed(s.seed)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=s.hidden_size, intermediate_size=s.intermediate_size, num_hidden_layers=s.layers, num_attention_heads=s.heads,
        num_key_value_heads=s.kv_heads, max_position_embeddings=s.window, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id))
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(["<|end_of_text|>", "<|eot_id|>"])
    return model


# Examples


Example = tuple[list[int], list[int]]  # token ids, and labels: -100 but for the assistant's two turns


def encode(tokenizer: PreTrainedTokenizerFast, turn: Turn) -> Example:
    """A whole conversation as token ids and labels."""
    ids, labels = [], []
    for transcript, answer in ((None, turn.transcript), (turn.transcript, turn.response)):
        messages = conversation(turn.heard, turn.context, transcript)
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"][len(ids) :]
        answer_ids = tokenizer(answer + "<|eot_id|>", add_special_tokens=False)["input_ids"]
        ids += prompt_ids + answer_ids
        labels += [-100] * len(prompt_ids) + answer_ids
    return ids, labels


def batches(examples: list[Example], batch_tokens: int, rng: random.Random) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of similar lengths, padded on the right, for ever: input_ids and labels, each (B, T)."""
    while True:
        shuffled = rng.sample(examples, len(examples))
        for start in range(0, len(shuffled), 4000):
            pool = sorted(shuffled[start : start + 4000], key=lambda e: len(e[0]))
            groups, group = [], []
            for example in pool:
                if group and len(example[0]) * (len(group) + 1) > batch_tokens:
                    groups.append(group)
                    group = []
                group.append(example)
            groups.append(group)
            rng.shuffle(groups)
            for g in groups:
                yield padded([ids for ids, _ in g], 0), padded([labels for _, labels in g], -100)


def padded(rows: list[list[int]], value: int) -> torch.Tensor:
    """Rows of token ids as one tensor, (B, T)."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True, padding_value=value)


# Training


def loss_of(model: LlamaForCausalLM, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of the assistant's tokens. Padding stands on the right, where attention does not look."""
    hidden = model.model(input_ids, use_cache=False).last_hidden_state[:, :-1]  # (B, T - 1, D)
    wanted = labels[:, 1:] != -100
    return F.cross_entropy(model.lm_head(hidden[wanted]).float(), labels[:, 1:][wanted])


def lr_at(fraction: float, step: int, s: Settings) -> float:
    """Warm-up by steps, then a cosine over the time budget down to nearly nothing."""
    return s.peak_lr * min(1.0, step / s.warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction))))


def prepare(s: Settings, work: Path) -> tuple[PreTrainedTokenizerFast, list[Example]]:
    """The examples, and the tokenizer in `work`, made from them where there is none yet."""
    turns = make_turns(s.turns, s.seed, hypotheses=Path(s.hypotheses) if s.hypotheses else None)
    if not (work / "tokenizer.json").exists():
        make_tokenizer([m["content"] for t in turns[:20_000] for m in [*conversation(t.heard, t.context, t.transcript), {"content": t.response}]], s.vocab_size).save_pretrained(work)
        (work / "training_args.json").write_text(json.dumps(asdict(s), indent=1) + "\n")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work)
    return tokenizer, [encode(tokenizer, t) for t in turns]


def make_optimizer(model: LlamaForCausalLM, s: Settings) -> torch.optim.AdamW:
    """AdamW; the norms do not decay."""
    groups = [{"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": s.weight_decay}, {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


@dataclass
class State:
    """How far a training is; saved in its checkpoint."""

    spent: float = 0.0  # seconds
    step: int = 0
    tokens: int = 0
    log: list[dict] = field(default_factory=list)

    def count(self, tokens: int, losses: deque[float], seconds: float) -> None:
        """Take note of a step; every fifty, log it."""
        self.spent, self.step, self.tokens = self.spent + seconds, self.step + 1, self.tokens + tokens
        if self.step % 50 == 0:
            self.log.append({"step": self.step, "loss": round(sum(losses) / len(losses), 4), "minutes": round(self.spent / 60, 2), "thousand_tokens": self.tokens // 1000})
            print(json.dumps(self.log[-1]), flush=True)


def step(model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, input_ids: torch.Tensor, labels: torch.Tensor) -> float:
    """Learn from one batch; returns its loss."""
    device = model.device
    half = torch.autocast(device.type, torch.bfloat16) if device.type == "cuda" or cpu_multiplies_bf16() else nullcontext()
    with half:
        loss = loss_of(model, input_ids.to(device), labels.to(device))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


def train(s: Settings, work: Path) -> None:
    """Train until the time is spent, from the checkpoint in `work` where there is one, and leave the last one there."""
    work.mkdir(parents=True, exist_ok=True)
    tokenizer, examples = prepare(s, work)
    model = make_model(tokenizer, s).to("cuda" if torch.cuda.is_available() else "cpu")
    optimizer = make_optimizer(model, s)
    state = load_checkpoint(work, model, optimizer) if (work / "checkpoint.pt").exists() else State()
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(examples)} turns, {sum(len(i) for i, _ in examples) / len(examples):.0f} tokens each", flush=True)

    stream, losses = batches(examples, s.batch_tokens, random.Random(s.seed + state.step)), deque(maxlen=50)
    last = saved = time.monotonic()
    while (fraction := state.spent / (s.minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = lr_at(fraction, state.step, s)
        input_ids, labels = next(stream)
        losses.append(step(model, optimizer, input_ids, labels))
        now = time.monotonic()
        state.count(input_ids.numel(), losses, min(now - last, 30))  # a machine that slept did not train
        last = now
        if now - saved > 120:
            save_checkpoint(work, model, optimizer, state)
            saved = now
    save_checkpoint(work, model, optimizer, state)


def save_checkpoint(work: Path, model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Write a checkpoint in one move."""
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "state": json.dumps(asdict(state))}, work / "checkpoint.new")
    os.replace(work / "checkpoint.new", work / "checkpoint.pt")


def load_checkpoint(work: Path, model: LlamaForCausalLM, optimizer: torch.optim.Optimizer | None = None) -> State:
    """Put the weights of the checkpoint in `work` into the model, and its moments into the optimizer."""
    saved = torch.load(work / "checkpoint.pt", map_location=model.device, weights_only=True)
    model.load_state_dict(saved["model"])
    if optimizer is not None:
        optimizer.load_state_dict(saved["optimizer"])
    return State(**json.loads(saved["state"]))


def export(work: Path, out: Path) -> None:
    """Save the checkpoint's weights in bf16 with the tokenizer, the settings and the loss curve."""
    s = Settings(**json.loads((work / "training_args.json").read_text()))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work)
    model = make_model(tokenizer, s)
    state = load_checkpoint(work, model)
    model.to(torch.bfloat16).save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)  # written for the owner alone, but it goes into a package
    tokenizer.save_pretrained(out)
    told = {"settings": asdict(s), "steps": state.step, "tokens_seen": state.tokens, "minutes_spent": round(state.spent / 60, 1), "concepts": len(load_concepts()), "passages": len(load_passages()), "torch": torch.__version__}
    (out / "training_args.json").write_text(json.dumps(told, indent=2) + "\n")
    (out / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in state.log))


# Measuring


BY_WORDS = ("definition", "example", "mistake", "detail", "compare", "term")  # answers that count when they carry enough of the wanted words
ENOUGH = 0.6


@dataclass(frozen=True)
class Asked:
    """A held-out turn and what the model made of it."""

    turn: Turn
    said: str  # the model's transcript, unguarded
    transcript: str  # the one that the service would use
    answer: str

    @property
    def right(self) -> bool:
        """Whether the answer carries what it must."""
        if self.turn.kind in BY_WORDS:
            return overlap(self.turn.key, self.answer) >= ENOUGH
        return self.turn.key.lower() in self.answer.lower()


def overlap(wanted: str, answer: str) -> float:
    """The share of the wanted words that the answer has, each as often as wanted."""
    words = Counter(plain(wanted).split())
    return (words & Counter(plain(answer).split())).total() / words.total()


def held_out_turns(each: int, seed: int = 10_001) -> list[Turn]:
    """`each` turns of every kind that training never saw."""
    kept, taken = [], Counter()
    for turn in make_turns(each * 120, seed, held_out=True):
        taken[turn.kind] += 1
        if taken[turn.kind] <= each:
            kept.append(turn)
    return kept


def ask(llama: ChatLlama, turn: Turn) -> Asked:
    """Both turns as the service makes them, greedily."""
    said = complete(llama, conversation(turn.heard, turn.context), Sampling(max_new_tokens=80)).text.strip()
    transcript = said if is_faithful(turn.heard, said) else tidy(turn.heard)
    answer = complete(llama, conversation(turn.heard, turn.context, transcript), Sampling(max_new_tokens=120)).text.strip()
    return Asked(turn, said, transcript, answer)


def error_rate(pairs: list[tuple[str, str]]) -> float:
    """Word error rate of (wanted, got), without case and punctuation."""
    words = [(plain(wanted).split(), plain(got).split()) for wanted, got in pairs]
    return sum(edits(wanted, got) for wanted, got in words) / sum(len(wanted) for wanted, _ in words)


def report(asked: list[Asked], show: int) -> None:
    """Print failures, then counts by kind and what the transcript turn is worth."""
    for kind in sorted({a.turn.kind for a in asked}):
        for a in [a for a in asked if a.turn.kind == kind and not a.right][:show]:
            print(f"[{kind}] {a.turn.context}\n   heard:      {a.turn.heard}\n   transcript: {a.transcript}\n   answer:     {a.answer}\n   wanted:     {a.turn.response}")
    print(f"\nkind             right   word for word   of   (right: {ENOUGH:.0%} of the wanted words for {', '.join(BY_WORDS)}; else the key)")
    for kind in [*sorted({a.turn.kind for a in asked}), ""]:
        rows = [a for a in asked if kind in ("", a.turn.kind)]
        print(f"{kind or 'all':16s} {sum(a.right for a in rows):5d} {sum(a.answer == a.turn.response for a in rows):15d} {len(rows):4d}")
    clean = [a for a in asked if a.turn.heard == plain(a.turn.transcript)]
    for name, rows in (("heard rightly", clean), ("misheard", [a for a in asked if a not in clean]), ("all", asked)):
        wanted = [a.turn.transcript for a in rows]
        print(f"transcripts, {name}: {sum(a.transcript == a.turn.transcript for a in rows)} of {len(rows)} exact; word errors heard {error_rate(list(zip(wanted, [a.turn.heard for a in rows], strict=True))):.1%}, "
              f"corrected {error_rate(list(zip(wanted, [a.said for a in rows], strict=True))):.1%}, with the service's guard {error_rate(list(zip(wanted, [a.transcript for a in rows], strict=True))):.1%}")


def evaluate(folder: Path, each: int, show: int) -> None:
    """Ask held-out questions and report."""
    llama = ChatLlama.from_pretrained(str(folder), DeviceConfig("cpu", "float32"))
    report([ask(llama, turn) for turn in held_out_turns(each)], show)


def main() -> None:
    """Read the command line, then train or evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    files = parser.add_argument_group("files")
    files.add_argument("--out", type=Path, default=Path("hubert_llama/mini/llama"), help="where the weights go")
    files.add_argument("--work-dir", type=Path, default=Path("build/llama"), help="where checkpoints go")
    files.add_argument("--hypotheses", help='lines {"text", "heard"} of a real recogniser, whose mishearings are mixed in')
    training = parser.add_argument_group("training")
    training.add_argument("--minutes", type=float, default=Settings.minutes, help="training time")
    training.add_argument("--seed", type=int, default=Settings.seed)
    training.add_argument("--peak-lr", type=float, default=Settings.peak_lr)
    training.add_argument("--turns", type=int, default=Settings.turns, help="how many turns to draw")
    training.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    training.add_argument("--export-only", action="store_true", help="export the checkpoint as it is, without training on")
    measuring = parser.add_argument_group("measuring")
    measuring.add_argument("--evaluate", type=Path, metavar="FOLDER", help="measure the weights in this folder instead of training")
    measuring.add_argument("--questions", type=int, default=30, help="held-out questions of each kind")
    measuring.add_argument("--failures", type=int, default=3, help="failures of each kind to print")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.evaluate:
        return evaluate(args.evaluate, args.questions, args.failures)
    if not args.export_only:
        train(Settings(minutes=args.minutes, seed=args.seed, turns=args.turns, hypotheses=args.hypotheses, peak_lr=args.peak_lr), args.work_dir)
    export(args.work_dir, args.out)


if __name__ == "__main__":
    main()
