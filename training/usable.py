"""Measure how long a prompt a Llama can really use, and how likely it finds its own tokens when it knows what it says.

    python training/usable.py --llama hubert_llama/mini/llama

It asks the curriculum's held-out questions as text, with courses of growing length: each question's own page among
other pages of the curriculum. It prints how many answers are right at each length, and writes beside the weights what
`hubert_llama.llama.tested_from` reads (`tested.json`):

- `prompt_tokens`: the mean tokens of the longest prompts with which nearly as many are right as with the shortest;
- `least_nats`: the mean log-probability of an answer's tokens below which the model is guessing, half way between the
  least of nearly all right answers and the most of nearly all that were given where hardly any are right;
- the weights' fingerprint, and the number of answers.

It takes some minutes on one core for the bundled Llama; `--out` keeps every answer.
"""

import argparse
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from held_out import held_out_turns, wanted
from tqdm import tqdm
from tutor import Turn, load_passages

from hubert_llama.answers import nats_a_token
from hubert_llama.chat import Sampling, Tested
from hubert_llama.course.prompt import conversation
from hubert_llama.course.quotes import find_quotes
from hubert_llama.llama import ChatLlama
from hubert_llama.measure.manifest import Utterance
from hubert_llama.measure.score import is_right
from hubert_llama.models import hub
from hubert_llama.models.device import DeviceConfig

QUESTIONS = {"passage": 16, "invented": 16, "definition": 16, "arithmetic": 8, "unknown": 8}  # of each kind
LENGTHS = (0, 300, 500, 700, 900, 1200, 1800)  # characters of the course
KEPT = 0.9  # of the right answers with the shortest courses: a length with fewer is too long
GUESSED = 0.1  # of the answers right: with fewer the model is guessing
NEARLY_ALL = 99  # percent


@dataclass(frozen=True)
class Answer:
    """What a model said."""

    length: int  # characters that the course was filled up to
    tokens: int  # of the prompt
    kind: str
    question: str
    text: str
    right: bool
    nats: float  # a token


def course(turn: Turn, length: int, pages: list[str], rng: random.Random) -> str:
    """The turn's own course, filled up with other pages before and behind."""
    head, own = "Course: General knowledge. Difficulty: beginner.", turn.context.splitlines()
    if own and own[0].startswith("Course"):
        head, *own = own
    filling: list[str] = []
    while len(turn.context) + sum(map(len, filling)) < length:
        filling.append(rng.choice(pages))
    at = rng.randrange(len(filling) + 1)
    return "\n".join([head, *filling[:at], *own, *filling[at:]])


def ask(llama: ChatLlama, turn: Turn, length: int, context: str) -> Answer | None:
    """What the model says, with the service's quotes beside the question; None where the window has no room."""
    messages = conversation(
        turn.transcript.lower().rstrip("?."), context, turn.transcript, quotes=find_quotes(context, turn.transcript)
    )
    n = len(llama.tokens(messages))
    if n + 100 > llama.window:
        return None
    said = llama.complete(messages, Sampling(max_new_tokens=80)).text.strip()
    right = is_right(Utterance("", turn.transcript, **wanted(turn)), said)
    return Answer(length, n, turn.kind, turn.transcript, said, bool(right), round(nats_a_token(llama.logprobs), 3))


def summary(answers: list[Answer]) -> list[tuple[int, float, float, float]]:
    """For each length: characters, mean tokens, share right, median nats a token."""
    rows = []
    for length in dict.fromkeys(a.length for a in answers):
        of = [a for a in answers if a.length == length]
        rows.append(
            (
                length,
                float(np.mean([a.tokens for a in of])),
                float(np.mean([a.right for a in of])),
                float(np.median([a.nats for a in of])),
            )
        )
    return rows


def tested(answers: list[Answer], fingerprint: str) -> dict[str, int | float | str]:
    """What goes into `tested.json`."""
    rows = summary(answers)
    usable = next((i for i, row in enumerate(rows) if row[2] < KEPT * rows[0][2]), len(rows))  # lengths in a row
    right = [a.nats for a in answers if a.right]
    guessed = [a.nats for a in answers if a.length in {length for length, _, share, _ in rows if share < GUESSED}]
    least = (
        (np.percentile(right, 100 - NEARLY_ALL) + np.percentile(guessed, NEARLY_ALL)) / 2
        if right and guessed
        else Tested.least_nats
    )
    return {
        "prompt_tokens": int(rows[max(0, usable - 1)][1]),
        "least_nats": round(float(least), 2),
        "llama": fingerprint,
        "answers": len(answers),
    }


def main() -> None:
    """Ask, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", type=Path, required=True, help="folder of the Llama")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="N", help="characters of courses")
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path, help="a file for every answer, as JSON lines")
    args = parser.parse_args()
    llama = ChatLlama.from_pretrained(str(args.llama), DeviceConfig("cpu", "float32"), load_in_4bit=False)
    turns = held_out_turns(QUESTIONS, args.seed)[: args.limit]
    pages, rng, answers = [p["passage"] for p in load_passages()], random.Random(args.seed), []
    for length in args.lengths:
        for turn in tqdm(turns, desc=f"{length} characters"):
            if answer := ask(llama, turn, length, course(turn, length, pages, rng)):
                answers.append(answer)
    print("| characters of the course | tokens of the prompt | right | nats a token |\n| --- | --- | --- | --- |")
    for length, tokens, share, nats in summary(answers):
        of = sum(a.length == length for a in answers)
        print(f"| {length} | {tokens:.0f} | {100 * share:.0f} % of {of} | {nats:.2f} |")
    if args.out:
        args.out.write_text("".join(json.dumps(asdict(a)) + "\n" for a in answers), encoding="utf-8")
    found = tested(answers, hub.fingerprint(args.llama))
    (args.llama / "tested.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{args.llama / 'tested.json'}: {found}")


if __name__ == "__main__":
    main()
