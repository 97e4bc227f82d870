"""Names that a course has in the possessive only, and words that a small Llama makes up."""

from dataclasses import replace

import pytest

from hubert_llama.answers import AnswerConfig, fault
from hubert_llama.words.search import _words, as_written, spellings

SMALL = replace(AnswerConfig(), least_unknown=1, most_unknown=0.0, names=True)
ENGLISH = {
    "gravity", "is", "the", "force", "that", "pulls", "masses", "towards", "each", "other", "keeps", "all", "of",
    "planets", "by", "light", "in", "say"}


@pytest.mark.parametrize("course", ["Schrödinger's cat.", "Schrödinger’s cat.", "Schro\u0308dinger's cat."])
def test_a_possessive_names_its_word(course):
    assert {"schrodinger", "schrodinger's", "cat"} == set(_words(course))
    assert as_written("Who was schrodinger?", spellings(course)) == "Who was Schrödinger?"


def test_short_words_with_an_s_are_no_possessives():
    assert list(_words("it's 's")) == ["it's", "it", "s"]


@pytest.mark.parametrize(
    "said, why",
    [
        ("Gravity is the force that pulls masses towards each other.", ""),
        ("Gravity keeps all fromravelsely by gravity.", "non-words"),
        ("Gravity is light in a lightome.", "non-words"),
        ("Gravity is the force of the Fent.", "non-words"),
    ],
)
def test_a_small_model_knows_no_word_that_the_vocabulary_lacks(said, why):
    assert fault(said, "", ENGLISH.__contains__, "", SMALL) == why


def test_a_big_model_may_know_a_word_more():
    said = "Gravity is the force that keeps all of the planets, say astrophysicists."
    assert fault(said, "", ENGLISH.__contains__, "") == ""
