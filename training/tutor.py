"""Tutoring turns to train a small Llama on, made from the curriculum beside this file.

    python training/tutor.py --show 20
    python training/tutor.py --show 20 --held-out --hypotheses build/hypotheses.jsonl

A turn is what the service sees and should say: course context, what the recogniser heard, what the student
said, what the tutor answers. Everything follows from the seed. Some phrasings, passages, sums and a whole family
of invented facts are kept for measuring (`held_out=True`) and never come up in training.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

CURRICULUM = Path(__file__).parent / "curriculum"
PASSAGES = CURRICULUM / "passages.jsonl"
UNKNOWN = "I do not know that yet. Could you ask it in other words, or give me the page of your course?"

# How students ask

ASK = ["What is {}?", "What is {}?", "What is {}?", "Explain {}.", "Can you explain {}?", "What does {} mean?", "Tell me about {}.", "I don't understand {}.", "Could you help me with {}?",
       "Please explain {} again.", "Define {}.", "Do you know what {} is?", "What do you mean by {}?", "I have a question about {}.", "How does {} work?", "What's {}?", "Can you tell me what {} means?",
       "Could you explain {} please?", "I still don't get {}.", "I'm confused about {}.", "Explain {} to me.", "What is the meaning of {}?", "What is the definition of {}?", "I forgot what {} means.",
       "My teacher asked me about {}.", "We learned about {} today.", "Can you help me understand {}?", "How would you explain {} to a child?", "I need help with {}.", "What exactly is {}?"]
EXAMPLE = ["Give me an example of {}.", "Can you give me an example of {}?", "What is an example of {}?", "Do you have an example for {}?", "Can you give me a simple example of {}?", "Show me an example of {}."]
MISTAKE = ["What do people get wrong about {}?", "What is a common mistake about {}?", "What should I not confuse about {}?", "What do students get wrong about {}?", "What should I watch out for with {}?"]
DETAIL = ["Tell me more about {}.", "What else should I know about {}?", "Can you tell me more about {}?", "Go into more detail about {}.", "What more is there to {}?"]
COMPARE = ["What is the difference between {} and {}?", "Compare {} and {}.", "How are {} and {} different?", "What's the difference between {} and {}?", "I mixed up {} and {}."]
CHECK = ["Is it true that {}?", "Is it right that {}?", "I think that {}.", "So {}?", "My teacher says that {}."]
SUM = ["What is {}?", "What is {}?", "How much is {}?", "What's {}?", "Can you tell me what {} is?", "What does {} make?"]
OPENINGS = ["Excuse me, ", "Sorry, ", "Okay, ", "Please, ", "I have a question, ", "One more question, ", "And ", "So "]
HELD_OUT = frozenset({"Define {}.", "I need help with {}.", "What exactly is {}?", "Do you have an example for {}?", "What do students get wrong about {}?", "Can you tell me more about {}?",
                      "How are {} and {} different?", "Is it right that {}?", "How much is {}?", "One more question, "})  # never trained on, for measuring

SMALL_TALK = [
    (["Hello.", "Hi there.", "Good morning.", "Hi.", "Good afternoon.", "Let's begin.", "Let's start the lesson."], "Hello! What would you like to learn today?"),
    (["Thank you.", "Thanks, that helps.", "Thanks a lot.", "Thank you very much.", "That makes sense.", "I understand now."], "You are welcome. Ask me whenever you like."),
    (["Who are you?", "What can you do?", "What are you?", "What is your name?"], "I am your tutor. Ask me about your course, and I will explain it in plain words."),
    (["Can you help me?", "I need help.", "I have a question.", "Could you help me?", "I have one more question."], "Of course. What is your question?"),
    (["I am not sure.", "I don't know.", "I am confused.", "I don't understand.", "This is too hard."], "That is fine. Tell me which word is new to you, and we start there."),
    (["How are you?", "How are you today?"], "I am well, thank you. What shall we look at?"),
    (["Could you repeat that?", "Can you say that again?", "Please explain that again.", "Can you say that in other words?", "What did you say?"], "Of course. Which word or idea shall I explain again?"),
    (["Goodbye.", "See you later.", "That is all for today.", "See you tomorrow.", "Bye."], "Goodbye. Come back soon."),
]
NOBODY_KNOWS = """the capital of mars; my sister's birthday; the price of a train ticket; tomorrow's weather; the best pizza in town; your favourite song; the name of my teacher; the next lottery numbers; the king of the moon;
    the colour of my house; a good film; the latest news; the phone number of the school; a carburettor; the offside rule; a tax return; a bicycle chain; chess; a recipe for soup; a passport; football; a parking ticket; my homework;
    the exam next week; a saxophone; a tractor; a matrix; a tensor; a polymer; a kidney; an owl; a giraffe; the stock exchange; a violin; a submarine; karate; knitting; a dishwasher; the Eiffel tower; a waterfall; a mortgage;
    a sandwich; a helicopter; an elevator; gardening; the treaty of Utrecht; a lawn mower; ballet; a hotel; cheese; a fax machine; poker; a zipper; surfing; my timetable; an umbrella; the lunch menu; a rainbow trout"""
HELD_OUT_UNKNOWN = """the winner of the match; the rules of cricket; a trombone; a microwave oven; the bus to the station; a crocodile; tennis; my password; a toothbrush; the mayor of the town"""

# What invented facts are made of

COURSES = ["Biology 101", "Physics for Beginners", "Chemistry Basics", "World History", "Algebra One", "Introduction to Computing", "Earth Science", "English Grammar", "Economics 101", "Calculus", "Psychology"]
PERSONAS = ["friendly coach", "patient professor", "strict examiner", "cheerful guide", "calm mentor", "curious friend", "Socratic teacher"]
LEVELS = ["beginner", "intermediate", "advanced", "easy", "hard"]
NAMES = "Alder Birch Calder Dunmore Elstow Farrow Garland Hadley Ivory Juniper Kestrel Lorimer Marlow Norwood Oakley Preston Quill Rowan Selby Thorne Upton Vance Wexford Yarrow Zeller".split()
SYLLABLES = "ba be bo bra da del do dra fa fel fin ga gor gra hal ha jo ka kel kor la len lo lu ma mar mi mo na nel no pa per po qui ra ri ron sa sel so ta tel tor tri va ven vo wa wen za zel zo".split()
ENDINGS = "n r l s th ck ra den ford ley mont na lia ton vik wood x".split()
FIRST_NAMES = "Ada Ben Clara David Emma Felix Grace Henry Ida Jonas Karin Leo Maria Nina Oscar Paula Rosa Simon Tara Victor".split()
WORDS = {
    "place": "Lisbon Oslo Dublin Cairo Lima Kyoto Boston Vienna Nairobi Geneva Warsaw Delhi Quito Athens Tunis".split(),
    "thing": "bridge telescope engine library clock school garden tower mill theatre".split(),
    "material": "copper iron silver tin glass stone oak marble clay steel".split(),
    "animal": "beetle frog lizard parrot spider salmon bat fox snail crab".split(),
    "food": "berries moss small fish seeds grass honey mushrooms worms nuts leaves".replace("small fish", "small_fish").split(),
    "colour": "red green blue yellow purple grey white orange brown black".split(),
    "use": "roofs candles batteries paint mirrors medicine fuel boats lamps paper".split(),
    "topic": "optics poetry genetics music geology trade logic painting farming medicine".split(),
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday".split(),
    "month": "January February March April May June July August September October".split(),
}
# what the fact is about, and its sentences, each with questions and the slot that answers them
FAMILIES = [
    ("the {name} {thing}", ["{it} was built in {place}|Where was {it} built?;Where is {it}?|place", "{it} was finished in the year {year}|When was {it} finished?;In which year was {it} finished?|year",
                            "{it} is made of {material}|What is {it} made of?;Which material is {it} made of?|material", "{it} is {size} metres long|How long is {it}?|size", "{it} was designed by {person}|Who designed {it}?|person"]),
    ("the {name} {animal}", ["{it} lives near {place}|Where does {it} live?|place", "{it} eats {food}|What does {it} eat?;What is the food of {it}?|food", "{it} is {colour}|What colour is {it}?;Which colour does {it} have?|colour",
                             "{it} lays {size} eggs|How many eggs does {it} lay?|size", "{it} sleeps until {month}|How long does {it} sleep?;When does {it} wake up?|month"]),
    ("{person}", ["{it} was born in {place}|Where was {it} born?|place", "{it} wrote a book about {topic}|What did {it} write a book about?;What is the book of {it} about?|topic",
                  "{it} won a prize in {year}|When did {it} win a prize?|year", "{it} discovered the {name} effect|What did {it} discover?;Which effect did {it} discover?|name", "{it} taught {topic} for {size} years|How long did {it} teach?|size"]),
    ("{name}ium", ["{it} melts at {size} degrees|At which temperature does {it} melt?;When does {it} melt?|size", "{it} is {colour}|What colour is {it}?;What does {it} look like?|colour", "{it} was discovered by {person}|Who discovered {it}?|person",
                   "{it} is used for {use}|What is {it} used for?|use", "{it} was found in {year}|When was {it} found?|year"]),
    ("the planet {name}", ["{it} has {size} moons|How many moons does {it} have?|size", "{it} goes round its star in {size} days|How long does {it} need to go round its star?;How long is a year on {it}?|size",
                           "{it} is covered with {material}|What is {it} covered with?|material", "{it} was first seen by {person}|Who first saw {it}?;Who was the first to see {it}?|person", "{it} looks {colour}|What colour is {it}?;How does {it} look?|colour"]),
    ("the {topic} exam", ["{it} takes place on {day}|When does {it} take place?;On which day is {it}?|day", "{it} lasts {size} minutes|How long does {it} last?;How long is {it}?|size", "{it} is in room {size}|Where is {it}?;In which room is {it}?|size",
                          "{it} has {size} questions|How many questions does {it} have?|size", "{it} is marked by {person}|Who marks {it}?|person"]),
    ("the treaty of {name}", ["{it} was signed in {year}|When was {it} signed?;In which year was {it} signed?|year", "{it} was signed by {person}|Who signed {it}?|person", "{it} ended the war over {use}|What did {it} end?;Which war did {it} end?|use",
                              "{it} lasted {size} years|How long did {it} last?|size", "{it} was kept in {place}|Where was {it} kept?|place"]),
    # never trained on
    ("the river {name}", ["{it} flows through {place}|Where does {it} flow?;Through which town does {it} flow?|place", "{it} is {size} kilometres long|How long is {it}?|size", "{it} was mapped by {person}|Who mapped {it}?|person",
                          "{it} looks {colour} in {month}|What colour is {it}?|colour", "{it} flooded the valley in {year}|When did {it} flood the valley?|year"]),
]
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


@dataclass(frozen=True)
class Turn:
    """One question and its answer, with what a recogniser made of it."""

    kind: str  # "definition", "example", "mistake", "detail", "compare", "check", "passage", "term", "not in passage", "arithmetic", "small talk", "unknown", "dictation"
    context: str
    heard: str
    transcript: str
    response: str
    key: str  # what the answer must carry


@dataclass(frozen=True)
class Question:
    """A question with its answer, before a recogniser has heard it."""

    kind: str
    text: str
    answer: str
    key: str
    context: str | None = None  # the course text that it is about; None: any will do


@dataclass(frozen=True)
class Material:
    """All that turns are made of, on the training or on the held-out side."""

    concepts: Sequence[dict]
    passages: Sequence[dict]
    unknown: Sequence[str]
    held_out: bool = False
    mishearings: Mapping[str, Sequence[str]] = field(default_factory=dict)  # word -> what a real recogniser wrote for it

    def phrasings(self, all_: Sequence[str]) -> list[str]:
        """The phrasings of this side."""
        return [p for p in all_ if (p in HELD_OUT) == self.held_out] or list(all_)


def load_concepts() -> list[dict]:
    """Every concept of the curriculum."""
    return [json.loads(line) for path in sorted(CURRICULUM.glob("*.jsonl")) if path != PASSAGES for line in path.read_text(encoding="utf-8").splitlines()]


def load_passages() -> list[dict]:
    """Every course passage, with the questions it answers."""
    return [json.loads(line) for line in PASSAGES.read_text(encoding="utf-8").splitlines()]


def load_mishearings(path: Path) -> dict[str, list[str]]:
    """Word -> what a recogniser wrote for it, out of lines {"text", "heard"}; one entry for each time."""
    found = defaultdict(list)
    for pair in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        text, heard = plain(pair["text"]).split(), plain(pair["heard"]).split()
        for tag, a, b, c, d in SequenceMatcher(None, text, heard, autojunk=False).get_opcodes():
            if tag == "equal" or tag == "replace" and b - a == d - c:
                for word, wrote in zip(text[a:b], heard[c:d], strict=True):
                    found[word].append(wrote)
            elif tag == "replace" and b - a == 1:
                found[text[a]].append(" ".join(heard[c:d]))
    return dict(found)


def load_material(held_out: bool = False, hypotheses: Path | None = None) -> Material:
    """The curriculum; every sixth passage is held out."""
    concepts = load_concepts()
    known = {c["concept"].lower() for c in concepts}
    unknown = [" ".join(u.split()) for u in (HELD_OUT_UNKNOWN if held_out else NOBODY_KNOWS).split(";")]
    passages = [p for i, p in enumerate(load_passages()) if (i % 6 == 5) == held_out]
    return Material(concepts, passages, [u for u in unknown if u.lower() not in known], held_out, load_mishearings(hypotheses) if hypotheses else {})


# Words


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

SOUNDS_ALIKE = [("ph", "f"), ("f", "ph"), ("c", "k"), ("k", "c"), ("s", "c"), ("ee", "ea"), ("ea", "ee"), ("i", "e"), ("e", "i"), ("a", "o"), ("o", "a"), ("tion", "shon"), ("y", "i"),
                ("ck", "k"), ("ou", "ow"), ("th", "t"), ("t", "d"), ("d", "t"), ("b", "p"), ("p", "b"), ("m", "n"), ("n", "m"), ("er", "a"), ("u", "a"), ("l", ""), ("h", ""), ("e", ""), ("s", "z"),
                ("w", "wh"), ("r", "rr"), ("g", "k"), ("v", "f"), ("ai", "a"), ("qu", "kw"), ("x", "ks"), ("ng", "n"), ("t", ""), ("s", "")]
HOMOPHONES = {"two": "to", "four": "for", "eight": "ate", "one": "won", "sum": "some", "what's": "whats", "i'm": "im", "don't": "dont", "whole": "hole", "weigh": "way", "wait": "weight", "cell": "sell", "mean": "meen", "right": "write"}


def plain(text: str) -> str:
    """Letters, apostrophes and spaces in lower case, as a CTC recogniser writes."""
    return " ".join("".join(c if c.isalpha() or c == "'" else " " for c in text.lower()).split())


def misheard(text: str, rng: random.Random, rate: float, mishearings: Mapping[str, Sequence[str]]) -> str:
    """The text with about `rate` of its words spelt as they sound, split or merged."""
    words = []
    for word in plain(text).split():
        if rng.random() < rate:
            word = rng.choice(mishearings[word]) if word in mishearings and rng.random() < 0.6 else misspelt(word, rng)
        if words and rng.random() < rate * 0.1:
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
    parts = [f"Course: {rng.choice(COURSES)}.", f"Persona: {rng.choice(PERSONAS)}.", f"Difficulty: {rng.choice(LEVELS)}."]
    return " ".join(p for p in parts if rng.random() < 0.7)


def page(rng: random.Random, title: str, text: str) -> str:
    """A course text as an application lays it out: plain, with a title, or as a slide."""
    form = rng.random()
    if form < 0.4:
        return text
    if form < 0.7:
        return f"{title}. {text}"
    return f"Slide {rng.randrange(1, 30)}: {title}\n- " + text.replace(". ", ".\n- ")


def context_for(rng: random.Random, m: Material, title: str, text: str) -> str:
    """A course header and a page, now and then among several others."""
    pages = [page(rng, title, text)]
    if rng.random() < 0.06:
        others = [page(rng, p["title"], p["passage"]) for p in rng.sample(m.passages, rng.choice([1, 1, 2, 3]))]
        pages = rng.sample(pages + others, len(others) + 1)
    return "\n".join(x for x in (course_header(rng), *pages) if x)


@dataclass(frozen=True)
class Fact:
    """A sentence that cannot be known, only read."""

    sentence: str
    question: str
    key: str


def invented_facts(rng: random.Random, held_out: bool) -> tuple[str, list[Fact]]:
    """What they are about, and all five facts about it."""
    about, sentences = FAMILIES[-1] if held_out and rng.random() < 0.5 else rng.choice(FAMILIES[:-1])
    it = about.format(**slots(rng))
    return it, [invented_fact(rng, it, s) for s in rng.sample(sentences, len(sentences))]


def invented_fact(rng: random.Random, it: str, template: str) -> Fact:
    """A fact about `it` with random values."""
    said, questions, slot = template.split("|")
    values = slots(rng)
    return Fact(capital(said.format(it=it, **values)) + ".", rng.choice(questions.split(";")).format(it=it), values[slot])


def slots(rng: random.Random) -> dict[str, str]:
    """A random value for each slot of a sentence."""
    words = {slot: rng.choice(choices).replace("_", " ") for slot, choices in WORDS.items()}
    if rng.random() < 0.5:
        words["place"] = invented_name(rng)
    year = number(rng.randrange(11, 20)) + " " + number(rng.randrange(13, 99))
    return words | {"name": invented_name(rng), "person": f"{rng.choice(FIRST_NAMES)} {invented_name(rng)}", "year": year, "size": number(rng.randrange(2, rng.choice([20, 100, 1000])))}


# Questions


def concept_question(rng: random.Random, m: Material) -> Question:
    """A question about one concept or two."""
    concept, other = rng.sample(m.concepts, 2)
    name, definition = concept["concept"] if rng.random() < 0.9 else bare(concept["concept"]), concept["definition"]
    kind = rng.choices(["definition", "example", "mistake", "detail", "compare", "check"], [50, 15, 12, 14, 10, 6])[0]
    if kind == "definition":
        return Question(kind, rng.choice(m.phrasings(ASK)).format(name), f"{definition} For example: {concept['example']}", definition)
    if kind == "compare":
        other = rng.choice([c for c in m.concepts if c["concept"] in concept["related"]] or [other])
        both = f"{definition} {other['definition']}"
        return Question(kind, rng.choice(m.phrasings(COMPARE)).format(name, other["concept"]), both, both)
    if kind == "check":
        return check_question(rng, m, concept, other)
    if kind == "detail":
        return Question(kind, rng.choice(m.phrasings(DETAIL)).format(name), f"{definition} {concept['detail']}", concept["detail"])
    phrasings, source = {"example": (EXAMPLE, "example"), "mistake": (MISTAKE, "misconception")}[kind]
    return Question(kind, rng.choice(m.phrasings(phrasings)).format(name), concept[source], concept[source])


def check_question(rng: random.Random, m: Material, concept: dict, other: dict) -> Question:
    """Whether a definition is right, which is sometimes another concept's."""
    said, answer = concept["definition"], f"Yes, that is right. {concept['detail']}"
    if rng.random() < 0.5 and (wrong := about_another(other, concept["concept"])) != other["definition"]:
        said, answer = wrong, f"No, that is not right. {concept['definition']}"
    return Question("check", rng.choice(m.phrasings(CHECK)).format(small(said, concept["concept"])), answer, answer.split(",")[0] + ",")


def about_another(concept: dict, name: str) -> str:
    """A concept's definition, said of something else; unchanged where it does not begin with the concept."""
    start = capital(concept["concept"]) + " "
    return capital(name) + " " + concept["definition"].removeprefix(start) if concept["definition"].startswith(start) else concept["definition"]


def passage_question(rng: random.Random, m: Material) -> Question:
    """A question that a page of the context answers in one sentence."""
    if rng.random() < (0.5 if m.held_out else 0.25):
        passage = rng.choice(m.passages)
        fact = rng.choice(passage["facts"])
        return Question("passage", fact["question"], fact["answer"], fact["key"], context_for(rng, m, passage["title"], passage["passage"]))
    it, facts = invented_facts(rng, m.held_out)
    asked, shown = facts[0], rng.sample(facts[: rng.choice([2, 3, 4])], k=2)
    shown = shown if asked in shown else [asked, *shown]
    sentences = [f.sentence for f in rng.sample(shown, len(shown))]
    return Question("passage", asked.question, asked.sentence, asked.key, context_for(rng, m, capital(it), " ".join(sentences)))


def missing_question(rng: random.Random, m: Material) -> Question:
    """A question that looks like one about the page, which does not answer it."""
    it, facts = invented_facts(rng, m.held_out)
    text = " ".join(f.sentence for f in facts[1:3])
    return Question("not in passage", facts[0].question, UNKNOWN, "do not know", context_for(rng, m, capital(it), text))


def term_question(rng: random.Random, m: Material) -> Question:
    """What a word means that only the page explains."""
    concept = rng.choice([c for c in m.concepts if not c["concept"].startswith(("an ", "the "))])
    name = concept["concept"].replace(bare(concept["concept"]), invented_word(rng))
    definition = about_another(concept, name)
    text = " ".join(rng.sample([definition, rng.choice(m.concepts)["definition"]], 2))
    return Question("term", rng.choice(m.phrasings(ASK)).format(name), definition, definition, context_for(rng, m, rng.choice(["New words", "Terms", "Summary"]), text))


def arithmetic_question(rng: random.Random, m: Material) -> Question:
    """A sum within 100, in words; one pair of numbers in ten is held out."""
    while True:
        op = rng.choice(["plus", "plus", "minus", "minus", "times", "divided by"])
        top = rng.choice([21, 51])
        a, b = (rng.randrange(11), rng.randrange(1, 11)) if op in ("times", "divided by") else (rng.randrange(top), rng.randrange(top))
        if ((a * 7 + b * 3) % 10 == 0) == m.held_out:
            break
    a, b = (a * b, b) if op == "divided by" else (max(a, b), min(a, b)) if op == "minus" else (a, b)
    result = {"plus": a + b, "minus": a - b, "times": a * b, "divided by": a // b if b else 0}[op]
    said = f"{number(a)} {op} {number(b)}"
    return Question("arithmetic", rng.choice(m.phrasings(SUM)).format(said), f"{capital(said)} is {number(result)}.", f"is {number(result)}.")


def small_talk(rng: random.Random, m: Material) -> Question:
    """Being polite; nothing to hold out."""
    said, answer = rng.choice(SMALL_TALK)
    return Question("small talk", rng.choice(said), answer, answer)


def unknown_question(rng: random.Random, m: Material) -> Question:
    """A question that neither curriculum nor context answers."""
    about = rng.choice(m.unknown) if rng.random() < 0.6 else rng.choice(["a ", "the ", ""]) + invented_word(rng)
    return Question("unknown", rng.choice(m.phrasings(ASK)).format(about), UNKNOWN, "do not know")


def dictation(rng: random.Random, m: Material) -> Question:
    """Words without sense, which only somebody who copies them letter by letter can write down."""
    words = [w for c in rng.sample(m.concepts, 3) for w in plain(c["definition"]).split()] + [invented_word(rng) for _ in range(3)]
    return Question("dictation", capital(" ".join(rng.sample(words, rng.randrange(3, 10)))) + ".", UNKNOWN, "do not know")


KINDS = {dictation: 30, concept_question: 46, passage_question: 20, missing_question: 4, term_question: 6, arithmetic_question: 12, small_talk: 5, unknown_question: 7}  # with their shares


def make_turn(rng: random.Random, m: Material) -> Turn:
    """A random turn."""
    q = rng.choices(list(KINDS), KINDS.values())[0](rng, m)
    text = q.text if q.kind in ("small talk", "check") or rng.random() < 0.88 else polite(rng, q.text, m)
    rate = rng.choice([0, 0, 0, 0, 0, 0, 0.1, 0.1, 0.2, 0.4])  # mostly right: copying must be learned before correcting
    heard = misheard(text, rng, rate, m.mishearings)
    return Turn(q.kind, any_context(rng, m) if q.context is None else q.context, heard, capital(text), q.answer, q.key)


def polite(rng: random.Random, text: str, m: Material) -> str:
    """The question with an opening before it."""
    keeps = text.split()[0] in ("I", "I'm")
    return rng.choice(m.phrasings(OPENINGS)) + (text if keeps else text[:1].lower() + text[1:])


def any_context(rng: random.Random, m: Material) -> str:
    """A context that does not matter: none, a course header, or a page about something else."""
    form = rng.random()
    if form < 0.4:
        return ""
    if form < 0.8:
        return course_header(rng)
    passage = rng.choice(m.passages)
    return context_for(rng, m, passage["title"], passage["passage"])


def make_turns(n: int, seed: int, held_out: bool = False, hypotheses: Path | None = None) -> list[Turn]:
    """`n` turns, the same for the same seed; `held_out` ones are made of what training never sees."""
    rng, material = random.Random(seed), load_material(held_out, hypotheses)
    return [make_turn(rng, material) for _ in range(n)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", type=int, default=20, help="how many turns to print")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", action="store_true", help="turns for measuring instead of training")
    parser.add_argument("--hypotheses", type=Path, help='lines {"text", "heard"} of a real recogniser, whose mishearings are mixed in')
    args = parser.parse_args()
    for turn in make_turns(args.show, args.seed, args.held_out, args.hypotheses):
        print(f"[{turn.kind}] {turn.context}\n  heard:    {turn.heard}\n  said:     {turn.transcript}\n  answer:   {turn.response}\n")
