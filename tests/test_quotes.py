"""Sentences of a course, and those that answer a question."""

import pytest

from hubert_llama.course.quotes import find_quotes, sentences

SLIDE = (
    "Slide 3: The heart\n- The human heart has four chambers.\n- The left ventricle pumps blood into the aorta. "
    "It beats 1.2 times a second.\n\n2) Dr. No! Is it true? yes")
PLUTO = "Slide 7: Pluto and the dwarf planets\nClyde Tombaugh discovered Pluto in nineteen thirty."
TELR = "The battle of Telr. The battle of Telr lasted eighteen hours."


def quoted(course: str, question: str) -> list[str]:
    return [quote.text for quote in find_quotes(course, question)]


def test_sentences_of_a_slide():
    assert sentences(SLIDE) == [
        "Slide 3: The heart", "The human heart has four chambers.", "The left ventricle pumps blood into the aorta.",
        "It beats 1.2 times a second.", "Dr.", "No!", "Is it true? yes"]


def test_long_sentences_are_cut_between_words():
    assert sentences(" \n ") == []
    assert [len(sentence) for sentence in sentences("word " * 100)] == [399, 99]


@pytest.mark.parametrize(
    "course, question, sentence",
    [
        (SLIDE, "what does the left ventrikle pump", "The left ventricle pumps blood into the aorta."),
        (SLIDE, "How many chambers are there?", "The human heart has four chambers."),
        (TELR, "How long did the battle of Telr last?", "The battle of Telr lasted eighteen hours."),
        (PLUTO, "Do you know the astronomer who found Pluto?",
         "Clyde Tombaugh discovered Pluto in nineteen thirty."),
        ("What’s new? The planet’s core is made of iron.", "Whats the planet's core?",
         "The planet’s core is made of iron."),
    ],
)
def test_the_sentence_that_answers(course, question, sentence):
    assert quoted(course, question) == [sentence]


@pytest.mark.parametrize("name", ["Schrödinger", "Schro\u0308dinger"])
def test_names_in_either_form_of_accents(name):
    course = f"{name} was an Austrian physicist."
    assert quoted(course, "Who was schrodinger?") == [course]


@pytest.mark.parametrize("question", ["What is the capital of France?", "Who are you?", "is it", "", "…"])
def test_no_sentence_answers(question):
    assert quoted(SLIDE, question) == []


@pytest.mark.parametrize("course", ["", "\n", "the of", "- \n- ", "The heart."])
def test_courses_that_say_nothing(course):
    assert quoted(course, "What is the heart?") == []
