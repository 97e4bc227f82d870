"""Train the mini Llama from scratch on tutoring turns, on two CPU cores or on CUDA.

    python training/train_llama.py --minutes 110 --out hubert_llama/mini/llama
    python training/train_llama.py --evaluate hubert_llama/mini/llama

It sees the very conversations that the service builds (`hubert_llama.course.prompt.conversation`) and learns the
assistant's turns in them: what a student may say, the transcript and the answer. Turns come in lessons that share their
system prompt and context, which is encoded once for all of them, as the service's prefix cache does. Drills, random
tokens that repeat themselves, come first and in between: they teach to copy.

The learning rate follows the time spent, so that the schedule ends whatever else the machine does. A checkpoint in
--work-dir lets a training that was stopped go on; --export-only exports it as it is.
"""

import argparse
import json
import math
import os
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import torch
from optimizer import MuonAdamW, learn
from speech import Sentences, draw, glosses, load_sentences
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional as F
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from tutor import (
    ONES,
    TENS,
    Material,
    Turn,
    arithmetic_question,
    concept_question,
    is_test,
    load_concepts,
    load_material,
    load_passages,
    make_lesson,
    make_turns,
    plain,
    running_sum,
    unknown_question,
    unread,
)

from hubert_llama.chat import Sampling
from hubert_llama.course.prompt import conversation
from hubert_llama.course.quotes import Quote, find_quotes
from hubert_llama.llama import ChatLlama
from hubert_llama.models.device import DeviceConfig
from hubert_llama.words.ctc import edit_distance
from hubert_llama.words.recogniser import ChoiceConfig
from hubert_llama.words.repair import as_saying, is_faithful, tidy

# Llama 3's control tokens, in its order
SPECIAL = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_2|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
]
# how Llama 3 splits text before byte pairs are merged
SPLIT = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",  # contractions
        r"[^\r\n\p{L}\p{N}]?\p{L}+",  # words
        r"\p{N}{1,3}",  # numbers up to three digits
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",  # punctuation
        r"\s*[\r\n]+",  # ends of lines
        r"\s+(?!\S)",  # spaces
        r"\s+",
    )
)
NUMBER_WORDS = [*ONES, *TENS, "hundred", "plus", "minus", "times", "divided"]
TEMPLATE = (
    "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Settings:
    """Everything the weights depend on; saved beside them."""

    minutes: float = 45.0  # training time; the schedule ends with it
    seed: int = 0
    hypotheses: str | None = None  # file of a recogniser's mishearings to mix in
    vocab_size: int = 3000
    hidden_size: int = 256
    layers: int = 4
    heads: int = 4  # of 64 wide: on a CPU attention takes half the time it takes with 8 of 32
    kv_heads: int = 2
    intermediate_size: int = 704
    window: int = 2048  # tokens
    lessons: int = 3  # in a batch
    together: int = 1  # batches in a step, each read by a thread of its own: one for each core
    lesson_turns: int = 12
    chunk_tokens: int = 3000  # turns of a batch that go through the model together, padded
    # of the loss of the contexts' own tokens: names come up in them again and again, which teaches to look back
    context_weight: float = 0.25
    copying: float = 0.05  # share of the time in which only drills are learned: copying comes first
    drills: float = 0.15  # share of the lessons that are drills after that
    rows: float = 0.3  # share of the other lessons that are rows of questions and answers
    quoting: float = 0.15  # share of the other lessons that are quotes and answers which repeat them
    # share of the other lessons that are what students say before anything is heard: what readings are weighed by
    unheard: float = 0.0
    # of the loss: the weight of choosing right among a recogniser's readings, which the hypotheses then must bring
    choosing: float = 0.0
    choices: int = 2  # lists of readings in a batch
    # of the model's log-likelihood beside the search's score, as the service adds them
    llama_weight: float = ChoiceConfig.llama_weight
    lm_discount: float = ChoiceConfig.lm_discount  # share of the search's language model that the service takes off
    peak_lr: float = 2e-3
    hold: float = 0.3  # share of the time at the peak, before the cosine
    warmup: int = 200  # steps
    weight_decay: float = 0.02


def make_tokenizer(texts: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with Llama 3's control tokens and chat template."""
    bpe = Tokenizer(models.BPE(ignore_merges=True))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return as_llama(bpe)


def with_words(tokenizer: PreTrainedTokenizerFast, words: Iterable[str]) -> PreTrainedTokenizerFast:
    """The tokenizer with a piece for each of these words, also at the start of a line.

    So a sum is a row of words and not of their letters.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    # G with a dot: a space in a byte-level BPE
    for piece in dict.fromkeys(form for word in words for form in (word, word.capitalize(), f"\u0120{word}")):
        state["model"]["vocab"].setdefault(piece, len(state["model"]["vocab"]))
    return as_llama(Tokenizer.from_str(json.dumps(state)))


def as_llama(bpe: Tokenizer) -> PreTrainedTokenizerFast:
    """A BPE with Llama 3's marks and chat template."""
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=SPECIAL[0],
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def make_model(tokenizer: PreTrainedTokenizerFast, s: Settings) -> LlamaForCausalLM:
    """A small random Llama."""
    torch.manual_seed(s.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=s.hidden_size,
            intermediate_size=s.intermediate_size,
            num_hidden_layers=s.layers,
            num_attention_heads=s.heads,
            num_key_value_heads=s.kv_heads,
            max_position_embeddings=s.window,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(["<|end_of_text|>", "<|eot_id|>"])
    return model


def grow(model: LlamaForCausalLM, weights: LlamaForCausalLM) -> None:
    """Let a model compute just what smaller `weights` do: its further layers add nothing until they have learned to."""
    state, pieces = weights.state_dict(), model.get_input_embeddings().weight.detach().clone()
    pieces[: weights.config.vocab_size] = weights.get_input_embeddings().weight.detach()
    state |= dict.fromkeys(("model.embed_tokens.weight", "lm_head.weight"), pieces)
    missing = model.load_state_dict(state, strict=False).missing_keys
    if any(not name.startswith("model.layers.") for name in missing):
        raise SystemExit(
            f"--init-from: its weights lack {missing[0]}; only the number of layers may differ from the settings."
        )
    for layer in model.model.layers[weights.config.num_hidden_layers :]:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)


# Examples


@dataclass(frozen=True)
class Example:
    """A conversation as token ids."""

    prefix: list[int]  # the system's turn, which a lesson's conversations share
    ids: list[int]  # what follows it
    labels: list[int]  # the ids of the assistant's turns; -100 elsewhere


def encode(tokenizer: PreTrainedTokenizerFast, turn: Turn) -> Example:
    """A whole conversation; without the second question to the assistant where the turn has no response."""
    shared = conversation(turn.heard, turn.context)[:1]
    prefix = tokens(tokenizer, tokenizer.apply_chat_template(shared, tokenize=False))
    ids, labels = list(prefix), [-100] * len(prefix)
    for transcript, answer in ((None, turn.transcript), (turn.transcript, turn.response)):
        if answer:
            quotes = turn.quotes if transcript else ()
            asked = conversation(turn.heard, turn.context, transcript, quotes=quotes)
            prompt = tokens_of(tokenizer, asked)[len(ids) :]
            said = tokens(tokenizer, answer + "<|eot_id|>")
            ids += prompt + said
            labels += [-100] * len(prompt) + said
    return Example(prefix, ids[len(prefix) :], labels[len(prefix) :])


def drill(rng: random.Random, vocabulary: range, n: int) -> list[Example]:
    """Random tokens that repeat: all that can be learned from them is to copy.

    Some minutes of them teach that, and hours of lessons hardly do. Few different tokens ask for more than the last one
    to find the place again. Half the time a span comes up twice amid others.
    """
    examples, length = [], rng.choice([64, 64, 96, 128, 192, 320])
    for _ in range(n):
        known = rng.sample(vocabulary, rng.choice([24, 100, len(vocabulary)]))
        ids, span = rng.choices(known, k=length), rng.randrange(6, length // 2 - 2)
        starts = range(span, length, span)  # of what has been said before
        if rng.random() < 0.5:
            span = min(span, 48)
            starts = [rng.randrange(span, length - span)]
        first = 0 if len(starts) > 1 else rng.randrange(starts[0] - span + 1)
        labels = [-100] * length
        for start in starts:
            end = min(start + span, length)
            ids[start:end] = ids[first : first + end - start]
            labels[start + 1 : end] = ids[start + 1 : end]
        examples.append(Example([vocabulary[0]], ids, labels))
    return examples


def quoted(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, material: Material, n: int, each: int = 3
) -> list[Example]:
    """Quotes as the service shows them and answers that repeat them, without a question."""
    examples = []
    for _ in range(n):
        ids, labels = [], []
        for said in (unread(rng, material) for _ in range(each)):
            shown = conversation("", transcript="", quotes=[Quote(x, 1.0) for x in said])[-1:]
            asked = tokens_of(tokenizer, shown)[1:]  # without the beginning of the text
            answer = tokens(tokenizer, " ".join(said) + "<|eot_id|>")
            ids += asked + answer
            labels += [-100] * len(asked) + answer
        examples.append(Example([tokenizer.bos_token_id], ids, labels))
    return examples


# questions in rows, with their shares
IN_ROWS = {arithmetic_question: 60, concept_question: 25, unknown_question: 15}


def rows(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, material: Material, n: int, each: int = 6
) -> list[Example]:
    """Questions and their answers, one after the other: what numbers make and what words mean.

    They are learned several times faster than from conversations.
    """
    examples = []
    for _ in range(n):
        if rng.random() < 0.5:
            pairs = running_sum(rng, 5 * each)
        else:
            questions = [make(rng, material) for make in rng.choices(list(IN_ROWS), IN_ROWS.values(), k=each)]
            pairs = [(f"{q.text}\n", f"{q.answer}\n") for q in questions]
        ids, labels = [], []
        for asked, answer in ((tokens(tokenizer, a), tokens(tokenizer, b)) for a, b in pairs):
            ids += asked + answer
            labels += [-100] * len(asked) + answer
        examples.append(Example([tokenizer.bos_token_id], ids, labels))
    return examples


def sayings(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, material: Material, spoken: Sentences, n: int
) -> list[Example]:
    """What students say before anything is heard, as turns after one shared prompt.

    It is about the course whose context is shown, or about anything, now and then with a context that has nothing to do
    with it. All but the saying is shared, so that every token of a turn is learned. Nothing that HuBERT is measured on
    is among it.
    """
    lesson = make_lesson(rng, material, n)
    context = lesson[0].context
    asked = [plain(turn.transcript) for turn in lesson if turn.kind not in ("check", "dictation")]
    texts = [text for text in asked if not is_test(text)]
    if not context or not texts or rng.random() < 0.5:
        context = context if rng.random() < 0.4 else ""
        texts = draw(spoken, 2 * n, rng.random(), "mixed", test=False)
    prompt = tokens_of(tokenizer, conversation(None, context))
    said = [tokens(tokenizer, as_saying(text) + "<|eot_id|>") for text in texts]
    return [Example(prompt[:-1], [prompt[-1], *ids], [-100, *ids]) for ids in said]


def tokens_of(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]) -> list[int]:
    """The tokens before the assistant's turn."""
    return tokens(tokenizer, tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Token ids of a text that brings its own control tokens."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@dataclass(frozen=True)
class Choice:
    """What a recogniser read, and how many words of each of its readings are wrong."""

    readings: tuple[str, ...]
    scores: tuple[float, ...]  # of the search with its language model discounted, nats
    errors: tuple[int, ...]


def load_choices(path: Path, lm_discount: float) -> list[Choice]:
    """The lists of a file of hypotheses in which some readings are better than others."""
    choices = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if not row.get("readings"):
            continue
        if len(row["readings"][0]) != 3:
            raise SystemExit(
                f"{path}: its readings lack the language model's part of their scores: "
                "make it anew with train_hubert.py --hear."
            )
        readings, totals, lms = zip(*row["readings"], strict=True)
        scores = tuple(total - lm_discount * lm for total, lm in zip(totals, lms, strict=True))
        errors = tuple(edit_distance(row["text"].split(), reading.split()) for reading in readings)
        if min(errors) < max(errors):
            choices.append(Choice(readings, scores, errors))
    return choices


@dataclass(frozen=True, eq=False)
class Ballot:
    """A choice as tensors."""

    prompt: torch.Tensor  # int64 (1, P), without its last token
    turns: torch.Tensor  # int64 (N, L): the prompt's last token and a reading's, padded with 0
    labels: torch.Tensor  # int64 (N, L): what follows each of these tokens, -100 where nothing does
    scores: torch.Tensor  # float32 (N,)
    best: torch.Tensor  # bool (N,): the readings with the fewest errors


def ballot(tokenizer: PreTrainedTokenizerFast, choice: Choice, context: str) -> Ballot:
    """The question that the service asks: how likely is a student to say each reading."""
    prompt = tokens_of(tokenizer, conversation(None, context))
    turns = [tokens(tokenizer, as_saying(reading) + "<|eot_id|>") for reading in choice.readings]
    errors = torch.tensor(choice.errors)
    return Ballot(
        prompt=torch.tensor([prompt[:-1]]),
        turns=padded([[prompt[-1], *turn[:-1]] for turn in turns], 0),
        labels=padded(turns, -100),
        scores=torch.tensor(choice.scores),
        best=errors == errors.min(),
    )


@dataclass(frozen=True, eq=False)
class Batch:
    """Lessons: what they share, and chunks of their turns, alike in length."""

    prefixes: torch.Tensor  # int64 (G, P), padded on the right
    prefix_mask: torch.Tensor  # int64 (G, P): 0 at the padding
    # lesson of each turn (B,), input_ids (B, T), labels (B, T)
    chunks: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
    tokens: int
    ballots: tuple[Ballot, ...] = ()


def collate(lessons: list[list[Example]], s: Settings) -> Batch:
    """Lessons as tensors; the turns sorted by length, so that little is padded."""
    turns = sorted(((i, e) for i, lesson in enumerate(lessons) for e in lesson), key=lambda x: len(x[1].ids))
    groups: list[list[tuple[int, Example]]] = [[]]
    for turn in turns:
        if groups[-1] and len(turn[1].ids) * (len(groups[-1]) + 1) > s.chunk_tokens:
            groups.append([])
        groups[-1].append(turn)
    prefixes = [lesson[0].prefix for lesson in lessons]
    chunks = [
        (torch.tensor([i for i, _ in g]), padded([e.ids for _, e in g], 0), padded([e.labels for _, e in g], -100))
        for g in groups
    ]
    return Batch(
        prefixes=padded(prefixes, 0),
        prefix_mask=padded([[1] * len(p) for p in prefixes], 0),
        chunks=chunks,
        tokens=sum(map(len, prefixes)) + sum(len(e.ids) for _, e in turns),
    )


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes new lessons, and choices beside them."""

    tokenizer: PreTrainedTokenizerFast
    material: Material
    s: Settings
    rng: random.Random
    choices: list[Choice]
    spoken: Sentences | None  # what students say, where that is learned

    def lesson(self, copying: bool) -> list[Example]:
        """The conversations of one lesson, or something to copy."""
        rng, tokenizer, material, s = self.rng, self.tokenizer, self.material, self.s
        few = s.lesson_turns // 3  # of examples of which every token is learned
        if copying or rng.random() < s.drills:
            return drill(rng, range(len(SPECIAL) + 256, len(tokenizer)), few)
        if rng.random() < s.unheard:
            return sayings(rng, tokenizer, material, self.spoken, 2 * s.lesson_turns)
        if rng.random() < s.quoting:
            return quoted(rng, tokenizer, material, few)
        if rng.random() < s.rows:
            return rows(rng, tokenizer, material, few)
        return [encode(tokenizer, turn.quoting()) for turn in make_lesson(rng, material, s.lesson_turns)]

    def ballot(self, choice: Choice) -> Ballot:
        """A choice, now and then with a context that has nothing to do with it."""
        context = make_lesson(self.rng, self.material, 1)[0].context if self.rng.random() < 0.4 else ""
        return ballot(self.tokenizer, choice, context)

    def batch(self, copying: bool) -> Batch:
        """A batch of new lessons, and of choices."""
        lessons = collate([self.lesson(copying) for _ in range(self.s.lessons)], self.s)
        drawn = self.rng.sample(self.choices, min(self.s.choices, len(self.choices)))
        return replace(lessons, ballots=tuple(map(self.ballot, drawn)))


def batches(
    tokenizer: PreTrainedTokenizerFast, material: Material, s: Settings, seed: int, copying: Callable[[], bool]
) -> Iterator[Batch]:
    """New lessons for ever, each batch made by a thread while the one before it is learned."""
    choices = load_choices(Path(s.hypotheses), s.lm_discount) if s.choosing and s.hypotheses else []
    spoken = load_sentences() if s.unheard else None
    maker = Maker(tokenizer, material, s, random.Random(seed), choices, spoken)
    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(lambda: maker.batch(copying()))
        while True:
            ready, ahead = ahead, thread.submit(lambda: maker.batch(copying()))
            yield ready.result()


def padded(rows: list[list[int]], value: int) -> torch.Tensor:
    """Rows of token ids as one tensor, (B, T)."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True, padding_value=value)


# Training


def lent(shared: DynamicCache, rows: torch.Tensor) -> DynamicCache:
    """A cache for turns, each of which goes on from one of the rows of a shared one."""
    cache = DynamicCache()
    for i, layer in enumerate(shared.layers):
        cache.update(layer.keys[rows], layer.values[rows], i)
    return cache


def loss_of(model: LlamaForCausalLM, batch: Batch, context_weight: float = 0.0) -> torch.Tensor:
    """Mean cross entropy of the assistant's tokens, and a share of the contexts'.

    What a lesson shares is encoded once, and its keys and values lent to every turn.
    """
    device = model.device
    prefixes, prefix_mask = batch.prefixes.to(device), batch.prefix_mask.to(device)
    encoded = model.model(prefixes, attention_mask=prefix_mask, use_cache=True)
    shared = encoded.past_key_values
    losses, count = [], 0
    for lesson, input_ids, labels in batch.chunks:
        lesson, input_ids, labels = lesson.to(device), input_ids.to(device), labels.to(device)
        cache = lent(shared, lesson)
        # padding stands on the right, where attention does not look
        mask = torch.cat([prefix_mask[lesson], torch.ones_like(input_ids)], dim=1)
        positions = prefix_mask[lesson].sum(1, keepdim=True) + torch.arange(input_ids.shape[1], device=device)
        out = model.model(input_ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
        hidden = out.last_hidden_state[:, :-1]  # (B, T - 1, D)
        wanted = labels[:, 1:] != -100  # the first token of a turn is never the assistant's
        losses.append(F.cross_entropy(model.lm_head(hidden[wanted]).float(), labels[:, 1:][wanted], reduction="sum"))
        count += int(wanted.sum())
    loss = torch.stack(losses).sum() / count
    there = prefix_mask[:, 1:] == 1
    if context_weight and there.any():  # drills have no context
        logits = model.lm_head(encoded.last_hidden_state[:, :-1][there]).float()
        loss = loss + context_weight * F.cross_entropy(logits, prefixes[:, 1:][there])
    return loss


def choosing_loss(model: LlamaForCausalLM, asked: Ballot, weight: float) -> torch.Tensor:
    """How far from certain it is that a reading with the fewest errors is chosen (nats).

    The search's scores and the weighted log-likelihoods are added as the service does.
    """
    device = model.device
    shared = model.model(asked.prompt.to(device), use_cache=True).past_key_values
    cache = lent(shared, torch.zeros(len(asked.scores), dtype=torch.int64, device=device))
    out = model.model(asked.turns.to(device), past_key_values=cache, use_cache=True)
    logits = model.lm_head(out.last_hidden_state).float().transpose(1, 2)  # (N, V, L)
    nats = F.cross_entropy(logits, asked.labels.to(device), ignore_index=-100, reduction="none")  # (N, L)
    scores = asked.scores.to(device) - weight * nats.sum(1)  # (N,)
    return scores.logsumexp(0) - scores[asked.best.to(device)].logsumexp(0)


def lr_at(fraction: float, step: int, s: Settings) -> float:
    """Warm-up by steps, the peak for a while, then a cosine over what is left of the time, down to nearly nothing."""
    after = max(0.0, fraction - s.hold) / (1 - s.hold)
    return s.peak_lr * min(1.0, step / s.warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, after))))


def prepare(s: Settings, work: Path) -> tuple[PreTrainedTokenizerFast, Material]:
    """What to draw lessons from, and the tokenizer in `work`, made from them where there is none yet."""
    material = load_material(hypotheses=Path(s.hypotheses) if s.hypotheses else None, sentences=glosses())
    if not (work / "tokenizer.json").exists():
        rng = random.Random(s.seed)
        turns = [t for _ in range(3000) for t in make_lesson(rng, material, 3)]
        texts = [
            m["content"]
            for t in turns
            for m in [*conversation(t.heard, t.context, t.transcript, quotes=t.quotes), {"content": t.response}]
        ]
        texts += rng.choices(material.sentences, k=20_000)
        with_words(make_tokenizer(texts, s.vocab_size), NUMBER_WORDS).save_pretrained(work)
    (work / "training_args.json").write_text(json.dumps(asdict(s), indent=1) + "\n")  # those of the last run
    return PreTrainedTokenizerFast.from_pretrained(work), material


@dataclass
class State:
    """How far a training is; saved in its checkpoint."""

    spent: float = 0.0  # seconds
    step: int = 0
    tokens: int = 0
    log: list[dict] = field(default_factory=list)

    def count(self, tokens: int, losses: deque[float], seconds: float) -> None:
        """Take note of a step; every hundred, log it."""
        self.spent, self.step, self.tokens = self.spent + seconds, self.step + 1, self.tokens + tokens
        if self.step % 100 == 0:
            self.log.append(
                {
                    "step": self.step,
                    "loss": round(sum(losses) / len(losses), 4),
                    "minutes": round(self.spent / 60, 2),
                    "thousand_tokens": self.tokens // 1000,
                }
            )
            print(json.dumps(self.log[-1]), flush=True)


def step(
    model: LlamaForCausalLM,
    optimizer: MuonAdamW,
    batches: list[Batch],
    lr: float,
    s: Settings,
    pool: ThreadPoolExecutor,
) -> float:
    """Learn from batches, each read by a thread of its own, at a learning rate; returns their mean loss."""

    def loss_with_choices(batch: Batch) -> torch.Tensor:
        """Of the lessons, and of the choices."""
        loss = loss_of(model, batch, s.context_weight)
        if not batch.ballots:
            return loss
        return loss + s.choosing * torch.stack([choosing_loss(model, b, s.llama_weight) for b in batch.ballots]).mean()

    loss = learn(loss_with_choices, model, batches, pool)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step(lr)
    return loss


def compile_parts(model: LlamaForCausalLM) -> None:
    """Compile what is called for every token and keeps no state; a fifth faster on a CPU."""
    for layer in model.model.layers:
        for part in (layer.mlp, layer.input_layernorm, layer.post_attention_layernorm):
            part.compile(dynamic=True)


def begin(tokenizer: PreTrainedTokenizerFast, s: Settings, init_from: Path | None) -> LlamaForCausalLM:
    """The model to train, on the device that there is."""
    model = make_model(tokenizer, s)
    if init_from:
        grow(model, LlamaForCausalLM.from_pretrained(init_from, dtype=torch.float32))
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    if model.device.type == "cpu":
        model.set_attn_implementation("eager")  # learns a quarter faster here than with PyTorch's fused attention
    return model


def train(s: Settings, work: Path, init_from: Path | None, compiled: bool) -> None:
    """Train until the time is spent, from the checkpoint in `work` where there is one, and leave the last one there."""
    work.mkdir(parents=True, exist_ok=True)
    if init_from and not (work / "tokenizer.json").exists():
        with_words(PreTrainedTokenizerFast.from_pretrained(init_from), NUMBER_WORDS).save_pretrained(work)
    tokenizer, material = prepare(s, work)
    model = begin(tokenizer, s, init_from)
    pool = ThreadPoolExecutor(s.together, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),))
    optimizer = MuonAdamW(model, model.model.layers, s.weight_decay, pool, s.together)
    state = load_checkpoint(work, model, optimizer) if (work / "checkpoint.pt").exists() else State()
    if compiled:
        compile_parts(model)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)

    def copying() -> bool:
        """Whether only drills are learned yet."""
        return state.spent < s.copying * s.minutes * 60

    stream, losses = batches(tokenizer, material, s, s.seed + state.step, copying), deque(maxlen=100)
    last = saved = time.monotonic()
    while (fraction := state.spent / (s.minutes * 60)) < 1:
        drawn = [next(stream) for _ in range(s.together)]
        losses.append(step(model, optimizer, drawn, lr_at(fraction, state.step, s), s, pool))
        now = time.monotonic()
        state.count(sum(b.tokens for b in drawn), losses, min(now - last, 30))  # a machine that slept did not train
        last = now
        if now - saved > 120:
            save_checkpoint(work, model, optimizer, state)
            saved = now
    save_checkpoint(work, model, optimizer, state)


def save_checkpoint(work: Path, model: LlamaForCausalLM, optimizer: MuonAdamW, state: State) -> None:
    """Write a checkpoint in one move."""
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "state": json.dumps(asdict(state))}
    torch.save(saved, work / "checkpoint.new")
    os.replace(work / "checkpoint.new", work / "checkpoint.pt")


def load_checkpoint(work: Path, model: LlamaForCausalLM, optimizer: MuonAdamW | None = None) -> State:
    """Put the weights of the checkpoint in `work` into the model, and its moments into the optimizer."""
    saved = torch.load(work / "checkpoint.pt", map_location=model.device, weights_only=True)
    model.load_state_dict(saved["model"])
    if optimizer is not None:
        optimizer.load_state_dict(saved["optimizer"])
    return State(**json.loads(saved["state"]))


def export(work: Path, out: Path, before: Path | None = None, share: float = 1.0) -> None:
    """Save the checkpoint's weights in bf16 with the tokenizer, the settings and the loss curve.

    Or so large a share of them, the rest being the weights that the training began with, as train_hubert.py does.
    """
    s = Settings(**json.loads((work / "training_args.json").read_text()))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work)
    model = make_model(tokenizer, s)
    state = load_checkpoint(work, model)
    if before:
        old, new = LlamaForCausalLM.from_pretrained(before, dtype=torch.float32).state_dict(), model.state_dict()
        model.load_state_dict({name: torch.lerp(old[name], weight, share) for name, weight in new.items()})
    model.to(torch.bfloat16).save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)  # written for the owner alone, but it goes into a package
    tokenizer.save_pretrained(out)
    told = {
        "settings": {**asdict(s), "hypotheses": s.hypotheses and Path(s.hypotheses).name},
        "steps": state.step,
        "tokens_seen": state.tokens,
        "minutes_spent": round(state.spent / 60, 1),
        "concepts": len(load_concepts()),
        "passages": len(load_passages()),
        "torch": torch.__version__,
        **({"share_of_these_weights": share} if before else {}),
    }
    (out / "training_args.json").write_text(json.dumps(told, indent=2) + "\n")
    (out / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in state.log))


# Measuring


# answers that count when they carry enough of the wanted words
BY_WORDS = ("definition", "example", "mistake", "detail", "compare", "term", "lookup")
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
    for turn in make_turns(each * 120, seed, load_material(held_out=True, sentences=glosses())):
        taken[turn.kind] += 1
        if taken[turn.kind] <= each:
            kept.append(turn)
    return kept


def ask(llama: ChatLlama, turn: Turn) -> Asked:
    """Both turns as the service makes them, greedily."""
    said = llama.complete(conversation(turn.heard, turn.context), Sampling(max_new_tokens=80)).text.strip()
    transcript = said if is_faithful(turn.heard, said) else tidy(turn.heard)
    quotes = find_quotes(turn.context, transcript)
    messages = conversation(turn.heard, turn.context, transcript, quotes=quotes)
    answer = llama.complete(messages, Sampling(max_new_tokens=120)).text.strip()
    return Asked(turn, said, transcript, answer)


def error_rate(pairs: list[tuple[str, str]]) -> float:
    """Word error rate of (wanted, got), without case and punctuation."""
    words = [(plain(wanted).split(), plain(got).split()) for wanted, got in pairs]
    return sum(edit_distance(wanted, got) for wanted, got in words) / sum(len(wanted) for wanted, _ in words)


def report(asked: list[Asked], show: int) -> None:
    """Print failures, then counts by kind and what the transcript turn is worth."""
    for kind in sorted({a.turn.kind for a in asked}):
        for a in [a for a in asked if a.turn.kind == kind and not a.right][:show]:
            print(f"[{kind}] {a.turn.context}\n   heard:      {a.turn.heard}\n   transcript: {a.transcript}")
            print(f"   answer:     {a.answer}\n   wanted:     {a.turn.response}")
    by_words = f"{ENOUGH:.0%} of the wanted words for {', '.join(BY_WORDS)}"
    print(f"\nkind             right   word for word   of   (right: {by_words}; else the key)")
    for kind in [*sorted({a.turn.kind for a in asked}), ""]:
        rows = [a for a in asked if kind in ("", a.turn.kind)]
        right, exact = sum(a.right for a in rows), sum(a.answer == a.turn.response for a in rows)
        print(f"{kind or 'all':16s} {right:5d} {exact:15d} {len(rows):4d}")
    clean = [a for a in asked if a.turn.heard == plain(a.turn.transcript)]
    for name, rows in (("heard rightly", clean), ("misheard", [a for a in asked if a not in clean]), ("all", asked)):
        report_transcripts(name, rows)


def report_transcripts(name: str, rows: list[Asked]) -> None:
    """Print what the transcript turn is worth, for turns of this name."""
    exact = sum(a.transcript == a.turn.transcript for a in rows)
    heard = error_rate([(a.turn.transcript, a.turn.heard) for a in rows])
    said = error_rate([(a.turn.transcript, a.said) for a in rows])
    guarded = error_rate([(a.turn.transcript, a.transcript) for a in rows])
    print(
        f"transcripts, {name}: {exact} of {len(rows)} exact; word errors heard {heard:.1%}, "
        f"corrected {said:.1%}, with the service's guard {guarded:.1%}"
    )


def evaluate(folder: Path, each: int, show: int) -> None:
    """Ask held-out questions and report."""
    llama = ChatLlama.from_pretrained(str(folder), DeviceConfig("cpu", "float32"))
    report([ask(llama, turn) for turn in held_out_turns(each)], show)


FLAGS = {  # settings that have one
    "minutes": "training time",
    "seed": "of weights and lessons",
    "peak_lr": "learning rate after the warm-up",
    "layers": "of the model",
    "hold": "share of the time at the peak learning rate",
    "lessons": "lessons in a batch: more tokens, fewer steps",
    "together": "batches in a step, each read by a thread of its own: with --threads 1, one for each core",
    "drills": "share of the lessons that are drills after that",
    "rows": "share of the other lessons that are rows of questions and answers",
    "quoting": "share of the other lessons that are quotes and answers which repeat them",
    "unheard": "share of the other lessons that are what students say, before anything is heard",
    "choosing": "weight of the loss of choosing among a recogniser's readings, out of --hypotheses that bring them",
    "choices": "lists of readings in a batch",
    "copying": "share of the time for drills alone",
}


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_files(parser)
    add_training(parser)
    measuring = parser.add_argument_group("measuring")
    measuring.add_argument(
        "--evaluate", type=Path, metavar="FOLDER", help="measure the weights in this folder instead of training"
    )
    measuring.add_argument("--questions", type=int, default=30, help="held-out questions of each kind")
    measuring.add_argument("--failures", type=int, default=3, help="failures of each kind to print")
    return parser


def add_files(parser: argparse.ArgumentParser) -> None:
    """The options that say where things lie."""
    files = parser.add_argument_group("files")
    files.add_argument("--out", type=Path, default=Path("hubert_llama/mini/llama"), help="where the weights go")
    files.add_argument("--work-dir", type=Path, default=Path("build/llama"), help="where checkpoints go")
    files.add_argument(
        "--init-from",
        type=Path,
        metavar="FOLDER",
        help="start from the weights and the tokenizer of this folder, not from random ones",
    )
    files.add_argument(
        "--hypotheses", help='lines {"text", "heard"} of a real recogniser, whose mishearings are mixed in'
    )


def add_training(parser: argparse.ArgumentParser) -> None:
    """The options of training."""
    training = parser.add_argument_group("training")
    for name, told in FLAGS.items():
        flag, default = "--" + name.replace("_", "-"), getattr(Settings, name)
        training.add_argument(flag, type=type(default), default=default, help=f"{told} (default {default})")
    training.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    training.add_argument(
        "--compile",
        action="store_true",
        help="compile parts of the layers: faster on a CPU, after a minute; needs a C++ compiler and Python's headers",
    )
    training.add_argument(
        "--export-only", action="store_true", help="export the checkpoint as it is, without training on"
    )
    training.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="how much of the trained weights is exported; the rest are those that --init-from names",
    )


def main() -> None:
    """Read the command line, then train or evaluate."""
    args = make_parser().parse_args()
    torch.set_num_threads(args.threads)
    if args.share < 1 and not args.init_from:
        raise SystemExit("--share: of what is the rest? Name the weights before with --init-from.")
    if args.evaluate:
        evaluate(args.evaluate, args.questions, args.failures)
        return
    if not args.export_only:
        s = Settings(**{f.name: getattr(args, f.name) for f in fields(Settings) if hasattr(args, f.name)})
        train(s, args.work_dir, args.init_from, args.compile)
    export(args.work_dir, args.out, args.init_from if args.share < 1 else None, args.share)


if __name__ == "__main__":
    main()
