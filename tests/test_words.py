"""The corners of words: letters, likelihoods, confidence, the search's parts, words' times."""

import unicodedata
from itertools import product

import numpy as np
import pytest
from conftest import CLIPS

from hubert_llama.audio import load_audio
from hubert_llama.models import hub
from hubert_llama.words.confidence import (
    Calibration,
    MisheardWeights,
    SignWeights,
    Word,
    agreements,
    signs_of_transcript,
)
from hubert_llama.words.ctc import (
    _in_logarithms,
    _sentence,
    align,
    edit_distance,
    judge,
    letters,
    log_likelihoods,
    spell,
)
from hubert_llama.words.ngrams import LanguageModel
from hubert_llama.words.search import (
    BeamConfig,
    BeamSearch,
    LetterSearch,
    Lexicon,
    as_written,
    course_bonus,
    course_words,
    rare_words,
    spellings,
    spelt_words,
)
from hubert_llama.words.times import EARLIER, LONGEST_LEAD, PAUSE, time_words

NEVER = -float("inf")
LABELS = ["<pad>", "|", "A", "B", "'"]
SCORES = {"<s>": -99.0, "</s>": -1.0, "ab": -0.5, "ba": -0.7, "b": -0.9, "<s> ab": -0.1, "ab b": -0.4}
LM = LanguageModel(SCORES, {"<s>": -0.3, "ab": -0.2}, 2)
TINY = np.log(np.random.default_rng(0).dirichlet(np.ones(5), size=4)).astype(np.float32)  # (T, V) = (4, 5)
CALIBRATION = Calibration(SignWeights(1.0, 2.0, 3.0, 0.5), SignWeights(2.0, 2.0, 3.0, 0.5, 0.4), "a1")
MISHEARD = MisheardWeights(bias=1.0, confidence=-4.0, change=2.0, sound=-1.0, limit=0.3)
QUESTION = "What is photosynthesis?"
PHYSICS = (
    "SCHRÖDINGER\nSchrödinger was a physicist. Schro\u0308dinger\u2019s naïve cat, the ﬁbonacci numbers of Hawaiʼi; "
    "Ampe\u0300re, μm and Что.")


def emissions(columns: list[int], read: float = -0.01, other: float = -9.0) -> np.ndarray:
    """A symbol a frame."""
    found = np.full((len(columns), len(LABELS)), other, np.float32)
    found[np.arange(len(columns)), columns] = read
    return found


SHARP = emissions([0, 2, 2, 0, 2, 3, 0, 1, 4])  # "aab '"
SOUND = emissions([2, 2, 3, 0, 1, 0, 3, 3], read=-0.1)  # something like "ab b"


# Letters

NAMES = {
    "Schrödinger": "schrodinger", "POINCARÉ": "poincare", "Ampère": "ampere", "naïve": "naive", "Œuvre": "oeuvre",
    "Łukasiewicz": "lukasiewicz", "Gauß": "gauss", "Ørsted": "orsted", "Þór": "thor", "Guðrún": "gudrun",
    "Đorđe": "dorde", "Cæsar": "caesar", "Erdős": "erdos", "Işık": "isik", "ＡＢＣ": "abc", "ﬁssion": "fission",
    "Nguyễn": "nguyen", "Ångström": "angstrom", "Sørensen–Dice": "sorensen dice", "Ko\u00adpernikus": "kopernikus",
    "O\u02bcNeill": "o'neill"}


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_names_in_plain_letters(form):
    assert [letters(unicodedata.normalize(form, name)) for name in NAMES] == list(NAMES.values())


@pytest.mark.parametrize("mark", "'\u2019\u02bc\u2032\uff07`\u2018\u00b4")
def test_all_apostrophes_are_one(mark):
    assert letters(f"What{mark}s that?") == "what's that"


def test_what_is_no_letter():
    assert letters("‘Gravity’, `code` and 5′") == "gravity' code and 5"  # a closing quotation mark may be an apostrophe
    assert letters("Что такое DNA, μm и 10½?") == "что такое dna μm и 10½"  # no half of another script's word is left
    assert letters("a" + "\u0301\u0323" * 100_000 + "b \ud800 \x00 \U0001f600") == "ab"


# Likelihoods and alignment


def ways(text: str) -> list[tuple[int, ...]]:
    """All ways of writing a text in four frames."""
    columns = spell(text, LABELS)
    paths = product(range(5), repeat=4)
    return [p for p in paths if [x for i, x in enumerate(p) if x and (i == 0 or p[i - 1] != x)] == columns]


def test_what_cannot_be_written_has_no_likelihood():
    assert log_likelihoods(TINY, ["abab", "ababab", "c"], LABELS)[1:] == [NEVER] * 2
    assert log_likelihoods(TINY[:2], ["aa", "abab"], LABELS) == [NEVER] * 2  # two letters alike want a blank between


def test_likelihoods_of_long_texts_do_not_underflow():
    silence = emissions([0] * 400, read=0.0, other=-12.0)
    for text in ("a b", "ab " * 60 + "ab"):
        want = _in_logarithms(silence.astype(np.float64), spell(text, LABELS), 0)
        assert log_likelihoods(silence, [text], LABELS)[0] == pytest.approx(want, abs=1e-3)
    assert log_likelihoods(silence, ["ab " * 60 + "ab"], LABELS)[0] < -1500
    texts = ("a", "", "a b")
    alone = [log_likelihoods(silence, [text], LABELS)[0] for text in texts]
    assert log_likelihoods(silence, texts, LABELS) == pytest.approx(alone, abs=1e-5)


def test_alignment_is_the_likeliest_way():
    best = max(ways("ab"), key=lambda path: sum(TINY[t, x] for t, x in enumerate(path)))
    want = [(best.index(x), 4 - best[::-1].index(x)) for x in spell("ab", LABELS)]
    assert align(TINY, spell("ab", LABELS)) == want


def test_alignment_without_room():
    assert align(SHARP, []) is None
    assert align(SHARP[:3], spell("aab", LABELS)) is None
    assert align(SHARP[:2], spell("ab", LABELS)) == [(0, 1), (1, 2)]


# Proposals


@pytest.fixture(scope="module")
def encoder():
    from hubert_llama.hubert import SpeechEncoder
    from hubert_llama.models.profiles import PROFILES

    return SpeechEncoder.from_pretrained(PROFILES["mini"].hubert)


@pytest.fixture(scope="module")
def encoding(encoder):
    return encoder.encode([load_audio(CLIPS / "photosynthesis.ogg")])[0]


def test_proposals_add_nothing_that_was_not_said(encoder, encoding):
    heard = encoding.text.lower()
    assert judge(encoding.emissions, heard, heard, encoder.labels) == (_sentence(heard.split()), [])
    answer = "Photosynthesis is how plants make sugar in the light of the sun."
    changes = judge(encoding.emissions, heard, answer, encoder.labels)[1]
    assert not any(c.accepted for c in changes if len(c.proposed) > len("photosynthesis"))
    unspelt = judge(encoding.emissions, heard, heard + " 6", encoder.labels)[1]
    assert unspelt and all(not c.accepted and c.cost is None for c in unspelt)


def test_edits_and_sentences():
    assert (edit_distance("kitten", "sitting"), edit_distance("", "ab")) == (3, 2)
    assert _sentence(["so", "twenty-", "five", "it", "is,"]) == "So twenty-five it is."
    assert (_sentence([]), _sentence(["can", "i", "go"], "?")) == ("", "Can I go?")


# Confidence


def test_agreement_of_other_readings():
    assert agreements("a b", []) == [1.0, 1.0]
    assert agreements("x", [("y", 1.0), ("z x", 1.0)]) == pytest.approx([0.5])


def test_chances_stay_between_zero_and_one():
    assert 0 < CALIBRATION(-1e9, 0, 0) < CALIBRATION(0, 0, 1) < 1
    assert 0 < MISHEARD(1e9, 0, 0) < MISHEARD(-1e9, 0, 0) < 1


def test_every_sign_counts():
    assert CALIBRATION(-0.1, -0.2, 0.9) > CALIBRATION(-0.5, -0.2, 0.9) > CALIBRATION(-0.5, -0.2, 0.2)
    assert CALIBRATION(-0.5, -0.2, 0.2) > CALIBRATION(-0.5, -0.4, 0.2)
    assert MISHEARD(0.2, 0.5, -0.4) > MISHEARD(0.9, 0.5, -0.4) > MISHEARD(0.9, 0.1, -0.4) > MISHEARD(0.9, 0.1, -0.1)


def test_sense_counts_for_its_own_language_model_only():
    signs = (-0.5, -0.2, 0.9)
    assert CALIBRATION(*signs, -2.0) > CALIBRATION(*signs) > CALIBRATION(*signs, -4.0)
    assert CALIBRATION.beside("a1") == CALIBRATION
    assert CALIBRATION.beside("b2")(*signs, -4.0) == CALIBRATION(*signs)  # another model's opinions are others
    assert Calibration()(*signs, -4.0) == pytest.approx(np.exp(-0.5), abs=1e-9)


@pytest.mark.parametrize(
    "text, want",
    [
        (
            '{"of_sound": {"bias": 1, "sound": 2, "evidence": 3, "agreement": 0.5}, "with_sense": {"bias": 2, "sound": '
            '2, "evidence": 3, "agreement": 0.5, "sense": 0.4}, "llama": "a1", "fitted_on_words": 10}', CALIBRATION),
        ('{"lead": 0.1}', Calibration(lead=0.1)),
        ('{"gap": 0.03, "tail": 0}', Calibration(tail=0.0, gap=0.03)),
        ('{"gap": null, "tail": 0}', Calibration(tail=0.0)),
        ('{"misheard": {"bias": 1, "confidence": -4, "change": 2, "sound": -1, "limit": 0.3}}',
         Calibration(misheard=MISHEARD)),
        ('{"misheard": null, "gap": 0.03}', Calibration(gap=0.03)),
        *((useless, None) for useless in (
            "[1]", "{", '{"of_sound": {"loudness": 1}}', '{"of_sound": {"bias": "high"}}',
            '{"misheard": {"loudness": 1}}')),
    ],
)
def test_calibrations_beside_weights(tmp_path, text, want):
    assert Calibration.from_folder(tmp_path) is None
    (tmp_path / "calibration.json").write_text(text)
    assert Calibration.from_folder(tmp_path) == want


def test_signs_of_a_transcript():
    assert signs_of_transcript(SHARP, "aab", "aabb", [Word("aabb", 0, 1, 0.5)])[1] == 0.25
    blanks = signs_of_transcript(SHARP[:1], "", "", [Word("a", 0, 1, 0.5)])
    assert blanks == (0.5, 0.0, 0.0)


# The search


def test_search_settings_beside_weights(tmp_path):
    assert BeamConfig.from_folder(tmp_path) == BeamConfig()
    (tmp_path / "language_model").mkdir()
    file = tmp_path / "language_model" / "search.json"
    for wrong in ('{"zork": 1}', '{"beam": "many"}', '{"beam": true}', "[]"):
        file.write_text(wrong)
        with pytest.raises(hub.ModelFormatError, match=r"search\.json"):
            BeamConfig.from_folder(tmp_path)


def test_course_words_are_few():
    page = "The Ababa river. A zebra, a giraffe and a cab; ab ba."
    assert (course_words(page, "hello", LM), course_words("", "ababa", LM)) == ([], [])
    words = (f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(600))
    assert len(course_words(" ".join(words), "worda wordb wordc wordd", LM)) <= 15


def test_a_course_bonus_fades():
    assert [course_bonus(n) for n in (0, 25)] == [2.0, 2.0]
    assert 2.0 > course_bonus(50) > course_bonus(100) > course_bonus(200) == 0.0


def test_spellings_of_a_course():
    assert spellings(PHYSICS) == {
        "schrodinger": "Schrödinger", "schrodinger's": "Schrödinger’s", "naive": "naïve", "fibonacci": "ﬁbonacci",
        "hawai'i": "Hawaiʼi", "ampere": "Ampère"}
    want = {"Naive.": "Naïve.", "Schrödinger-like": "Schrödinger-like", "Schrodinger's": "Schrödinger’s", "": ""}
    assert {text: as_written(text, spellings(PHYSICS)) for text in want} == want


def test_rare_words_do_not_depend_on_the_form_of_accents():
    assert rare_words(PHYSICS, LM) == [
        "schrodinger", "physicist", "schrodinger's", "naive", "fibonacci", "numbers", "hawai'i", "ampere"]
    assert rare_words(unicodedata.normalize("NFD", PHYSICS), LM) == rare_words(PHYSICS, LM)


@pytest.mark.parametrize(
    "columns, known, want",
    [
        ([0, 2, 2, 3, 0, 1, 0, 3, 0, 3, 0], ["a", "b", "aab"], []),
        ([0, 0, 1, 1], ["", "ab"], []),
        ([2, 1, 3, 2, 1], ["a", "ba"], [(1, 5)]),
    ],
)
def test_words_that_are_spelt_out(columns, known, want):
    assert list(spelt_words(np.eye(5, dtype=np.float32)[columns], LABELS, known.__contains__)) == want


def test_the_tree_of_words_grows_beside_itself():
    tree = Lexicon(["ab", "ba", "b", "abab", "a5"], [-1.0, -2.0, -3.0, -0.5, 0.0], LABELS)
    assert [LABELS[i] for i in tree.symbol] == ["|", "A", "B", "A", "B", "B", "A"]
    larger = tree.with_words([spell("b'a", LABELS), spell("ab'", LABELS)], -0.25, 5)
    assert (len(tree.symbol), tree.best[5], larger.best[5]) == (7, -2, -0.25)
    assert (larger.word[-3:].tolist(), sorted(set(larger.word))) == ([-1, -1, -1], [-1, 0, 1, 2, 3, 5, 6])
    assert Lexicon([], [], LABELS).children.tolist() == [[0, 0, 0]]


def test_a_search_without_frames_or_readings():
    search = BeamSearch(LABELS, LM)
    assert search.start().readings(3) == []
    whole = search.start()
    whole.advance(SOUND)
    assert (whole.frames, whole.readings(0)) == (8, [])
    silent = search.start()
    silent.advance(emissions([0] * 9, read=0.0, other=-20.0))
    assert silent.readings(3) == []


def test_the_narrowest_beam_holds_its_bounds():
    config = BeamConfig(beam=6, symbols=1, endings=1)
    decoding = BeamSearch(LABELS, LM, config).start()
    decoding.advance(np.log(np.full((60, 5), 0.2, np.float32)))
    assert 0 < decoding.most_weighed <= config.most_weighed
    assert 0 < len(decoding.beam.keys) <= config.beam


def test_a_search_over_letters():
    search = LetterSearch(LABELS)
    first = search(SOUND)[0]
    assert first.total == first.score
    unsure = np.log(np.random.default_rng(0).dirichlet(np.ones(5), 12)).astype(np.float32)
    assert len({h.text for h in search(unsure, n=5)}) == 5
    blank = np.log(np.array([[0.9, 0.025, 0.025, 0.025, 0.025]] * 3, np.float32))
    assert search(blank)[0].text in ("a", "b", "'")  # what is empty is no reading


# Times


def test_an_end_that_cannot_be_made_out_makes_the_beginning_less_sure(encoder, encoding):
    noisy = encoding.emissions.copy()
    noisy[-40:] = np.log(1 / len(encoder.labels))
    first = [time_words(e, QUESTION, encoder.labels, calibration=CALIBRATION)[0] for e in (noisy, encoding.emissions)]
    assert first[0].confidence < first[1].confidence
    assert all(0 < w.confidence <= 1 for w in time_words(encoding.emissions, QUESTION, encoder.labels))


def at(frame: int) -> float:
    """The second that a HuBERT's frame stands for."""
    return (frame * 320 + 200) / 16_000


def marked(**frames: int) -> np.ndarray:
    """Ninety frames of blanks, with a symbol in each of the frames named."""
    found = emissions([0] * 90, read=-0.1)
    for symbol, frame in frames.items():
        found[frame] = -9
        found[frame, LABELS.index("|" if symbol == "gap" else symbol)] = -0.01
    return found


def edges(sound: np.ndarray, calibration: Calibration) -> list[float]:
    return [t for w in time_words(sound, "a b", LABELS, calibration=calibration) for t in (w.start, w.end)]


@pytest.mark.parametrize(
    "gap, end, start", [
        (20, at(20) - 0.03 - EARLIER - PAUSE, at(20) - 0.03 - EARLIER),
        (60, at(10) + 0.05, at(60) - 0.03),
    ]
)
def test_a_gap_marks_where_a_word_begins(gap, end, start):
    sound = marked(A=10, gap=gap, B=gap + 6)
    with_gap = edges(sound, Calibration(lead=0.1, tail=0.05, gap=0.03))
    assert with_gap == pytest.approx([at(10) - 0.1, end, start, at(gap + 6) + 0.05], abs=1e-3)
    without = edges(sound, Calibration(lead=0.1, tail=0.05))
    assert without == pytest.approx([at(10) - 0.1, at(10) + 0.05, at(gap + 6) - 0.1, at(gap + 6) + 0.05], abs=1e-3)


def test_a_word_begins_soon_where_no_gap_is_seen():
    sound = marked()
    sound[10, LABELS.index("A")] = sound[62, LABELS.index("B")] = 5
    assert edges(sound, Calibration(gap=0.03))[2] == pytest.approx(at(62) - LONGEST_LEAD, abs=1e-3)


def test_each_word_has_its_own_share_of_agreement(encoder, encoding):
    text, readings = "U.S. is photosynthesis", [("u s is photosynthesis", 0.0), ("you is photosynthesis", 0.0)]
    read = time_words(encoding.emissions, text, encoder.labels, readings, CALIBRATION)
    assert [w.word for w in read] == ["U.S", "is", "photosynthesis"]
    alone = time_words(encoding.emissions, text, encoder.labels, [], CALIBRATION)
    assert [w.confidence for w in read[1:]] == pytest.approx([w.confidence for w in alone[1:]], abs=1e-6)


def test_what_cannot_be_timed(encoder, encoding):
    assert time_words(encoding.emissions, "It is 6.", encoder.labels) == []
    assert time_words(encoding.emissions, "", encoder.labels) == []
    assert time_words(encoding.emissions[:4], "photosynthesis", encoder.labels) == []


def test_frames_that_lie_earlier(encoder, encoding):
    words = time_words(encoding.emissions, QUESTION, encoder.labels)
    earlier = time_words(encoding.emissions, QUESTION, encoder.labels, center=0)  # such as a MelHuBERT's
    later = [b.start - a.start for a, b in zip(earlier, words, strict=True)]
    assert later == pytest.approx([200 / 16_000] * 3, abs=2e-3)
