"""Whatever a request, a manifest, a language model's file or a transcript holds: a result, or what is wrong with it."""

import gzip
import json

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubert_llama.measure.manifest import ManifestError, Utterance, read_manifest
from hubert_llama.measure.report import Outcome, failures, read_outcomes, report
from hubert_llama.models.hub import ModelFormatError
from hubert_llama.serve.protocol import LoadModels, Ping, RequestError, SessionUpdate, Transcribe, parse_request
from hubert_llama.words.confidence import Calibration, SignWeights
from hubert_llama.words.ctc import align, judge, letters, log_likelihoods, spell
from hubert_llama.words.ngrams import LanguageModel
from hubert_llama.words.repair import split_words
from hubert_llama.words.search import BeamSearch, course_words
from hubert_llama.words.times import time_words

LABELS = ["<pad>", "|", "A", "B", "C", "'"]
plain = st.none() | st.booleans() | st.floats() | st.text()
anything = st.recursive(plain, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=8)
field_names = st.sampled_from(["type", "audio_path", "context", "timeout", "request_id", "stream", "remember"])
requests = st.recursive(
    plain | st.integers(), lambda x: st.lists(x, max_size=3) | st.dictionaries(field_names, x, max_size=6))
json_lines = st.lists(anything).map(lambda rows: "\n".join(map(json.dumps, rows)).encode())
arpa = st.text(alphabet="\\-123gramsdat\t\n .ab<>/").map(str.encode)
readings = st.lists(st.tuples(st.text() | st.text(alphabet="abc "), st.floats(-99, 99)), max_size=3)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(st.binary() | st.text().map(str.encode) | json_lines)
def test_a_manifest_is_read_or_refused_with_a_reason(tmp_path, data):
    path = tmp_path / "m.jsonl"
    path.write_bytes(data)
    try:
        assert all(u.audio and isinstance(u.text, str) for u in read_manifest(path))
    except ManifestError as e:
        assert "m.jsonl" in str(e)


@quick
@given(st.binary() | json_lines)
def test_broken_outcomes_are_done_anew(tmp_path, data):
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(data)
    assert isinstance(read_outcomes(path), dict)


@quick
@given(st.text(), st.text(), st.text())
def test_any_texts_can_be_counted(said, raw, transcript):
    outcome = Outcome(Utterance("a.wav", said, key=raw), raw, transcript, transcript, 1.0, 0.1)
    figures = report([outcome])
    assert len(figures.corpora) + figures.silence.clips == 1
    assert isinstance(figures.to_markdown(), str) and isinstance(failures([outcome]), list)


@quick
@given(st.binary() | st.text().map(str.encode) | arpa, st.booleans())
def test_a_language_model_is_read_or_refused_with_a_reason(tmp_path, data, compressed):
    path = tmp_path / ("x.arpa.gz" if compressed else "x.arpa")
    path.write_bytes(gzip.compress(data) if compressed and len(data) % 2 else data)
    try:
        assert LanguageModel.from_arpa(path).order >= 1
    except ModelFormatError as e:
        assert "x.arpa" in str(e)


@quick
@given(st.text(alphabet="abc '"), st.text(), st.integers(1, 30))
def test_a_proposal_never_breaks_the_transcript(heard, proposed, frames):
    emissions = np.log(np.random.default_rng(frames).dirichlet(np.ones(len(LABELS)), size=frames)).astype(np.float32)
    text, changes = judge(emissions, heard, proposed, LABELS)
    refused = [c for c in changes if not c.accepted]
    assert set(letters(text).split()) <= set(letters(heard).split()) | set(letters(proposed).split())
    assert all(c.cost is None or c.cost > 0 for c in refused)
    if not any(c.accepted for c in changes):
        assert letters(text) == letters(heard)


@quick
@given(st.text(alphabet="abc '"), st.integers(1, 40))
def test_an_alignment_is_in_order_and_as_likely_as_none_other(text, frames):
    emissions = np.log(np.random.default_rng(frames).dirichlet(np.ones(len(LABELS)), size=frames)).astype(np.float32)
    symbols = spell(text, LABELS)
    spans = align(emissions, symbols)
    impossible = not symbols or bool(log_likelihoods(emissions, [text], LABELS)[0] == -np.inf)
    assert impossible == (spans is None)
    if spans:
        assert len(spans) == len(symbols) and spans[0][0] >= 0 and spans[-1][1] <= frames
        assert all(a < b for a, b in spans) and all(x[1] <= y[0] for x, y in zip(spans, spans[1:], strict=False))


@quick
@given(
    st.text() | st.text(alphabet="abc '-."), st.integers(1, 40), readings,
    st.none() | st.floats(-99, 0), st.none() | st.floats(-0.5, 0.5))
def test_any_transcript_is_timed_or_left_alone(transcript, frames, readings, sense, gap):
    emissions = np.log(np.random.default_rng(frames).dirichlet(np.ones(len(LABELS)), size=frames)).astype(np.float32)
    weights = SignWeights(0.5, 1.0, 1.0, 1.0, 1.0)
    calibration = Calibration(weights, weights, lead=0.04, gap=gap)
    words = time_words(emissions, transcript, LABELS, readings, calibration, 3.0, sense)
    assert all(3 - 0.04 <= w.start <= w.end and 0 <= w.confidence <= 1 for w in words)
    assert all(a.end <= b.start for a, b in zip(words, words[1:], strict=False))


@quick
@given(st.text(), st.lists(st.text(alphabet="ab c"), min_size=1, max_size=4))
def test_a_transcript_is_cut_without_losing_a_word(transcript, readings):
    parts = split_words(transcript, readings)
    assert len(parts) == len(readings) and " ".join(parts).split() == transcript.split()


@quick
@given(st.text(), st.text())
def test_course_words_are_few_and_the_contexts_own(context, heard):
    found = course_words(context, heard, LanguageModel({"ab": -1.0}, {}, 1))
    assert len(found) <= 15 and set(found) <= {w.strip("'") for w in letters(context).split()}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 25), st.text(), st.integers(1, 4))
def test_the_search_reads_any_emissions_in_any_context(frames, context, n):
    lm = LanguageModel({"<s>": -9.0, "</s>": -1.0, "ab": -1.0, "c": -2.0}, {"<s>": -0.1, "ab": -0.2}, 2)
    emissions = np.log(np.random.default_rng(frames).dirichlet(np.ones(len(LABELS)), size=frames)).astype(np.float32)
    search = BeamSearch(LABELS, lm)
    found = search(emissions, n, context, context)
    assert len(found) <= n and {w for h in found for w in h.text.split()} <= {"ab", "c", *search.new_words(context)}
    assert all(np.isfinite(x) or x == -np.inf for x in log_likelihoods(emissions, [h.text for h in found], LABELS))


@settings(max_examples=300, deadline=None)
@given(st.text() | requests.map(json.dumps) | st.binary())
def test_a_message_is_a_request_or_refused_with_a_reason(text):
    try:
        assert isinstance(parse_request(text), (Ping, LoadModels, Transcribe, SessionUpdate))
    except RequestError as e:
        assert str(e)
