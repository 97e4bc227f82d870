"""The pipeline runs with any engine: a chat model that is neither a Llama nor a network stands in for one."""

import numpy as np
import pytest

from hubert_llama.audio import load_audio
from hubert_llama.chat import Completion, Sampling, Scoring
from hubert_llama.chat import Tested as Known
from hubert_llama.hubert import SpeechEncoder
from hubert_llama.llama import ChatLlama
from hubert_llama.models.device import DeviceConfig
from hubert_llama.models.profiles import Profile
from hubert_llama.pipeline import SpeechUnderstanding, Understanding
from hubert_llama.words.search import LetterSearch

ANSWER = "Gravity pulls every object towards the middle of the earth."


class Engine:
    """A chat model that writes down what it is shown, and knows one answer. Its tokens are words."""

    window, recommended, logprobs = 400, Sampling(), ()

    def __init__(self, tested: Known = Known()):  # noqa: B008  (frozen)
        self.tested, self.asked, self.closed = tested, [], False

    def stream(self, messages, sampling=Sampling(), should_stop=lambda: False, draft=""):
        self.asked.append(messages)
        last = messages[-1]["content"]
        text = last.split("\n")[1] if last.startswith("A speech recogniser heard") else ANSWER
        pieces = [f"{word} " for word in text.split()][: sampling.max_new_tokens]
        yield from pieces
        return Completion("".join(pieces), "stop", n_new=len(pieces))

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def truncate(self, text: str, limit: int, keep_end: bool = False) -> str:
        words = text.split()
        kept = words[-limit:] if keep_end else words[:limit]
        return text if len(words) <= limit else " ".join(kept)

    def plain(self, text: str) -> str:
        return text.replace("<end>", " ")

    def close(self) -> None:
        self.closed = True


class ScoringEngine(Engine):
    """One that also weighs readings: the longest is the likeliest."""

    def log_likelihoods(self, messages, texts, should_stop=lambda: False, aside=False):
        self.asked.append(texts)
        return [20.0 * len(text) for text in texts]


@pytest.fixture(scope="module")
def encoder(tiny_hubert) -> SpeechEncoder:
    return SpeechEncoder.from_pretrained(str(tiny_hubert), DeviceConfig("cpu", "float32"))


@pytest.fixture(scope="module")
def clip(clips) -> np.ndarray:
    return load_audio(clips / "gravity.ogg")


def pipeline(encoder, engine) -> SpeechUnderstanding:
    return SpeechUnderstanding(encoder, engine, Profile("custom", "h", "l"), search=LetterSearch(encoder.labels))


def test_another_engine_answers(encoder, clip):
    engine = Engine()
    history = [("What is light?", "A wave.")]
    *events, result = pipeline(encoder, engine).stream(clip, "Course: physics.", history=history)
    assert isinstance(result, Understanding) and result.response == ANSWER and not result.unanswered
    assert result.transcript and result.words
    assert [len(messages) for messages in engine.asked] == [4, 6]  # transcript and answer, in one conversation
    assert engine.asked[1][:3] == engine.asked[0][:3] and "Course: physics." in engine.asked[0][0]["content"]


def test_an_engine_without_scores_takes_the_search_at_its_word(encoder, clip):
    plain, scoring = Engine(), ScoringEngine()
    first, chosen = (pipeline(encoder, engine)(clip) for engine in (plain, scoring))
    assert not isinstance(plain, Scoring) and isinstance(scoring, Scoring)
    assert first.readings["selection"] == first.readings["rescored"] and "selection" not in first.timings
    assert len(scoring.asked[0]) > 1 and "selection" in chosen.timings


def test_a_small_prompt_is_kept_to(encoder, clip):
    engine = Engine(Known(prompt_tokens=220))
    result = pipeline(encoder, engine)(clip, "Gravity pulls every object with mass towards the ground. " * 100)
    assert result.truncated and result.response == ANSWER
    assert all(sum(len(m["content"].split()) for m in messages) <= 220 for messages in engine.asked)


def test_it_is_closed_with_the_pipeline(encoder):
    engine = Engine()
    pipeline(encoder, engine).close()
    assert engine.closed


def test_a_llama_gives_its_model_back(tiny_llama):
    llama = ChatLlama.from_pretrained(str(tiny_llama), DeviceConfig("cpu", "float32"))
    messages = [{"role": "user", "content": "Hello."}]
    assert isinstance(llama, Scoring) and llama.complete(messages, Sampling(max_new_tokens=2)).n_new > 0
    llama.close()
    assert llama.model is None and not llama.prefix.ids


def test_each_model_is_looked_for_once(tiny_hubert, tiny_llama, monkeypatch):
    from hubert_llama.models import hub

    asked, fetch = [], hub.fetch
    monkeypatch.setattr(hub, "fetch", lambda name, *rest: asked.append(name) or fetch(name, *rest))
    SpeechUnderstanding.from_pretrained(hubert=str(tiny_hubert), llama=str(tiny_llama))
    assert asked == [str(tiny_llama), str(tiny_hubert)]
