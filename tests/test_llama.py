"""What `ChatLlama` says depends on no chunk, cache, guess or stop in between; and which models it refuses."""

import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from checkpoints import save_llama

from hubert_llama import llama as module
from hubert_llama.errors import Stopped
from hubert_llama.fast.cache import GraphError, TokenGraph
from hubert_llama.llama import MAX_KEPT, ChatLlama, ChatTemplate, Sampling, common_prefix, prefill
from hubert_llama.models import hub
from hubert_llama.models.device import DeviceConfig

EXACT = DeviceConfig("cpu", "float32")
MESSAGES = [
    {"role": "system", "content": "You are a patient tutor."},
    {"role": "user", "content": "what is light"},
]
TEXTS = ["light is a wave", "water", "what is light and what is water", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_llama(tmp_path_factory.mktemp("models") / "tiny", initializer_range=0.3, max_position_embeddings=512)


@pytest.fixture(scope="module")
def loaded(folder) -> ChatLlama:
    return ChatLlama.from_pretrained(str(folder), EXACT)


@pytest.fixture
def llama(loaded) -> ChatLlama:
    loaded.forget()
    return loaded


def said(llama: ChatLlama, n: int = 20, **options) -> str:
    return llama.complete(MESSAGES, Sampling(max_new_tokens=n, **options)).text


def likelihood(llama: ChatLlama, text: str) -> float:
    """The definition: the probability of each token of a turn after all that stand before it."""
    ids, turn = llama.tokens(MESSAGES), [*llama.template.ids(text), llama.end_id]
    with torch.inference_mode():
        p = llama.model(torch.tensor([ids + turn])).logits[0].log_softmax(-1)
    return sum(float(p[len(ids) + i - 1, t]) for i, t in enumerate(turn))


@pytest.mark.parametrize(
    ("a", "b", "n"), [([], [1], 0), ([1, 2, 3], [1, 2, 4], 2), ([1, 2], [1, 2, 3], 2), ([5], [6], 0)]
)
def test_common_prefix(a, b, n):
    assert common_prefix(a, b) == n


class OfCharacters:
    """A tokenizer with a token for each character."""

    all_special_tokens = ()

    def __call__(self, text, **options):
        return {"input_ids": list(map(ord, text))}

    def decode(self, token):
        return chr(token)

    def get_added_vocab(self):
        return {}


def test_accents_are_kept_where_the_tokenizer_has_them(llama):
    assert ChatTemplate(OfCharacters()).readable("Schrödinger’s") == "Schrödinger’s"
    assert llama.template.readable("“Schrödinger’s” –") == '"Schrodinger\'s" -'


def test_half_a_character_is_read(llama):
    assert llama.tokens([{"role": "user", "content": "half a character: \ud83d"}])


def test_chunks_of_the_prompt_change_nothing(llama):
    long = [{"role": "system", "content": "a patient tutor explains " * 50}, MESSAGES[1]]
    ids = llama.tokens(long)
    with torch.inference_mode():
        whole = llama.model(torch.tensor([ids])).logits[0, -1].numpy()
    before = llama.passes
    with mock.patch.object(module, "PREFILL_CHUNK", 100):
        last = prefill(llama, ids)[-1].numpy()
    assert llama.passes - before == -(-len(ids) // 100) > 2
    np.testing.assert_allclose(last, whole, atol=1e-3)


def test_a_stopped_turn_leaves_a_cache_that_is_right(llama):
    whole, asked = said(llama, 40), iter([False, False, True])
    with pytest.raises(Stopped):
        list(llama.stream(MESSAGES, Sampling(max_new_tokens=40), lambda: next(asked)))
    assert said(llama, 40) == whole


def about(course: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": f"You explain. {course} " * 8}, MESSAGES[1]]


def asked(llama: ChatLlama, course: str, n: int = 1):
    """A turn of a conversation about a course."""
    return llama.complete(about(course), Sampling(max_new_tokens=n))


def test_courses_in_turns_are_each_read_once(llama):
    courses = ("light", "water", "a patient tutor")
    alone = []
    for course in courses:
        llama.forget()
        alone.append(asked(llama, course, 20).text)
    llama.forget()
    for _ in range(2):
        turns = [asked(llama, course, 20) for course in courses]
    assert [t.text for t in turns] == alone
    assert [t.n_cached for t in turns] == [t.n_prompt - 1 for t in turns]


def test_few_conversations_are_kept_and_no_more_than_a_window_of_tokens(llama):
    first = asked(llama, "light").n_prompt
    for i in range(MAX_KEPT):
        llama.complete([{"role": "system", "content": f"{i}"}, MESSAGES[1]], Sampling(max_new_tokens=1))
    assert asked(llama, "light").n_cached < 30  # it was given up, but for what the newest begins with
    shared = common_prefix(*(llama.tokens(about(course)) for course in ("light", "water")))
    assert asked(llama, "water").n_cached == shared  # what it has in common with the last one
    with mock.patch.object(llama, "window", first + 30):
        for course in ("light", "water", "tutor"):
            asked(llama, course)
        assert len(llama._kept) <= 2
        assert sum(len(kept.ids) for kept in llama._kept.values()) <= 2 * llama.window


@pytest.mark.parametrize("options", [{}, {"temperature": 0.9, "top_p": 0.9, "seed": 3}], ids=["likeliest", "by lot"])
@pytest.mark.parametrize(("lookahead", "redraft"), [(0, 0), (1, 0), (8, 8), (0, 3)])
def test_guesses_change_the_passes_and_not_the_text(llama, options, lookahead, redraft):
    sampling = Sampling(max_new_tokens=40, **options)
    with mock.patch.multiple(llama, lookahead=0, redraft=0):
        alone = llama.complete(MESSAGES, sampling)
    assert alone.n_passes == alone.n_new
    drafts = ("", alone.text, alone.text[: len(alone.text) // 2] + " water", "what<|eot_id|> nonsense", "light " * 300)
    for draft in drafts:
        with mock.patch.multiple(llama, lookahead=lookahead, redraft=redraft):
            guessed = llama.complete(MESSAGES, sampling, draft=draft)
        assert (guessed.text, guessed.finish_reason, guessed.n_new) == (alone.text, alone.finish_reason, alone.n_new)
        assert llama.prefix.cache.get_seq_length() == len(llama.prefix.ids)  # what was guessed wrong is forgotten


def test_a_draft_is_left_after_two_strange_tokens():
    draft = module._Draft([1, 2, 3, 4, 5, 6])
    steps = [(1, [2, 3]), (9, [2, 3]), (2, [3, 4]), (4, [5, 6]), (9, [5, 6]), (9, []), (6, [])]
    for token, ahead in steps:
        draft.follow(token)
        assert draft.ahead(2) == ahead


@pytest.mark.parametrize(
    ("said", "n", "ahead"),
    [([1, 2, 3, 4, 1, 2], 3, [3, 4, 1]), ([], 3, []), ([1], 3, []), ([1, 2, 3], 3, []), ([1, 2, 1, 2], 0, [])],
)
def test_what_followed_the_last_two_tokens_is_foreseen(said, n, ahead):
    assert module._foreseen(said, n) == ahead


def test_what_was_measured_counts_for_these_weights_only(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "measured")
    file, weights = tmp_path / "measured" / "tested.json", hub.fingerprint(tmp_path / "measured")
    assert module.tested_from(file.parent) == module.Tested()
    for text in ("", "[]", json.dumps({"llama": weights}), '{"llama": 1}'):
        file.write_text(text)
        assert module.tested_from(file.parent) == module.Tested()
    wrong = {"prompt_tokens": "many", "least_nats": 1, "llama": weights}
    other = {"prompt_tokens": 700, "least_nats": -1, "llama": "another"}
    for found in (wrong, other):
        file.write_text(json.dumps(found))
        assert module.tested_from(file.parent) == module.Tested()
    file.write_text(json.dumps({**other, "llama": weights}))
    assert module.tested_from(file.parent) == module.Tested(700, -1.0)
    bundled = module.tested_from(hub.BUNDLED[hub.LLAMA_MINI])
    assert bundled.prompt_tokens and bundled.least_nats > module.Tested().least_nats  # else: training/usable.py


def test_a_seed_makes_the_same_choices_and_another_one_others(llama):
    assert said(llama, temperature=1.0, seed=7) == said(llama, temperature=1.0, seed=7)
    assert said(llama, temperature=1.0, seed=7) != said(llama, temperature=1.0, seed=8)


def test_the_window_and_the_length_are_limits(llama):
    too_long = [{"role": "user", "content": "water " * 600}]
    with pytest.raises(ValueError, match="shorten"):
        llama.complete(too_long)
    with pytest.raises(ValueError, match="shorten"):
        llama.log_likelihoods(MESSAGES, ["water " * 600])
    assert llama.complete(MESSAGES, Sampling(max_new_tokens=3)).finish_reason == "length"


@pytest.mark.parametrize("chunk", [2, 512], ids=["in pieces", "in one pass"])
def test_likelihoods_are_those_of_the_definition(llama, chunk):
    with mock.patch.object(module, "PREFILL_CHUNK", chunk):  # pieces may part what belongs together
        likely = llama.log_likelihoods(MESSAGES, TEXTS)
        alone = llama.log_likelihoods(MESSAGES, [""])
    wanted = [likelihood(llama, text) for text in TEXTS]
    np.testing.assert_allclose(likely, wanted, atol=1e-3)
    np.testing.assert_allclose(alone, wanted[-1:], atol=1e-3)
    assert llama.log_likelihoods(MESSAGES, []) == []


def test_likelihoods_leave_the_prompt_in_the_cache(llama):
    before = said(llama, 5)
    llama.log_likelihoods(MESSAGES, TEXTS)
    again = llama.complete(MESSAGES, Sampling(max_new_tokens=5))
    assert (again.text, again.n_cached) == (before, again.n_prompt - 1)
    aside = llama.log_likelihoods(MESSAGES[-1:], TEXTS, aside=True)  # another prompt, for which the first is kept
    assert llama.complete(MESSAGES, Sampling(max_new_tokens=5)).n_cached == again.n_cached
    np.testing.assert_allclose(llama.log_likelihoods(MESSAGES[-1:], TEXTS), aside, atol=1e-3)


def test_likelihoods_that_are_stopped_or_fail_leave_a_cache_that_is_right(llama):
    wanted = llama.log_likelihoods(MESSAGES, TEXTS)
    cached = llama.complete(MESSAGES, Sampling(max_new_tokens=5)).n_cached
    asked = iter([False, False, True])  # amid the tree
    with mock.patch.object(module, "PREFILL_CHUNK", 2):
        with pytest.raises(Stopped):
            llama.log_likelihoods(MESSAGES, TEXTS, lambda: next(asked))
        assert llama.complete(MESSAGES, Sampling(max_new_tokens=5)).n_cached == cached
        with mock.patch.object(llama.model.lm_head, "forward", side_effect=MemoryError), pytest.raises(MemoryError):
            llama.log_likelihoods(MESSAGES, TEXTS)
    assert llama.prefix.ids == []
    np.testing.assert_allclose(llama.log_likelihoods(MESSAGES, TEXTS), wanted, atol=1e-3)


def test_recorded_passes_say_the_same_and_are_done_without_where_they_fail(folder):
    llama = ChatLlama.from_pretrained(str(folder), EXACT)
    wanted = said(llama, 40)
    llama.prefix.clear()
    llama.graph, llama.lookahead = TokenGraph(llama.model), 0
    assert [said(llama, 40) for _ in range(2)] == [wanted] * 2
    assert llama.graph.recordings == 1
    with mock.patch.object(TokenGraph, "_record", side_effect=GraphError("No graph.")):
        llama.prefix.clear()
        llama.graph = TokenGraph(llama.model)
        assert said(llama, 40) == wanted
    assert (llama.graph, llama.lookahead) == (None, module.LOOKAHEAD)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "gpt2"}, "Not a Llama"),
        ({"num_hidden_layers": 3}, r"lacks model\.layers\.2"),
        ({"hidden_size": 32}, "foreign"),
    ],
)
def test_weights_that_are_not_the_configs_are_refused(folder, tmp_path, config, message):
    shutil.copytree(folder, tmp_path / "other")
    said = json.loads((folder / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**said, **config}))
    with pytest.raises(hub.ModelFormatError, match=message):
        ChatLlama.from_pretrained(str(tmp_path / "other"), EXACT)


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("chat_template.jinja", None, hub.ModelFormatError, "Instruct"),
        ("tokenizer.json", b"{}", hub.ModelFormatError, "tokenizer"),
        ("tokenizer.json", None, hub.ModelNotFoundError, r"lacks tokenizer\.json"),
        ("model.safetensors", b"\0" * 100, hub.ModelFormatError, "Damaged"),
    ],
)
def test_missing_and_damaged_files_are_named(folder, tmp_path, file, content, error, message):
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / file).unlink()
    if content is not None:
        (tmp_path / "other" / file).write_bytes(content)
    with pytest.raises(error, match=message):
        ChatLlama.from_pretrained(str(tmp_path / "other"), EXACT)


def test_the_bundled_llama_is_small_and_ends_its_turns():
    mini = ChatLlama.from_pretrained(hub.LLAMA_MINI)
    ends = mini.tokenizer.convert_ids_to_tokens(sorted(mini.stop_ids))
    assert ends == ["<|end_of_text|>", "<|eot_id|>"]
    assert sum(p.numel() for p in mini.model.parameters()) < 24e6
