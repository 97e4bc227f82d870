"""Tutoring turns to train a small Llama on, made from the curriculum beside this file.

    python training/tutor.py --show 20        # look at some turns
"""

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path

CURRICULUM = Path(__file__).parent / "curriculum"
PASSAGES = CURRICULUM / "passages.jsonl"
UNKNOWN = "I do not know that yet. Could you ask it in other words, or give me the page of your course?"
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ASK = ["What is {}?", "What is {}?", "Explain {}.", "Can you explain {}?", "What does {} mean?", "Tell me about {}.", "I don't understand {}.", "Could you help me with {}?",
       "Please explain {} again.", "Define {}.", "Do you know what {} is?", "What do you mean by {}?", "I have a question about {}.", "How does {} work?", "What's {}?"]
EXAMPLE = ["Give me an example of {}.", "Can you give me an example of {}?", "What is an example of {}?", "Do you have an example for {}?"]
MISTAKE = ["What do people get wrong about {}?", "What is a common mistake about {}?", "What should I not confuse about {}?"]
COMPARE = ["What is the difference between {} and {}?", "Compare {} and {}.", "How are {} and {} different?"]
HELD_OUT = frozenset({"Define {}.", "Do you have an example for {}?", "How are {} and {} different?", "How much is {}?"})  # phrasings never trained on, for measuring
SMALL_TALK = [
    (["Hello.", "Hi there.", "Good morning."], "Hello! What would you like to learn today?"),
    (["Thank you.", "Thanks, that helps.", "Thanks a lot."], "You are welcome. Ask me whenever you like."),
    (["Who are you?", "What can you do?", "What are you?"], "I am your tutor. Ask me about your course, and I will explain it in plain words."),
    (["Can you help me?", "I need help.", "I have a question."], "Of course. What is your question?"),
    (["I am not sure.", "I don't know.", "I am confused."], "That is fine. Tell me which word is new to you, and we start there."),
    (["How are you?", "How are you today?"], "I am well, thank you. What shall we look at?"),
    (["Goodbye.", "See you later.", "That is all for today."], "Goodbye. Come back soon."),
]
NOBODY_KNOWS = """the capital of mars;my sister's birthday;the price of a train ticket;tomorrow's weather;the best pizza in town;your favourite song;who won the match;a blorgon;quantum llamas;the name of my teacher;
the next lottery numbers;a flimmer;the king of the moon;where my keys are;the colour of my house;how to fix my car;the rules of cricket;a good film;the latest news;a zibbet;the phone number of the school;a grumbling wug""".replace("\n", "").split(";")
COURSES = ["Biology 101", "Physics for Beginners", "Chemistry Basics", "World History", "Algebra One", "Introduction to Computing", "Earth Science", "English Grammar"]
PERSONAS = ["friendly coach", "patient professor", "strict examiner", "cheerful guide", "calm mentor"]
LEVELS = ["beginner", "intermediate", "advanced"]
NAMES = "Alder Birch Calder Dunmore Elstow Farrow Garland Hadley Ivory Juniper Kestrel Lorimer Marlow Norwood Oakley Preston Quill Rowan Selby Thorne Upton Vance Wexford Yarrow Zeller".split()
PLACES = "Lisbon Oslo Dublin Cairo Lima Kyoto Boston Vienna Nairobi Geneva Warsaw Delhi Quito Athens Tunis".split()
THINGS = ["bridge", "telescope", "engine", "library", "clock", "school", "garden", "tower", "mill", "theatre"]
METALS = "copper iron silver tin glass stone oak marble clay steel".split()


@dataclass(frozen=True)
class Turn:
    """One question and its answer, with what a recogniser made of it."""

    kind: str  # "definition", "example", "mistake", "compare", "passage", "arithmetic", "small talk", "unknown"
    context: str
    heard: str
    transcript: str
    response: str
    key: str = ""  # what the answer must carry


def load_concepts() -> list[dict]:
    """Every concept of the curriculum."""
    return [json.loads(line) for path in sorted(CURRICULUM.glob("*.jsonl")) if path != PASSAGES for line in path.read_text(encoding="utf-8").splitlines()]


def number(n: int) -> str:
    """A number from 0 to 9999 in words."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10 - 2] + (" " + ONES[n % 10] if n % 10 else "")
    big, rest, name = (n // 1000, n % 1000, "thousand") if n >= 1000 else (n // 100, n % 100, "hundred")
    return f"{number(big)} {name}" + (" " + number(rest) if rest else "")


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


# What a recogniser does to a sentence

SOUNDS_ALIKE = [("ph", "f"), ("f", "ph"), ("c", "k"), ("k", "c"), ("s", "c"), ("ee", "ea"), ("ea", "ee"), ("i", "e"), ("e", "i"), ("a", "o"), ("o", "a"), ("tion", "shon"), ("y", "i"),
                ("ck", "k"), ("ou", "ow"), ("th", "t"), ("t", "d"), ("d", "t"), ("b", "p"), ("p", "b"), ("m", "n"), ("n", "m"), ("er", "a"), ("u", "a"), ("l", ""), ("h", ""), ("e", ""), ("s", "z")]


def plain(text: str) -> str:
    """Letters, apostrophes and spaces in lower case, as a CTC recogniser writes."""
    return " ".join("".join(c if c.isalpha() or c == "'" else " " for c in text.lower()).split())


def misheard(text: str, rng: random.Random, rate: float) -> str:
    """The text with about `rate` of its words spelt as they sound, split or merged."""
    words = []
    for word in plain(text).split():
        if rng.random() < rate:
            word = misspelt(word, rng)
        if words and rng.random() < rate * 0.12:
            words[-1] += word
        else:
            words.append(word)
    return " ".join(w for w in words if w)


def misspelt(word: str, rng: random.Random) -> str:
    """The word with one or two of its sounds written otherwise."""
    for _ in range(rng.choice([1, 1, 2])):
        able = [(a, b) for a, b in SOUNDS_ALIKE if a in word]
        if able:
            a, b = rng.choice(able)
            at = rng.choice([i for i in range(len(word)) if word.startswith(a, i)])
            word = word[:at] + b + word[at + len(a) :]
    if len(word) > 6 and rng.random() < 0.1:
        cut = rng.randrange(2, len(word) - 2)
        word = word[:cut] + " " + word[cut:]
    return word


# Contexts

def course_header(rng: random.Random) -> str:
    """Course, persona and difficulty, as Heilion sends them, some of them or none."""
    parts = [f"Course: {rng.choice(COURSES)}.", f"Persona: {rng.choice(PERSONAS)}.", f"Difficulty: {rng.choice(LEVELS)}."]
    return " ".join(p for p in parts if rng.random() < 0.7)


def invented_facts(rng: random.Random) -> list[tuple[str, str, str, str]]:
    """Facts that cannot be known, only read: (sentence, question, answer, key)."""
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    it = f"the {name} {thing}"
    year, place, metal, size = number(rng.randrange(1200, 1999)), rng.choice(PLACES), rng.choice(METALS), number(rng.randrange(3, 99))
    person = f"{rng.choice(NAMES)}"
    facts = [
        (f"was built in {place}", [f"Where was {it} built?", f"Where is {it}?"], place),
        (f"was finished in the year {year}", [f"When was {it} finished?", f"In which year was {it} finished?"], year),
        (f"is made of {metal}", [f"What is {it} made of?"], metal),
        (f"is {size} metres long", [f"How long is {it}?"], f"{size} metres"),
        (f"was designed by {person}", [f"Who designed {it}?"], person),
    ]
    return [(f"{capital(it)} {said}.", rng.choice(questions), f"{capital(it)} {said}.", key) for said, questions, key in rng.sample(facts, 3)]


def context_for(rng: random.Random, facts: list[str]) -> str:
    """A course header and a passage of facts."""
    return " ".join(x for x in (course_header(rng), " ".join(facts)) if x)


# Turns

def concept_question(rng: random.Random, concepts: list[dict], templates) -> tuple[str, str, str, str]:
    """Kind, question, answer and key of a question about one or two concepts."""
    concept = rng.choice(concepts)
    kind = rng.choices(["definition", "example", "mistake", "compare"], [10, 3, 2, 2])[0]
    if kind == "definition":
        return kind, rng.choice(templates(ASK)).format(concept["concept"]), f"{concept['definition']} For example: {concept['example']}", concept["definition"]
    if kind == "compare":
        other = rng.choice(concepts)
        return kind, rng.choice(templates(COMPARE)).format(concept["concept"], other["concept"]), f"{concept['definition']} {other['definition']}", concept["definition"]
    question = rng.choice(templates(EXAMPLE if kind == "example" else MISTAKE)).format(concept["concept"])
    return kind, question, concept[kind if kind == "example" else "misconception"], concept[kind if kind == "example" else "misconception"]


def arithmetic(rng: random.Random, templates) -> tuple[str, str, str, str]:
    """A sum within 100, in words."""
    op = rng.choice(["plus", "plus", "minus", "times"])
    a, b = (rng.randrange(11), rng.randrange(11)) if op == "times" else (rng.randrange(51), rng.randrange(50))
    a, b = (max(a, b), min(a, b)) if op == "minus" else (a, b)
    result = {"plus": a + b, "minus": a - b, "times": a * b}[op]
    sum_ = f"{number(a)} {op} {number(b)}"
    question = rng.choice(templates(["What is {}?", "What is {}?", "How much is {}?", "What's {}?", "Can you tell me what {} is?"])).format(sum_)
    return "arithmetic", question, f"{capital(sum_)} is {number(result)}.", f"is {number(result)}."


def make_turn(rng: random.Random, concepts: list[dict], held_out: bool = False) -> Turn:
    """A random turn; `held_out` ones use the phrasings that training never sees."""
    def templates(all_: list[str]) -> list[str]:
        return [t for t in all_ if (t in HELD_OUT) == held_out] or all_

    context, draw = course_header(rng) if rng.random() < 0.6 else "", rng.random()
    if draw < 0.5:
        kind, question, answer, key = concept_question(rng, concepts, templates)
        if rng.random() < 0.15:
            context = context_for(rng, [f[0] for f in invented_facts(rng)])  # a passage that does not help
    elif draw < 0.76:
        facts = invented_facts(rng)
        _, question, answer, key = rng.choice(facts)
        kind, context = "passage", context_for(rng, [f[0] for f in facts])
    elif draw < 0.88:
        kind, question, answer, key = arithmetic(rng, templates)
    elif draw < 0.94:
        questions, answer = rng.choice(SMALL_TALK)
        kind, question, key = "small talk", rng.choice(questions), answer
    else:
        kind, question, answer, key = "unknown", rng.choice(templates(ASK)).format(rng.choice(NOBODY_KNOWS)), UNKNOWN, "do not know"
    question = capital(question)
    return Turn(kind, context, misheard(question, rng, rng.choice([0, 0, 0.1, 0.2, 0.35])), question, answer, key)


def make_turns(n: int, seed: int, held_out: bool = False) -> list[Turn]:
    """`n` turns, the same for the same seed."""
    rng, concepts = random.Random(seed), load_concepts()
    return [make_turn(rng, concepts, held_out) for _ in range(n)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", type=int, default=20, help="how many turns to print")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for turn in make_turns(args.show, args.seed):
        print(f"[{turn.kind}] {turn.context}\n  heard:    {turn.heard}\n  said:     {turn.transcript}\n  answer:   {turn.response}\n")
