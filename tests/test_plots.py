"""The picture of a question: one time axis, no label over another, nothing outside, whatever the recording's length."""

from itertools import combinations, pairwise

import matplotlib
import numpy as np
import pytest
import torch

from hubert_llama.audio import FRAME_STRIDE, SAMPLING_RATE, Segment, n_frames
from hubert_llama.events import Understanding
from hubert_llama.hubert import Encoding
from hubert_llama.plots import (
    plot_confidence,
    plot_emissions,
    plot_hidden_states,
    plot_similarity,
    plot_understanding,
    spread,
)
from hubert_llama.words.confidence import Word

matplotlib.use("agg")
LABELS = ["<pad>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
WORDS = ("what", "is", "the", "difference", "between", "photosynthesis", "and", "respiration", "of", "plants")


def said(n: int, seconds: float) -> tuple[np.ndarray, Encoding, Understanding]:
    """So many words said in so many seconds, as each stage would have them."""
    words = [WORDS[i % len(WORDS)] for i in range(n)]
    text = "|".join(words).upper()
    waveform = np.sin(np.arange(int(seconds * SAMPLING_RATE)) / 9).astype(np.float32)
    frames = np.linspace(2, n_frames(len(waveform)) - 3, len(text)).astype(int) if n else []
    emissions = np.full((n_frames(len(waveform)), len(LABELS)), -9.0, np.float32)
    emissions[:, 0] = -0.01
    for frame, letter in zip(frames, text, strict=False):
        emissions[frame, [0, LABELS.index(letter)]] = -5.0, -0.01
    states = torch.randn(1, len(emissions), 48, generator=torch.Generator().manual_seed(0))
    ends = np.cumsum([0, *(len(w) for w in words)]) * seconds / max(1, sum(map(len, words)))
    timed = tuple(Word(w, a, 0.1 * a + 0.9 * b, 0.5) for w, (a, b) in zip(words, pairwise(ends), strict=True))
    read = text.replace("|", " ")
    result = Understanding(
        transcript=" ".join(words), response="It costs $5, or 5 $. " * 30, raw_transcript=read, words=timed,
        speech_features_shape=(1, len(emissions), 48), profile="none", duration=seconds)  # fmt: skip
    return waveform, Encoding(emissions, read, 48, states), result


def drawn(n: int, seconds: float):
    waveform, encoding, result = said(n, seconds)
    messages = [{"role": "system", "content": "You are a tutor. " * 40}, {"role": "user", "content": "Answer."}]
    regions = [Segment(0, len(waveform) // 2)]
    fig = plot_understanding(waveform, regions, encoding, LABELS, result, messages)
    fig.canvas.draw()
    return fig


@pytest.mark.parametrize(("n", "seconds"), [(0, 1.0), (1, 0.5), (3, 2.0), (5, 1.5), (9, 4.0), (9, 3.0), (40, 14.0)])
def test_no_text_stands_on_another_or_outside(n, seconds):
    fig = drawn(n, seconds)
    texts = [t for t in fig.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]
    ticks = {t for ax in fig.axes for axis in (ax.xaxis, ax.yaxis) for t in axis.get_ticklabels()}
    boxes = {t: t.get_window_extent() for t in texts if t not in ticks}
    assert sum(t.get_text() in WORDS for t in boxes) >= n
    whole = fig.bbox
    for text, box in boxes.items():
        inside = whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1
        assert inside, text.get_text()
    for a, b in combinations(boxes, 2):
        width = min(boxes[a].x1, boxes[b].x1) - max(boxes[a].x0, boxes[b].x0)
        height = min(boxes[a].y1, boxes[b].y1) - max(boxes[a].y0, boxes[b].y0)
        assert min(width, height) <= 2, (a.get_text(), b.get_text())  # pixels: a box is larger than its letters
    matplotlib.pyplot.close(fig)


def test_panels_share_their_seconds():
    fig = drawn(3, 2.0)
    *panels, similarity = fig.axes
    assert len(panels) == 4
    assert {ax.get_xlim() for ax in panels} == {(0.0, 2.0)}
    assert len({(ax.get_position().x0, ax.get_position().x1) for ax in panels}) == 1
    tops = [ax.get_position().y1 for ax in panels]
    assert tops == sorted(tops, reverse=True)
    features = panels[1].get_position()
    assert (similarity.get_position().y0, similarity.get_position().y1) == pytest.approx((features.y0, features.y1))
    matplotlib.pyplot.close(fig)


def test_a_letter_stands_where_it_is_heard_and_a_bar_where_its_word_is():
    _, encoding, result = said(1, 1.0)
    ax = plot_emissions(encoding.emissions, LABELS)
    first = int(np.flatnonzero(encoding.emissions.argmax(axis=1))[0])
    assert [t.get_text() for t in ax.texts] == list("WHAT")
    assert ax.texts[0].get_position()[0] == pytest.approx((first * FRAME_STRIDE + 200) / SAMPLING_RATE)
    earlier = plot_emissions(encoding.emissions, LABELS, center=0)  # as a model that looks around each frame has them
    assert earlier.texts[0].get_position()[0] == pytest.approx(first * FRAME_STRIDE / SAMPLING_RATE)
    bar = plot_confidence(result.words).patches[0]
    assert (bar.get_x(), bar.get_x() + bar.get_width()) == pytest.approx((0.0, 0.9))
    matplotlib.pyplot.close("all")


def test_the_surer_a_word_the_darker_its_bar():
    bars = plot_confidence([Word("sure", 0, 0.5, 0.9), Word("unsure", 0.5, 1, 0.1)]).patches
    sure, unsure = (sum(bar.get_facecolor()[:3]) for bar in bars)
    assert sure < unsure
    matplotlib.pyplot.close("all")


def test_dimensions_are_sorted_by_when_they_are_strongest():
    states = torch.zeros(1, 4, 3)
    states[0, [3, 0, 2], [0, 1, 2]] = 1.0  # each dimension has its frame
    rows = plot_hidden_states(states).images[0].get_array()
    assert rows.argmax(axis=1).tolist() == [3, 2, 0]  # the first is drawn on top
    matplotlib.pyplot.close("all")


def test_a_frame_is_like_itself_and_its_repetition():
    states = torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(0))
    states[0, 4] = states[0, 1]
    alike = np.asarray(plot_similarity(states).images[0].get_array())
    assert np.diag(alike).tolist() == pytest.approx([1] * 5, abs=1e-3)
    assert alike[1, 4] == pytest.approx(1, abs=1e-3) and abs(alike[0, 1]) < 0.9
    matplotlib.pyplot.close("all")


def test_labels_keep_their_distance_and_their_order():
    rng = np.random.default_rng(0)
    for _ in range(20):
        places = np.sort(rng.uniform(0, 10, 15)).tolist()
        spreaded = spread(places, 0.5)
        assert np.diff(spreaded).min() >= 0.5 - 1e-9
        assert np.mean(spreaded) == pytest.approx(np.mean(places))
    assert spread([0, 2, 4], 1) == [0, 2, 4] and spread([], 1) == []


def test_hidden_states_are_asked_for():
    waveform, encoding, result = said(1, 1.0)
    bare = Encoding(encoding.emissions, encoding.text, 48)
    with pytest.raises(ValueError, match="keep_hidden_states"):
        plot_understanding(waveform, [], bare, LABELS, result)
