"""Tutoring turns to train a small Llama on, made from the curriculum beside this file.

    python training/tutor.py --show 20
    python training/tutor.py --show 20 --held-out --hypotheses build/hypotheses.jsonl

A turn is what the service sees and should say: course context, what the recogniser heard, what the student
said, what the tutor answers. Everything follows from the seed. Some phrasings, passages, sums and families
of invented facts are kept for measuring (`held_out=True`) and never come up in training.
"""

import argparse
import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path

from phrasings import (
    ASK,
    CHECK,
    COMPARE,
    COURSES,
    DETAIL,
    ENDINGS,
    EXAMPLE,
    FIRST_NAMES,
    HELD_OUT,
    HELD_OUT_UNKNOWN,
    HOMOPHONES,
    LEVELS,
    LOOKUP,
    MISTAKE,
    NAMES,
    NOBODY_KNOWS,
    ONES,
    OPENINGS,
    PERSONAS,
    SMALL_TALK,
    SOUNDS_ALIKE,
    SUM,
    SYLLABLES,
    TENS,
    THINGS,
    WORDS,
)

from hubert_llama.course.quotes import FUNCTION_WORDS, Quote, find_quotes
from hubert_llama.words.ctc import letters

CURRICULUM = Path(__file__).parent / "curriculum"
PASSAGES = CURRICULUM / "passages.jsonl"
# invented things: what each is called, its facts with an open slot, and questions
FAMILIES = CURRICULUM / "families.jsonl"
UNKNOWN = "I do not know that yet. Could you ask it in other words, or give me the page of your course?"

FROM_THE_PAGE = ("passage", "invented", "lookup", "term")  # kinds of turns whose answer stands in the context


_quotes = lru_cache(maxsize=256)(find_quotes)  # asked for more than once


@dataclass(frozen=True)
class Turn:
    """One question and its answer, with what a recogniser made of it."""

    # "definition", "example", "mistake", "detail", "compare", "check", "which", "passage", "invented", "lookup",
    # "term", "not in passage", "arithmetic", "small talk", "unknown", "dictation"
    kind: str
    context: str
    heard: str
    transcript: str
    response: str  # empty for a dictation, which only asks for the transcript
    key: str  # what the answer must carry

    @property
    def quotes(self) -> list[Quote]:
        """What the service puts beside the question."""
        return _quotes(self.context, self.transcript)

    def quoting(self) -> "Turn":
        """The turn with what can be answered from its quotes.

        One that asks for the page repeats them when the fact is in them. It has no answer when the fact is not:
        an answer would teach to invent.
        """
        if self.kind not in FROM_THE_PAGE:
            return self
        said = [quote.text for quote in self.quotes]
        return replace(self, response=" ".join(said) if any(self.key.lower() in x.lower() for x in said) else "")


@dataclass(frozen=True)
class Question:
    """A question with its answer, before a recogniser has heard it."""

    kind: str
    text: str
    answer: str
    key: str


@dataclass(frozen=True)
class Page:
    """A course text and what can be asked about it."""

    title: str
    text: str
    questions: list[Question]


@dataclass(frozen=True)
class Material:
    """All that turns are made of, on the training or on the held-out side."""

    concepts: Sequence[dict]
    passages: Sequence[dict]
    families: Sequence[dict]
    sentences: Sequence[str]  # of the curriculum and of broad English
    unknown: Sequence[str]
    rare: Sequence[str]  # words of broad English that no concept has
    # such words as often as they are said, also short ones: what a recogniser makes of a word that it does not know
    common: Sequence[str]
    held_out: bool = False
    # word -> what a real recogniser wrote for it
    mishearings: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def phrasings(self, all_: Sequence[str]) -> list[str]:
        """The phrasings of this side."""
        return [p for p in all_ if (p in HELD_OUT) == self.held_out] or list(all_)


def load_concepts() -> list[dict]:
    """Every concept of the curriculum."""
    return [
        json.loads(line)
        for path in sorted(CURRICULUM.glob("*.jsonl"))
        if path not in (PASSAGES, FAMILIES)
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def load_passages() -> list[dict]:
    """Every course passage, with the questions it answers."""
    return [json.loads(line) for line in PASSAGES.read_text(encoding="utf-8").splitlines()]


def load_families() -> list[dict]:
    """Every family of invented things, with sentences and questions about it."""
    return [json.loads(line) for line in FAMILIES.read_text(encoding="utf-8").splitlines()]


def load_mishearings(path: Path) -> dict[str, list[str]]:
    """Word -> what a recogniser wrote for it, one entry for each time.

    The file has lines {"text", "heard"}; where a line has "readings", the first of them counts too.
    """
    found = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for wrote in (row["heard"], *(text for text, *_ in row.get("readings", [])[:1])):
            for said, heard in aligned(plain(row["text"]).split(), plain(wrote).split()):
                found[said].append(heard)
    return dict(found)


def aligned(said: list[str], heard: list[str]) -> Iterator[tuple[str, str]]:
    """Each word that was said with what was heard for it, where that can be told."""
    for tag, a, b, c, d in SequenceMatcher(None, said, heard, autojunk=False).get_opcodes():
        if tag == "equal" or tag == "replace" and b - a == d - c:
            yield from zip(said[a:b], heard[c:d], strict=True)
        elif tag == "replace" and b - a == 1:
            yield said[a], " ".join(heard[c:d])


def load_material(held_out: bool = False, hypotheses: Path | None = None, sentences: Sequence[str] = ()) -> Material:
    """The curriculum; every sixth passage, family and broad sentence is held out."""
    concepts = load_concepts()
    known = {word for c in concepts for word in plain(c["concept"]).split()}
    unknown = HELD_OUT_UNKNOWN if held_out else NOBODY_KNOWS
    passages, families, sentences = (
        [x for i, x in enumerate(all_) if (i % 6 == 5) == held_out]
        for all_ in (load_passages(), load_families(), sentences)
    )
    kept = set() if held_out else set(plain(" ".join(HELD_OUT_UNKNOWN)).split())
    stems = {word.rstrip("s") for word in known | kept} | FUNCTION_WORDS
    words = [word for s in sentences for word in s.split() if word.isalpha()]
    common = [] if held_out else [word for word in words if len(word) > 2 and word.rstrip("s") not in stems]
    rare = {word for word in words if len(word) > 5} - known - kept
    unknown = [u for u in unknown if bare(u).lower() not in known] * 20
    own = [c[key] for c in concepts for key in ("definition", "detail", "example", "misconception")]
    own += [f["answer"] for p in passages for f in p["facts"]]
    own = [x for x in own if is_test(plain(x)) == held_out]  # what HuBERT is measured on is not dictated either
    return Material(
        concepts=concepts,
        passages=passages,
        families=families,
        sentences=[*own, *sentences],
        unknown=unknown,
        rare=sorted(rare),
        common=common,
        held_out=held_out,
        mishearings=load_mishearings(hypotheses) if hypotheses else {},
    )


# Words


def is_test(sentence: str) -> bool:
    """Whether a sentence is kept for measuring: one in twelve, decided by its hash."""
    return hashed(sentence) % 12 == 0


def hashed(text: str) -> int:
    """A number of 32 bits that a text has always and everywhere."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


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


def bare(concept: str) -> str:
    """A concept without its article."""
    return concept.removeprefix("a ").removeprefix("an ").removeprefix("the ")


def small(text: str, concept: str) -> str:
    """A sentence to stand inside another: no full stop, and a small first letter unless it is a name."""
    keeps = concept[:1].isupper() and text.startswith(concept.split()[0])
    return (text if keeps else text[:1].lower() + text[1:]).rstrip(".")


def invented_name(rng: random.Random) -> str:
    """A name: one of a few, or one that nobody has."""
    return rng.choice(NAMES) if rng.random() < 0.2 else capital(invented_word(rng))


def invented_word(rng: random.Random) -> str:
    """A word that means nothing; it begins with a consonant."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice([1, 2, 2]))) + rng.choice(ENDINGS)


# What a recogniser does to a sentence


def plain(text: str) -> str:
    """Letters, apostrophes and spaces in lower case, as a CTC recogniser writes."""
    return " ".join(re.sub(r"[^a-z' ]", " ", letters(text)).split())


def misheard(text: str, rng: random.Random, rate: float, mishearings: Mapping[str, Sequence[str]]) -> str:
    """The text as a recogniser may write it: words spelt as they sound, split or merged, `rate` of them.

    A word that a real recogniser has read is written as it was read, rightly or not.
    """
    words = []
    for word in plain(text).split():
        if rng.random() < rate:
            if word in mishearings:
                word = rng.choice(mishearings[word])
            elif not mishearings or rng.random() >= 0.6:
                word = misspelt(word, rng)
        if words and rng.random() < rate * 0.04:
            words[-1] += word
        else:
            words.append(word)
    return " ".join(w for w in words if w) or plain(text)


def misspelt(word: str, rng: random.Random) -> str:
    """The word with one or two of its sounds written otherwise, now and then split."""
    if word in HOMOPHONES and rng.random() < 0.5:
        return HOMOPHONES[word]
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
    parts = [
        f"Course: {rng.choice(COURSES)}.",
        f"Persona: {rng.choice(PERSONAS)}.",
        f"Difficulty: {rng.choice(LEVELS)}.",
    ]
    return " ".join(p for p in parts if rng.random() < 0.7)


def invented_page(rng: random.Random, m: Material) -> Page:
    """Some facts of an invented thing, which can only be read, not known; one that is left out is asked for too."""
    family = rng.choice(m.families)
    it = family["about"].format(**slots(rng))
    facts = rng.sample(family["facts"], min(len(family["facts"]), rng.choice([2, 3, 3, 4, 5])))
    sentences, questions = [], []
    for fact in facts:
        values = slots(rng) | {"choice": rng.choice(fact.get("choices", [""]))}
        sentences.append(capital(fact["sentence"].format(it=it, **values)) + ".")
        questions += [
            Question("invented", capital(q.format(it=it)), sentences[-1], values[fact["slot"]])
            for q in fact["questions"]
        ]
    missing = facts[-1] if len(facts) > 2 and (m.held_out or rng.random() < 0.1) else None
    if missing:
        n = len(missing["questions"])
        questions[-n:] = [Question("not in passage", q.text, UNKNOWN, "do not know") for q in questions[-n:]][:1]
        sentences.pop()
    return otherwise(rng, m, Page(capital(it), " ".join(rng.sample(sentences, len(sentences))), questions))


def passage_page(rng: random.Random, m: Material) -> Page:
    """A passage of the curriculum; the last phrasing of each question is held out."""
    passage = rng.choice(m.passages)
    questions = [
        Question("passage", q, f["answer"], f["key"])
        for f in passage["facts"]
        for q in (f["questions"] if m.held_out else f["questions"][:-1] or f["questions"])
    ]
    return otherwise(rng, m, Page(passage["title"], passage["passage"], questions))


def otherwise(rng: random.Random, m: Material, page: Page) -> Page:
    """The page with other words for some of its own, wherever they come up.

    So most pages of a training say what they say only once: else they would be known by heart and not read.
    """
    if m.held_out or not m.rare or rng.random() < 0.15:
        return page
    words = [w for w in dict.fromkeys(re.findall(r"[A-Za-z]{5,}", page.text)) if w.lower() not in FUNCTION_WORDS]
    others = {w.lower(): rng.choice(m.rare) for w in words if rng.random() < rng.choice([0.2, 0.5])}

    def other(word: re.Match) -> str:
        """The word that stands for one, with a capital where it has one."""
        new = others.get(word[0].lower(), word[0])
        return capital(new) if word[0][0].isupper() else new

    def say(text: str) -> str:
        """A text with the other words."""
        return re.sub(r"[A-Za-z]{5,}", other, text)

    def ask(q: Question) -> Question:
        """A question with the other words; that the answer is not known is said as ever."""
        if q.answer == UNKNOWN:
            return replace(q, text=say(q.text))
        return Question(q.kind, say(q.text), say(q.answer), say(q.key))

    return Page(say(page.title), say(page.text), list(map(ask, page.questions)))


def unread(rng: random.Random, m: Material) -> list[str]:
    """One to three sentences that nobody has said before; often they begin alike, as those about one thing do."""
    drawn = [plain(x).split()[:14] for x in rng.sample(m.sentences, rng.choice([1, 1, 2, 3]))]
    start = [rng.choice([rng.choice(m.rare or ["it"]), invented_word(rng)]) for _ in range(rng.choice([0, 1, 2]))]
    said = [[*start, *(replaced(rng, m, word) for word in x)] for x in drawn]
    return [capital(" ".join(x)) + "." for x in said]


def replaced(rng: random.Random, m: Material, word: str) -> str:
    """The word, or now and then a rare one, a name or a number."""
    if m.rare and rng.random() < 0.2:
        return rng.choice(m.rare)
    if rng.random() < 0.06:
        return capital(invented_word(rng))
    return number(rng.randrange(101)) if rng.random() < 0.05 else word


def assorted_page(rng: random.Random, m: Material) -> Page:
    """Sentences that have nothing to do with each other, to be found again by some of their words."""
    sentences = [capital(x.rstrip(".")) + "." for x in rng.sample(m.sentences, rng.choice([2, 3, 4, 5, 6]))]
    text = " ".join(sentences)
    return Page(
        rng.choice(["Notes", "Summary", "Today", "Revision", "Key points"]),
        text,
        [q for x in sentences for q in lookups(rng, m, x, plain(text))] or [small_talk(rng, m)],
    )


def lookups(rng: random.Random, m: Material, sentence: str, text: str) -> list[Question]:
    """Questions that name one to three words of a sentence which the text has nowhere else."""
    words, found = plain(sentence).split(), []
    for n in (1, 2, 3):
        starts = [i for i in range(len(words) - n + 1) if len(words[i]) > 4 and len(words[i + n - 1]) > 4]
        phrase = " ".join(words[(i := rng.choice(starts)) : i + n]) if starts else ""
        if phrase and f" {text} ".count(f" {phrase} ") == 1:
            found.append(Question("lookup", rng.choice(m.phrasings(LOOKUP)).format(phrase), sentence, sentence))
    return found


def terms_page(rng: random.Random, m: Material) -> Page:
    """New words, each with a meaning that belongs to another one."""
    questions, sentences = [], []
    for concept in rng.sample(m.concepts, rng.choice([1, 2, 3])):
        name = concept["concept"].replace(bare(concept["concept"]), invented_word(rng))
        definition = about_another(concept, name)
        sentences.append(definition)
        if definition != concept["definition"]:
            questions += [
                Question("term", phrasing(rng, m, ASK).format(name), definition, definition) for _ in range(2)
            ]
            questions += [
                Question("term", asked, definition, definition) for asked in [which(definition, name)] if asked
            ]
    return Page(
        rng.choice(["New words", "Terms", "Glossary", "Words to learn"]),
        " ".join(sentences),
        questions or [small_talk(rng, m)],
    )


def which(definition: str, name: str) -> str:
    """The question for what a definition defines; empty where it does not begin with its subject."""
    rest = definition.removeprefix(capital(name) + " ").rstrip(".")
    return f"What {rest}?" if rest != definition.rstrip(".") and rest.split()[0] not in ("are", "were") else ""


def slots(rng: random.Random) -> dict[str, str]:
    """A random value for each slot of a sentence."""
    words = {slot: rng.choice(choices).replace("_", " ") for slot, choices in WORDS.items()}
    if rng.random() < 0.5:
        words["place"] = invented_name(rng)
    year = number(rng.randrange(11, 20)) + " " + number(rng.randrange(13, 99))
    return words | {
        "name": invented_name(rng),
        "person": f"{rng.choice(FIRST_NAMES)} {invented_name(rng)}",
        "year": year,
        "size": number(rng.randrange(2, rng.choice([20, 100, 1000]))),
    }


# Questions


def phrasing(rng: random.Random, m: Material, phrasings: Sequence[str]) -> str:
    """One of this side's phrasings.

    In training it is now and then words that nobody asks with, so that what is asked about counts and not how.
    """
    if m.held_out or not m.sentences or rng.random() < 0.85:
        return rng.choice(m.phrasings(phrasings))
    words = plain(rng.choice(m.sentences)).split()[: rng.randrange(1, 5)]
    return capital(" ".join(words)) + rng.choice([" {}.", " {}?"])


def concept_question(rng: random.Random, m: Material) -> Question:
    """A question about one concept or two."""
    concept, other = rng.sample(m.concepts, 2)
    name, definition = concept["concept"] if rng.random() < 0.9 else bare(concept["concept"]), concept["definition"]
    kind = rng.choices(["definition", "example", "mistake", "detail", "compare", "check"], [54, 11, 13, 10, 7, 12])[0]
    if kind == "definition":
        answer = f"{definition} For example: {concept['example']}"
        return Question(kind, phrasing(rng, m, ASK).format(name), answer, definition)
    if kind == "compare":
        other = rng.choice([c for c in m.concepts if c["concept"] in concept["related"]] or [other])
        both = f"{definition} {other['definition']}"
        return Question(kind, rng.choice(m.phrasings(COMPARE)).format(name, other["concept"]), both, both)
    if kind == "check":
        return check_question(rng, m, concept, other)
    if kind == "detail":
        answer = f"{definition} {concept['detail']}"
        return Question(kind, rng.choice(m.phrasings(DETAIL)).format(name), answer, concept["detail"])
    phrasings, source = {"example": (EXAMPLE, "example"), "mistake": (MISTAKE, "misconception")}[kind]
    return Question(kind, rng.choice(m.phrasings(phrasings)).format(name), concept[source], concept[source])


def check_question(rng: random.Random, m: Material, concept: dict, other: dict) -> Question:
    """Whether a definition is right, which is sometimes another concept's."""
    said, answer = concept["definition"], f"Yes, that is right. {concept['detail']}"
    if rng.random() < 0.5 and (wrong := about_another(other, concept["concept"])) != other["definition"]:
        said, answer = wrong, f"No, that is not right. {concept['definition']}"
    text = rng.choice(m.phrasings(CHECK)).format(small(said, concept["concept"]))
    return Question("check", text, answer, answer.split(",")[0] + ",")


def about_another(concept: dict, name: str) -> str:
    """A concept's definition, said of something else; unchanged where it does not begin with the concept."""
    start, definition = capital(concept["concept"]) + " ", concept["definition"]
    return f"{capital(name)} {definition.removeprefix(start)}" if definition.startswith(start) else definition


def is_kept(a: int, op: str, b: int) -> bool:
    """Whether a sum is kept for measuring: one in three of those whose numbers end alike, chosen by its hash.

    If all of those were kept, no training would show what eight and eight make.
    """
    if op not in ("plus", "minus") or (a - b) % 10:
        return False
    return hashed(f"{max(a, b)} {op} {min(a, b)}") % 3 == 0


def result(a: int, op: str, b: int) -> int:
    """What a sum makes."""
    return {"plus": a + b, "minus": a - b, "times": a * b, "divided by": a // max(1, b)}[op]


def draw_numbers(rng: random.Random, op: str) -> tuple[int, int]:
    """Two numbers whose sum is within 100."""
    if op in ("times", "divided by"):
        a, b = rng.randrange(11), rng.randrange(1, 11)
        return (a, b) if op == "times" else (a * b, b)
    a, b = rng.randrange(101), rng.randrange(rng.choice([11, 101]))
    if op == "minus":
        return max(a, b), min(a, b)
    return rng.choice([(a, b), (b, a)]) if a + b <= 100 else draw_numbers(rng, op)


def arithmetic_question(rng: random.Random, m: Material) -> Question:
    """A sum within 100, in words, done in two steps where both numbers have tens and ones.

    What is kept for measuring is no step of training's.
    """
    op = rng.choice(["plus", "plus", "minus", "minus", "times", "divided by"])
    while True:
        a, b = draw_numbers(rng, op)
        tens, ones = (b // 10 * 10, b % 10) if op in ("plus", "minus") and a > 10 and b > 10 else (b, 0)
        between = result(a, op, tens)
        if op in ("times", "divided by"):
            break
        if m.held_out and is_kept(a, op, b):
            break
        if not m.held_out and not any(is_kept(x, op, y) for x, y in ((a, b), (a, tens), (between, ones))):
            break
    said, last = f"{number(a)} {op} {number(b)}", number(result(a, op, b))
    steps = f"{number(a)} {op} {number(tens)} is {number(between)}, {op} {number(ones)} is {last}. So " if ones else ""
    text = phrasing(rng, m, SUM).format(said)
    return Question("arithmetic", text, capital(f"{steps}{said} is {last}."), f"is {last}.")


def running_sum(rng: random.Random, steps: int) -> list[tuple[str, str]]:
    """Sums in a row, each of what the one before made, none kept for measuring: (", plus eight is", " eighty five")."""
    now, said = rng.randrange(101), []
    while len(said) < steps:
        op = rng.choice(["plus", "minus"])
        b = rng.choice([rng.randrange(1, 11), rng.randrange(1, 10) * 10, rng.randrange(20)])
        if 0 <= result(now, op, b) <= 100 and not is_kept(now, op, b):
            asked = f"{', ' if said else number(now) + ' '}{op} {number(b)} is"
            now = result(now, op, b)
            said.append((asked, f" {number(now)}"))
    return said


def small_talk(rng: random.Random, m: Material) -> Question:
    """Being polite; nothing to hold out."""
    said, answer = rng.choice(SMALL_TALK)
    return Question("small talk", rng.choice(said), answer, answer)


def unknown_question(rng: random.Random, m: Material) -> Question:
    """A question that neither curriculum nor context answers."""
    if (u := rng.random()) < 0.3 or m.held_out and u < 0.4:
        about = rng.choice(["a ", "the ", ""]) + invented_word(rng)
    elif m.held_out or u < 0.55 or not m.rare:
        about = rng.choice([*m.unknown, *m.rare])
    elif u < 0.8:
        pattern = rng.choice(["{}", "{}", "a {}", "a {}", "the {}", "{} {}"])
        about = pattern.format(*(rng.choice(m.common) for _ in range(2)))
    else:
        pattern = rng.choice(THINGS)
        about = pattern.format(*(invented_word(rng) if rng.random() < 0.1 else rng.choice(m.rare) for _ in range(2)))
    return Question("unknown", phrasing(rng, m, ASK).format(about), UNKNOWN, "do not know")


def which_question(rng: random.Random, m: Material) -> Question:
    """What it is that a definition defines."""
    while not (asked := which((concept := rng.choice(m.concepts))["definition"], concept["concept"])):
        pass
    return Question("which", asked, concept["definition"], concept["concept"])


def dictation(rng: random.Random, m: Material) -> Question:
    """A sentence, or words without sense, which only somebody who copies them can write down."""
    if rng.random() < 0.5:
        return Question("dictation", capital(rng.choice(m.sentences).rstrip(".")) + ".", "", "")
    words = [w for x in rng.sample(m.sentences, 3) for w in plain(x).split()] + [invented_word(rng) for _ in range(3)]
    return Question("dictation", capital(" ".join(rng.sample(words, rng.randrange(3, 10)))) + ".", "", "")


# words misheard: without and with a real recogniser's readings, some of which are right
RATES = {False: [0, 0, 0, 0, 0, 0.1, 0.1, 0.2, 0.3], True: [0, 0, 0, 0.1, 0.3, 0.5, 1, 1]}
# questions that need no page, and pages, each with its share
ABOUT_ANYTHING = {
    dictation: 14,
    concept_question: 46,
    which_question: 4,
    arithmetic_question: 42,
    small_talk: 4,
    unknown_question: 24,
}
PAGES = {passage_page: 36, invented_page: 26, assorted_page: 30, terms_page: 8}


# Lessons


def make_lesson(rng: random.Random, m: Material, n: int) -> list[Turn]:
    """`n` turns with the same context.

    What training's HuBERT is measured on, nobody says in training's lessons either; small talk, of which there is
    little, is the exception.
    """
    context, about = "", []
    if (u := rng.random()) > 0.3:
        n_pages = rng.choice([1, 1, 1, 1, 1, 2, 3]) if u > 0.38 else 0
        pages = [one_of(rng, PAGES)(rng, m) for _ in range(n_pages)]
        context = "\n".join(x for x in (course_header(rng), *(lay_out(rng, page) for page in pages)) if x)
        about = [q for page in pages for q in page.questions]
    turns = []
    while len(turns) < n:
        question = rng.choice(about) if about and rng.random() < 0.7 else one_of(rng, ABOUT_ANYTHING)(rng, m)
        turn = make_turn(rng, m, question, context, rng.choice(RATES[bool(m.mishearings)]))
        if m.held_out or turn.kind == "small talk" or not is_test(plain(turn.transcript)):
            turns.append(turn)
    return turns


def one_of(rng: random.Random, shares: Mapping[Callable, int]) -> Callable:
    """One of the functions, by its share."""
    return rng.choices(list(shares), shares.values())[0]


def make_turn(rng: random.Random, m: Material, q: Question, context: str, rate: float) -> Turn:
    """A question as it is said and heard, with about `rate` of its words misheard."""
    text = q.text if q.kind in ("small talk", "check", "dictation") or rng.random() < 0.88 else polite(rng, q.text, m)
    return Turn(q.kind, context, misheard(text, rng, rate, m.mishearings), capital(text), q.answer, q.key)


def polite(rng: random.Random, text: str, m: Material) -> str:
    """The question with an opening before it."""
    keeps = text.split()[0] in ("I", "I'm")
    return rng.choice(m.phrasings(OPENINGS)) + (text if keeps else text[:1].lower() + text[1:])


def lay_out(rng: random.Random, page: Page) -> str:
    """A page as an application sends it: plain, with a title, or as a slide."""
    form = rng.random()
    if form < 0.4:
        return page.text
    if form < 0.7:
        return f"{page.title}. {page.text}"
    return f"Slide {rng.randrange(1, 30)}: {page.title}\n- " + page.text.replace(". ", ".\n- ")


def make_turns(n: int, seed: int, m: Material) -> list[Turn]:
    """`n` turns, each with a context of its own; the same for the same seed."""
    rng = random.Random(seed)
    return [make_lesson(rng, m, 1)[0] for _ in range(n)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", type=int, default=20, help="how many turns to print")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", action="store_true", help="turns for measuring instead of training")
    parser.add_argument(
        "--hypotheses", type=Path, help='lines {"text", "heard"} of a real recogniser, whose mishearings are mixed in'
    )
    args = parser.parse_args()
    for turn in make_turns(args.show, args.seed, load_material(args.held_out, args.hypotheses)):
        print(
            f"[{turn.kind}] {turn.context}\n  heard:    {turn.heard}\n  said:     {turn.transcript}\n"
            f"  answer:   {turn.response}\n"
        )
