"""Names that a course has in the possessive only, and words that a small Llama makes up."""

import pytest

from hubert_llama.answers import AnswerConfig, Fault, find_fault
from hubert_llama.words.search import _words, as_written, spellings

SMALL = AnswerConfig().for_small_model()
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
        ("Gravity is the force that pulls masses towards each other.", None),
        ("Gravity keeps all fromravelsely by gravity.", Fault.NON_WORDS),
        ("Gravity is light in a lightome.", Fault.NON_WORDS),
        ("Gravity is the force of the Fent.", Fault.NON_WORDS),
    ],
)
def test_a_small_model_knows_no_word_that_the_vocabulary_lacks(said, why):
    assert find_fault(said, "", ENGLISH.__contains__, "", SMALL) == why


def test_a_big_model_may_know_a_word_more():
    said = "Gravity is the force that keeps all of the planets, say astrophysicists."
    assert find_fault(said, "", ENGLISH.__contains__, "") is None
