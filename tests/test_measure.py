"""What a manifest may hold, how words are counted, and what a report says of a run."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from hubert_llama.measure.manifest import ManifestError, Utterance, make_contexts, read_manifest
from hubert_llama.measure.plots import draw
from hubert_llama.measure.report import (
    STAGES,
    Outcome,
    Report,
    Silence,
    calibrate,
    count_course_words,
    count_edits,
    failures,
    judged_words,
    read_outcomes,
    report,
    run,
    stage_text,
    to_html,
)
from hubert_llama.measure.score import Interval, count_errors, interval, normalise

RESULTS = Path(__file__).parent.parent / "training" / "results"
LINE = '{"audio": "a.wav", "text": "%s"}'
ATOM = Utterance("a.wav", "what is an atom")
CLEAR = Outcome(ATOM, "what is an atom", "What is an atom?", "An atom is small.", 1.0, 0.1)
MUMBLED = replace(CLEAR, raw="what is a", transcript="What is a tomb?", response="Say it once more.", unclear=True)
SILENT = Outcome(Utterance("s.wav", ""), transcript="Thank you.", raw="thank you", duration=1.0, seconds=0.1)
STRANGE = 'a|b <b>"x" & \\ $\\frac$'  # a corpus may have any name


# manifests


def texts(path, data: bytes) -> list[str]:
    path.write_bytes(data)
    return [u.text for u in read_manifest(path)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "line 1: not JSON"),
        ('{"audio": "a.wav"}', "`text` is missing"),
        ('{"text": "a"}', "`audio` is missing"),
        ('{"audio": 3, "text": ""}', "`audio` must be a string"),
        ("[]", "an object"),
        ("", "Nothing to measure"),
        ("[" * 20000, "not JSON"),
        ('{"audio": "a.wav", "text": "a", "text": "b"}', "a key stands twice: text"),
    ],
)
def test_a_line_that_is_none_is_refused(tmp_path, line, why):
    with pytest.raises(ManifestError, match=re.escape(why)):
        texts(tmp_path / "m.jsonl", line.encode())


def test_a_missing_file_and_a_choice_of_nothing_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="not readable"):
        read_manifest(tmp_path / "none.jsonl")
    (tmp_path / "m.jsonl").write_text(LINE % "a")
    with pytest.raises(ManifestError, match="has 1 lines, none with {'kind': 'poem'}"):
        read_manifest(tmp_path / "m.jsonl", {"kind": "poem"})


def test_a_manifest_is_read_as_spreadsheets_and_programs_write_it(tmp_path):
    path = tmp_path / "m.jsonl"
    assert texts(path, (LINE % "hello").encode("utf-8-sig")) == ["hello"]
    assert texts(path, "\r\n".join([LINE % "a", "", LINE % "b", ""]).encode()) == ["a", "b"]
    for separator in "\u2028\u2029\u0085":
        assert texts(path, (LINE % f"hello{separator}there").encode()) == [f"hello{separator}there"]
    assert texts(path, (LINE % "\\ud800").encode()) == ["?"]
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        with pytest.raises(ManifestError, match="Save it as UTF-8"):
            texts(path, (LINE % "hello").encode(encoding))


def test_contexts_are_given_withheld_or_another_s():
    pair = [Utterance("a.wav", "gravity pulls", context="Newton"), Utterance("b.wav", "cells divide", context="Hooke")]
    given, none, others = (list(make_contexts(pair, source).values()) for source in ("given", "none", "others"))
    assert (given, none, others) == (["Newton", "Hooke"], ["", ""], ["Hooke", "Newton"])
    unsaid = make_contexts(pair, "none", distractors=3)[pair[0]].split()
    assert len(unsaid) == 3 and not {"gravity", "pulls"} & set(unsaid)


# counting


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("What's twenty-five plus 3?", "what is 25 plus three"),
        ("Who was Schrödinger?", "who was schrodinger"),
        ("(Can you explain gravity?)", "can you explain gravity"),
        ("What is seven plus five (as a number)?", "what is 7 plus 5 as a number"),
        ("It is [laughter] over <noise>.", "it is over"),
        ("What is 7+5?", "what is seven plus five"),
        ("What is ７＋５?", "what is seven plus five"),
        ("7 + 5 = 12", "seven plus five equals twelve"),
        ("2x+3", "2 x plus three"),
        ("x - y", "x minus y"),
        ("9-4", "nine minus four"),
        ("9 \u2212 4", "nine minus four"),
        ("3×4 or 3*4 or 3x4", "three times four or three times four or three times four"),
        ("8 ÷ 2 or 8/2", "eight divided by two or eight divided by two"),
        ("3 < 5 and 7 > 2", "three less than five and seven greater than two"),
        ("2^10 and x² at 20°C", "two to the power of ten and x squared at twenty degrees celsius"),
        ("It is -5.", "it is minus five"),
        ("50% of R&D", "fifty percent of r and d"),
        ("√9", "square root of nine"),
    ],
)
def test_what_sounds_the_same_counts_as_the_same(text, same):
    assert normalise(text) == normalise(same)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Read pages 7-9.", "read pages 7 9"),
        ("a well-known C++ book", "a well known c book"),
        ("about 1/2 of 1914-1918", "about one 2 of 1914 1918"),
        ("+", ""),
        ("I - well", "i well"),
    ],
)
def test_signs_that_are_not_said_stay_out(text, normal):
    assert normalise(text) == normal


@pytest.mark.parametrize("apostrophe", "\u2019\u02bc\u2032\uff07`\u2018\u00b4")
def test_an_apostrophe_is_no_error(apostrophe):
    assert count_errors(f"What{apostrophe}s gravity?", "", "What's gravity?").final == 0


@pytest.mark.parametrize("many", ["\u0301", " ", "[", "<", "(", "'", "` "])
def test_long_texts_are_normalised_in_linear_time(many):
    assert normalise(f"well {many * 100_000} said") == "well said"


def test_errors_are_counted_against_what_was_said():
    assert len(normalise("7" * 5000)) >= 5000
    e = count_errors("What is the capital of France?", "WHAT IS THE CAPITLE OF FRANCE", "What is a capital of France?")
    assert (e.words, e.raw, e.final, e.letters, e.raw_letters, e.final_letters) == (6, 1, 1, 29, 2, 3)
    assert (e.harmful, e.exact) == (1, False)
    assert count_errors("", "", "").exact and count_errors("", "", "Hello there.").final == 2
    assert count_errors("Hello.", "", "").final == 1


def test_an_interval_holds_the_rate_and_is_read_as_it_is_written():
    low, high = interval([0, 1, 0, 2] * 50, [5] * 200)
    assert low < 15 < high
    assert interval([1] * 10, [4] * 10) == (25.0, 25.0)
    assert Interval.parse(str(Interval(1.9, 12.0))) == (1.9, 12.0)


# rows


def test_a_stage_that_made_nothing_has_the_reading_before_it():
    readings = {"greedy": "the hole sell", "search": "the hole cell", "selection": "the whole cell", "llama": ""}
    o = Outcome(Utterance("a.wav", "the whole cell"), "the hole sell", "The whole sell.", readings=readings)
    read = ["the hole sell", "the hole cell", "the hole sell", "the whole cell", "the whole cell", "The whole sell."]
    assert [stage_text(o, stage) for stage in STAGES] == read
    assert [row.errors for row in report([o]).stages] == [2, 1, 2, 0, 0, 1]


def test_course_words_are_counted_where_they_are_said_and_where_not():
    who = Utterance("a.wav", "Who was Hooke?")
    right = Outcome(who, "", "Who was Hooke?", readings={"greedy": "who was hook"}, course=["hooke", "newton"])
    rows = count_course_words([right, replace(right, transcript="Newton was Hooke.")], ["raw", "guarded"])
    assert [(r.said, r.recall, r.false_alarms) for r in rows] == [(2, 0.0, 0), (2, 100.0, 1)]
    assert count_course_words([CLEAR], ["raw"]) == []


def test_edits_are_counted_by_author():
    made = [("hole", "whole", "llama"), ("cell", "", "llama"), ("sell", "cell", "search"), ("the", "a", "refused")]
    edits = [{"from": a, "to": b, "author": author} for a, b, author in made]
    rows = count_edits([Outcome(Utterance("a.wav", "The whole cell."), corrections=edits)])
    shares = [(r.author, r.count, r.new_said, r.old_said) for r in rows]
    assert shares == [("llama", 2, 50.0, 50.0), ("refused", 1, 0.0, 100.0), ("search", 1, 100.0, 0.0)]


def test_confidence_is_judged_only_where_words_can_be_told_apart():
    words = [("One", 0.95), ("two", 0.95), ("tree", 0.15), ("four", 0.95)]
    claims = Outcome(Utterance("a.wav", "one two three four"), words=words)
    assert [right for _, right in judged_words([claims])] == [True, True, False, True]
    bins, all_words = calibrate([claims])
    assert [(b.bounds, b.words) for b in bins] == [((0.1, 0.2), 1), ((0.9, 1.0), 3)]
    assert all_words.error == pytest.approx((15 + 3 * 5) / 4, abs=0.1)
    assert calibrate([]) == ([], None)
    assert judged_words([Outcome(Utterance("a.wav", "7+5"), words=[("seven", 0.9)])]) == []


# reports


def test_silence_and_questions_that_were_asked_again():
    quiet = Outcome(Utterance("t.wav", ""), duration=1.0, seconds=0.1)
    assert report([SILENT, quiet]).silence == Silence(clips=2, transcribed=1)
    row = report([MUMBLED, CLEAR]).unclear[0]
    assert (row.corpus, row.clips, row.asked, row.asked_wer, row.others_wer) == ("(no corpus)", 2, 1, 50.0, 0.0)
    assert report([MUMBLED]).unclear[0].cells()["the others’ WER %"] == "–"
    assert report([CLEAR]).unclear == []


def test_a_report_of_nothing_says_nothing():
    figures = report([])
    assert figures.to_markdown() == "" and figures.speed is None and draw([], figures) == []
    assert "Thank you." in failures([SILENT])[0]
    assert "1 recordings" in report([Outcome(ATOM, error="not found")]).to_markdown()


def test_report_json_keeps_all_and_is_keyed_by_titles():
    figures = report([MUMBLED, CLEAR, SILENT, Outcome(ATOM, error="not found")], memory=800)
    written = json.loads(json.dumps(figures.to_dict()))
    assert Report.from_dict(written) == figures
    assert written["corpora"][0]["WER %"] == 25.0 and written["corpora"][0]["95 %"] == "0.0–50.0"
    assert written["speed"]["peak memory MB"] == 800 and "hubert ms" not in written["speed"]
    assert written["calibration"] == {} and written["errors"] == 1


@pytest.mark.parametrize("name", ["held-out", "people"])
def test_the_reports_of_the_last_measurement_are_read(name):
    written = json.loads((RESULTS / name / "report.json").read_text(encoding="utf-8"))
    assert Report.from_dict(written).to_dict() == written
    assert Report.from_dict(written).to_markdown() in (RESULTS / name / "report.md").read_text(encoding="utf-8")


def test_a_corpus_may_have_any_name():
    named = [(CLEAR, STRANGE), (MUMBLED, "two\nlines")]
    figures = report([replace(o, utterance=replace(o.utterance, corpus=name)) for o, name in named])
    cells = [re.split(r"(?<!\\)[|]", line)[1:-1] for line in figures.to_markdown().split("\n\n")[0].split("\n")]
    assert {len(line) for line in cells} == {len(figures.corpora[0].cells())}
    assert [line[0].strip() for line in cells[2:4]] == [r'a\|b \<b>"x" & \\ $\\frac$', "two lines"]
    outcome = replace(CLEAR, utterance=replace(ATOM, corpus=STRANGE))
    figures = report([outcome])
    page = to_html(figures, "mini <on> clips", pictures=draw([outcome], figures))
    assert "&lt;on&gt;" in page and "http" not in page and page.count("<img") == 3  # no word had a confidence
    assert "<td>a|b &lt;b&gt;&quot;x&quot; &amp; \\ $\\frac$</td>" in page
    assert page.count("<tr><td>a|b") == 1 + len(STAGES)


# runs


def test_a_run_goes_on_after_the_last_whole_line(tmp_path):
    kept = [CLEAR, SILENT]
    path = tmp_path / "outcomes.jsonl"
    broken = '{"utterance": {"audio": [], "text": ""}}\n{"utterance": {"aud'  # a list for a path; stopped in mid-line
    path.write_text("\n".join(json.dumps(asdict(o)) for o in kept) + "\n" + broken)
    done = read_outcomes(path)
    assert list(done.values()) == kept
    assert list(run(None, list(done), done)) == kept  # nothing is left to do, so no pipeline is needed
    with pytest.raises(ValueError, match="No pipeline to understand b.wav"):
        list(run(None, [Utterance("b.wav", "")], done))


def test_an_outcome_whose_corrections_have_no_authors_is_understood_anew(tmp_path):
    path, edit = tmp_path / "outcomes.jsonl", {"from": "a", "to": "b", "reason": "search: a likelier reading"}
    outcomes = [replace(CLEAR, corrections=[{**edit, **by}]) for by in ({}, {"author": "search"})]
    for outcome, left in zip(outcomes, ({}, {ATOM: outcomes[1]}), strict=True):
        path.write_text(json.dumps(asdict(outcome)))
        assert read_outcomes(path) == left


def test_manifests_joined_end_to_end_have_several_marks_of_their_order(tmp_path):
    line = json.dumps({"audio": "a.wav", "text": "what is light"})
    (tmp_path / "m.jsonl").write_text(f"\ufeff{line}\n\ufeff{line}\n", encoding="utf-8")
    assert [u.text for u in read_manifest(tmp_path / "m.jsonl")] == ["what is light"] * 2
