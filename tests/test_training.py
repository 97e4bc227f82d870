"""The training scripts, on a few clips and for a few seconds.

They train, stop, go on, export what the service loads, and measure.
"""

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import CLIPS
from hypothesis import given, settings
from hypothesis import strategies as st
from lists import words

from hubert_llama.audio import SAMPLING_RATE, load_audio, n_frames
from hubert_llama.chat import Sampling
from hubert_llama.hubert import SpeechEncoder
from hubert_llama.llama import ChatLlama
from hubert_llama.models.device import DeviceConfig

TRAINING = Path(__file__).parent.parent / "training"
TEXTS = {
    "gravity": "can you explain gravity",
    "sum": "what is seven plus eight",
    "photosynthesis": "what is photosynthesis",
}
SMALL = words("--hidden-size 32 --layers 1 --heads 2 --intermediate-size 64 --batch-seconds 8 --phoneme-weight 0")


def script(name: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, str(TRAINING / name), *map(str, args)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def noise_rows(rng: np.random.Generator, samples: dict[str, int]) -> list[tuple]:
    """Noise of so many samples for each text, that no teacher has heard."""
    return [(rng.standard_normal(n).astype(np.float32), text, None) for text, n in samples.items()]


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    from speech import to_int16, write_part

    folder = tmp_path_factory.mktemp("parts")
    clips = [(to_int16(load_audio(CLIPS / f"{name}.ogg")), text, name) for name, text in TEXTS.items()]
    write_part(folder, "train-synthetic", clips[:2])
    write_part(folder, "test-clips", clips[2:])
    return folder


def test_hubert_trains_goes_on_grows_and_is_measured(parts, tmp_path):
    out, larger = tmp_path / "hubert", tmp_path / "larger"
    script("train_hubert.py", "--work-dir", parts, "--minutes", "0.03", "--out", out, *SMALL)
    steps = json.loads((out / "training_args.json").read_text())["steps"]
    script("train_hubert.py", "--work-dir", parts, "--minutes", "0.06", "--out", out, *SMALL)
    assert json.loads((out / "training_args.json").read_text())["steps"] > steps > 0
    heard = SpeechEncoder.from_pretrained(str(out), DeviceConfig("cpu", "float32")).encode(
        [np.zeros(16_000, np.float32)]
    )[0]
    assert heard.shape == (1, 49, 32)
    assert "test-clips" in script("train_hubert.py", "--work-dir", parts, "--evaluate", out)
    script(
        "train_hubert.py",
        "--work-dir",
        parts,
        "--minutes",
        "0.001",
        "--init-from",
        out,
        "--checkpoint",
        tmp_path / "c.pt",
        "--out",
        larger,
        *SMALL,
        "--layers",
        "3",
    )
    assert json.loads((larger / "config.json").read_text())["num_hidden_layers"] == 3
    # what a checkpoint hears, and what a folder's weights do
    for more in (
        ["--checkpoint", tmp_path / "c.pt", "--layers", "3"],
        ["--checkpoint", tmp_path / "none.pt", "--init-from", out],
    ):
        script(
            "train_hubert.py", "--work-dir", parts, *SMALL, "--clips", "2", "--hear", tmp_path / "heard.jsonl", *more
        )
        assert {json.loads(line)["text"] for line in (tmp_path / "heard.jsonl").read_text().splitlines()} == set(
            list(TEXTS.values())[:2]
        )


def test_a_grown_hubert_computes_what_the_smaller_did():
    import torch
    from train_hubert import HubertForCTC, Settings, grown, make_config

    s = Settings(hidden_size=32, layers=1, heads=2, intermediate_size=64)
    small = HubertForCTC(make_config(s)).eval()
    large = grown(small, Settings(hidden_size=32, layers=3, heads=2, intermediate_size=64)).eval()
    x = torch.randn(1, 8000)
    with torch.inference_mode():
        assert torch.allclose(small(x).logits, large(x).logits, atol=1e-5)
    with pytest.raises(SystemExit, match="not taken away"):
        grown(large, s)


def test_the_learners_loss_is_the_models_own_and_a_share_of_the_phonemes():
    from dataclasses import replace

    import torch
    from train_hubert import HubertForCTC, Learner, Settings, collate, ctc_loss, make_config

    s = Settings(
        hidden_size=32, layers=2, heads=2, intermediate_size=64, mask_time_prob=0.0, phoneme_layer=1, phoneme_weight=0.5
    )
    torch.manual_seed(0)
    learner, rng = Learner(HubertForCTC(make_config(s)), s).eval(), np.random.default_rng(0)
    batch = collate(
        noise_rows(rng, {"what is gravity": 32_000, "a cat": 20_000, "": 16_000}), 2.0, replace(s, phoneme_weight=0.0)
    )
    with torch.inference_mode():
        letters = learner(batch)
        ours = learner.model(batch.input_values, attention_mask=batch.attention_mask, labels=batch.labels).loss
        assert torch.allclose(letters, ours, rtol=1e-4)
        spoken = torch.tensor([[3, 4, 5], [6, 7, -100], [-100, -100, -100]])
        hidden = learner.model.hubert(
            batch.input_values, attention_mask=batch.attention_mask, output_hidden_states=True
        ).hidden_states[1]
        lengths = learner.model._get_feat_extract_output_lengths(batch.attention_mask.sum(1))
        share = 0.5 * ctc_loss(learner.phonemes(hidden), lengths, spoken)
        assert share > 0.1 and torch.allclose(learner(replace(batch, phonemes=spoken)), letters + share, rtol=1e-4)


def test_a_clip_masked_twice_costs_what_both_cost_and_how_far_they_are_apart():
    from dataclasses import replace

    import torch
    from train_hubert import HubertForCTC, Learner, Settings, collate, disagreement, make_config

    s = Settings(
        hidden_size=32, layers=2, heads=2, intermediate_size=64, mask_time_prob=0.5, phoneme_layer=1, phoneme_weight=0.5
    )
    torch.manual_seed(0)
    once, rng = Learner(HubertForCTC(make_config(s)), s), np.random.default_rng(0)
    twice = Learner(HubertForCTC(make_config(s)), replace(s, consistency=0.2))
    twice.load_state_dict(once.state_dict())
    batch = replace(
        collate(noise_rows(rng, {"what is gravity": 32_000, "": 20_000}), 2.0, replace(s, phoneme_weight=0.0)),
        phonemes=torch.tensor([[3, 4, 5], [-100, -100, -100]]),
    )
    assert abs(float(twice(batch) - once(batch))) > 1e-3
    once.model.config.mask_time_prob = twice.model.config.mask_time_prob = 0.0
    assert torch.allclose(once(batch), twice(batch), rtol=1e-4)  # without masks both are heard alike
    logits, lengths, letters = torch.randn(2, 7, 5), torch.tensor([4, 4]), torch.tensor([3, 3])
    p, q = logits[:, :4].softmax(-1).double()
    by_hand = sum((x * (x / y).log()).sum() for x, y in ((p, q), (q, p))) / 2 / 3
    assert disagreement(logits, lengths, letters) == pytest.approx(float(by_hand), rel=1e-4)
    assert disagreement(torch.cat([logits[:1]] * 2), lengths, letters) == 0


def test_the_service_reads_frames_as_training_does(tiny_hubert):
    from train_hubert import SYMBOLS, greedy_text

    encoder = SpeechEncoder.from_pretrained(str(tiny_hubert), DeviceConfig("cpu", "float32"))
    assert (
        encoder.labels == SYMBOLS
        and greedy_text([SYMBOLS.index(symbol) for symbol in ["T", "E", "L", "L", "<pad>", "L"]]) == "tell"
    )
    for seed in range(50):
        # blanks, marks, spaces and three letters, often twice in a row
        ids = np.random.default_rng(seed).integers(0, 8, 60)
        assert encoder.read(np.eye(32)[ids]).lower() == greedy_text(ids.tolist())


def test_the_teachers_states_are_where_a_change_has_put_what_they_are_of():
    import torch
    from speech import Augmentation, Clip, augment_in_time
    from teacher import LENGTH, STRIDE, WIDTH, frames, states_at
    from train_hubert import HubertForCTC, Settings, changed, make_config

    samples = (np.random.default_rng(0).standard_normal(32_000) * 3000).astype(np.int16)
    # each state says where it is
    ramp = np.repeat((STRIDE * np.arange(frames(32_000)) + LENGTH // 2)[:, None], WIDTH, 1).astype(np.float16)
    a = Augmentation(speed=1, speed_range=(1.25, 1.25), reverb=0, lowpass=0, codec=0, equalizer=0, noise=0, silence=0.5)
    row, factor, before = augment_in_time(samples, np.random.default_rng(6), a)
    assert factor == 1.25 and before > 1000 and abs(len(row) - 32_000 / 1.25 - 2 * before) < 16_000
    heard, text, states = changed(Clip(samples, "a cat", "noise", ramp), np.random.default_rng(6), a, taught=True)
    assert (
        text == "a cat"
        and np.array_equal(heard, row)
        and len(states)
        == n_frames(len(row))
        == HubertForCTC(make_config(Settings(hidden_size=32, layers=1, heads=2)))._get_feat_extract_output_lengths(
            torch.tensor(len(row))
        )
    )
    places = (320 * np.arange(len(states)) + 200 - before) * 1.25
    said = ~np.isnan(states[:, 0])
    # float16 keeps places within 16
    assert 60 < said.sum() < len(states) and np.abs(states[said, 0] - places[said]).max() < STRIDE / 2 + 16
    assert np.isnan(states[places < 0]).all() and np.isnan(states[places > 32_000]).all()
    assert np.allclose(states_at(ramp, np.array([LENGTH // 2 + STRIDE / 4])), LENGTH // 2 + STRIDE / 4, atol=1)
    assert changed(Clip(samples, "a cat", "noise"), np.random.default_rng(6), a, taught=True)[2] is None


def test_what_the_teacher_says_is_learned_where_it_says_something():
    import torch
    from teacher import WIDTH
    from train_hubert import TaughtHead

    torch.manual_seed(0)
    head = TaughtHead(8)
    head.mean.fill_(3.0)
    head.deviation.fill_(2.0)
    torch.nn.init.zeros_(head.linear.weight)
    torch.nn.init.zeros_(head.linear.bias)
    states, taught = torch.randn(2, 5, 8, requires_grad=True), torch.randn(2, 5, WIDTH) * 2 + 3
    assert head(states, taught).item() == pytest.approx(1, rel=0.1)
    taught[0] = np.nan
    assert head(states, taught).item() == pytest.approx(((taught[1] - 3) / 2).square().mean().item(), rel=1e-5)
    nothing = head(states, torch.full_like(taught, np.nan))
    nothing.backward()
    assert nothing == 0 and states.grad.abs().max() == 0


def test_hubert_learns_from_a_teacher_and_goes_on(parts, tmp_path):
    import shutil

    from speech import read_part
    from teacher import WIDTH, frames

    shutil.copytree(parts, tmp_path / "parts", ignore=shutil.ignore_patterns("*.pt"))
    small = [*SMALL, "--work-dir", tmp_path / "parts", "--teacher-weight", "1", "--teacher-layer", "1"]
    done = subprocess.run(
        [sys.executable, TRAINING / "train_hubert.py", *small, "--minutes", "0.01"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1 and "training/teacher.py" in done.stderr
    rows = np.concatenate(
        [
            np.random.default_rng(0).standard_normal((frames(len(c.samples)), WIDTH))
            for c in read_part(parts, "train-synthetic")
        ]
    )
    (tmp_path / "parts" / "train-synthetic.taught").write_bytes(rows.astype(np.float16).tobytes())
    for minutes in ("0.02", "0.04"):
        script("train_hubert.py", *small, "--minutes", minutes, "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "training_args.json").read_text())["settings"]["teacher_weight"] == 1
    (tmp_path / "parts" / "train-synthetic.taught").write_bytes(rows[1:].astype(np.float16).tobytes())
    done = subprocess.run(
        [sys.executable, TRAINING / "train_hubert.py", *small, "--minutes", "0.05"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1 and "not of these clips" in done.stderr


def test_without_the_teacher_or_the_games_one_is_told_what_to_install(tmp_path, monkeypatch):
    import teacher

    monkeypatch.setattr(teacher, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install moonshine-voice"):
        teacher.weights()
    done = subprocess.run(
        [sys.executable, TRAINING / "games.py", tmp_path / "out", "--games", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "apt-get install" in done.stderr and not (tmp_path / "out").exists()


def test_a_part_of_synthetic_speech_is_named_so(tmp_path):
    done = subprocess.run(
        [sys.executable, TRAINING / "speech.py", "--work-dir", tmp_path / "parts", "--part", "kokoro"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "begins with synthetic" in done.stderr and not (tmp_path / "parts").exists()


class PackedBits:
    """RNC's order: 16-bit words that fill from the lowest bit on, and literal bytes behind the one being filled."""

    def __init__(self):
        self.items, self.word = [], None

    def put(self, value: int, n: int) -> None:
        for i in range(n):
            if self.word is None or len(self.word) == 16:
                self.word = []
                self.items.append(self.word)
            self.word.append(value >> i & 1)

    def put_number(self, value: int) -> None:
        leaf = value.bit_length()  # sixteen leaves of four bits each
        self.put(int(f"{leaf:04b}"[::-1], 2), 4)
        if leaf > 1:
            self.put(value - (1 << (leaf - 1)), leaf - 1)

    def bytes(self) -> bytes:
        return b"".join(
            item if isinstance(item, bytes) else sum(bit << i for i, bit in enumerate(item)).to_bytes(2, "little")
            for item in self.items
        ) + bytes(8)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(1, 60), st.integers(2, 300)), min_size=1, max_size=30))
def test_a_games_sound_is_unpacked_as_it_was_packed(steps):
    from games import unpack

    packed, out = PackedBits(), bytearray()
    packed.put(0, 2)
    for _ in range(3):
        packed.put(16, 5)
        for _ in range(16):
            packed.put(4, 4)
    packed.put(len(steps), 16)
    for i, (literals, back, n) in enumerate(steps):
        literals = literals or b"x" * (i == 0)  # a copy needs something before it
        packed.put_number(len(literals))
        packed.items.append(literals)
        out += literals
        if i + 1 < len(steps):
            back = min(back, len(out))
            packed.put_number(back - 1)
            packed.put_number(n - 2)
            for _ in range(n):
                out.append(out[-back])
    assert unpack(np.frombuffer(packed.bytes(), np.uint8), len(out), 1).tobytes() == bytes(out)


def test_words_that_sound_alike_have_the_same_phonemes():
    from phonemes import IDS, phonemes

    try:
        assert phonemes("their night") == phonemes("there knight") != phonemes("their day")
    except SystemExit as e:
        pytest.skip(str(e))
    assert set(phonemes("the quick brown fox jumps over the lazy dog with pleasure")) <= IDS.keys()
    assert phonemes("") == []


def test_llama_trains_and_speaks(tmp_path):
    script("train_llama.py", "--work-dir", tmp_path / "work", "--minutes", "0.1", "--out", tmp_path / "llama")
    llama = ChatLlama.from_pretrained(str(tmp_path / "llama"), DeviceConfig("cpu", "float32"))
    assert llama.complete([{"role": "user", "content": "Hello."}], Sampling(max_new_tokens=3)).n_new <= 3


def test_an_exported_llama_is_a_mean_of_the_weights_before_and_after(tmp_path):
    import shutil

    from safetensors.torch import load_file

    def weights(work: str, out: str, *more: object) -> dict:
        """What is exported so."""
        script(
            "train_llama.py",
            "--work-dir",
            tmp_path / work,
            *words("--layers 1 --minutes 0.01 --copying 0"),
            "--out",
            tmp_path / out,
            *more,
        )
        return load_file(tmp_path / out / "model.safetensors")

    before = weights("one", "before")
    shutil.copytree(tmp_path / "one", tmp_path / "two", ignore=shutil.ignore_patterns("checkpoint.pt"))  # its tokenizer
    after = weights("two", "after", "--seed", "1")
    mean = weights("two", "mean", "--export-only", "--init-from", tmp_path / "before", "--share", "0.25")

    def near(a: dict, share: float) -> bool:
        """Whether weights are such a mean, but for their rounding."""
        return all(
            np.allclose(
                a[name].float(), (1 - share) * before[name].float() + share * after[name].float(), rtol=0.01, atol=2e-4
            )
            for name in a
        )

    assert near(mean, 0.25) and not near(mean, 0.5) and near(before, 0.0) and not near(after, 0.25)
    assert json.loads((tmp_path / "mean" / "training_args.json").read_text())["share_of_these_weights"] == 0.25


def test_turns_that_share_a_prefix_cost_what_they_cost_alone():
    import random

    import torch
    from train_llama import Settings, collate, encode, loss_of, make_model, make_tokenizer
    from tutor import load_material, make_lesson

    lessons = [make_lesson(random.Random(seed), load_material(), 3) for seed in range(2)]
    tokenizer = make_tokenizer([t.transcript + t.context + t.response for lesson in lessons for t in lesson], 400)
    model = make_model(tokenizer, Settings(hidden_size=64, layers=2, heads=2, intermediate_size=64)).eval()
    examples = [[encode(tokenizer, t) for t in lesson] for lesson in lessons]
    with torch.inference_mode():
        together = loss_of(model, collate(examples, Settings(chunk_tokens=400))).item()
        total = count = 0.0
        for e in (e for lesson in examples for e in lesson):
            ids, labels = torch.tensor([e.prefix + e.ids]), torch.tensor([[-100] * len(e.prefix) + e.labels])
            n = int((labels != -100).sum())
            total, count = total + model(ids, labels=labels).loss.item() * n, count + n
    assert abs(together - total / count) < 1e-3


def test_all_that_a_drill_wants_has_been_there_before():
    import random

    from train_llama import drill

    rng, wanted = random.Random(0), 0
    for example in [e for _ in range(20) for e in drill(rng, range(10, 400), 4)]:
        pairs = list(pairwise(example.ids))
        for i, label in enumerate(example.labels):
            if label != -100:
                assert label == example.ids[i] and pairs[i - 1] in pairs[: i - 1]
                wanted += 1
    assert wanted > 2000


def test_number_words_are_pieces_and_the_model_computes_what_it_did():
    import torch
    from train_llama import NUMBER_WORDS, Settings, grow, make_model, make_tokenizer, with_words

    before = make_tokenizer(["what is a cell"] * 3, 280)
    after = with_words(before, NUMBER_WORDS)
    assert (
        after.tokenize("Forty seven") == ["Forty", "\u0120seven"]
        and after.decode(after("twelve Times ten")["input_ids"]) == "twelve Times ten"
    )
    s = Settings(hidden_size=64, layers=1, heads=2, intermediate_size=64)
    small, large, ids = (
        make_model(before, s),
        make_model(after, s),
        torch.tensor([before("what is a cell")["input_ids"]]),
    )
    assert after("what is a cell")["input_ids"] == ids[0].tolist()
    grow(large, small)
    with torch.inference_mode():
        assert torch.equal(large(ids).logits[..., : len(before)], small(ids).logits)


def test_quoted_sentences_are_repeated_word_for_word():
    import random

    from train_llama import make_tokenizer, quoted
    from tutor import load_material

    tokenizer, material = make_tokenizer(["what is a cell"] * 3, 300), load_material()
    for example in quoted(random.Random(0), tokenizer, material, 10):
        shown, answers = (
            tokenizer.decode(example.ids),
            tokenizer.decode([label for label in example.labels if label != -100]).split("<|eot_id|>")[:-1],
        )
        asked = re.findall(r"Nearest in the course:\n(.+?)\nNow answer", shown, re.DOTALL)
        assert [x.replace("\n", " ") for x in asked] == answers and len(answers) == 3


def test_rows_want_only_their_answers():
    import random

    from train_llama import make_tokenizer, rows
    from tutor import ONES, TENS, UNKNOWN, load_concepts, load_material

    tokenizer, known = (
        make_tokenizer(["What is two plus two? So two plus two is four."] * 3, 300),
        [c["definition"] for c in load_concepts()],
    )
    for example in rows(random.Random(0), tokenizer, load_material(), 5):
        lines = tokenizer.decode([label for label in example.labels if label != -100]).splitlines()
        if len(lines) == 1:  # running sums: only what they make
            assert set(lines[0].split()) <= {*ONES, *TENS, "hundred"}
            continue
        assert len(lines) == 6 and len(example.ids) == len(example.labels)
        for line in lines:
            assert (
                line == UNKNOWN
                or re.search(r"(plus|minus|times|divided by) [a-z ]+ is [a-z ]+\.$", line)
                or any(x in line for x in known)
                or line in {v for c in load_concepts() for v in c.values() if isinstance(v, str)}
                or line.startswith(("Yes, ", "No, "))
            ), line


def test_unknown_things_kept_for_measuring_are_not_asked_in_training():
    import random

    from tutor import HELD_OUT_UNKNOWN, load_material, plain, unknown_question

    material, rng = (
        load_material(sentences=["The trombone player crossed the village carrying a wheelbarrow"]),
        random.Random(0),
    )
    asked = {word for _ in range(2000) for word in plain(unknown_question(rng, material).text).split()}
    assert "wheelbarrow" in asked and "trombone" not in asked and "a trombone" in HELD_OUT_UNKNOWN


def test_turns_come_from_the_seed_and_held_out_ones_are_others():
    from tutor import load_material, make_turns

    material, other = load_material(), load_material(held_out=True)
    assert make_turns(20, 1, material) == make_turns(20, 1, material) != make_turns(20, 2, material)
    asked = {t.transcript for t in make_turns(400, 1, material) if t.kind == "passage"}
    assert asked.isdisjoint(t.transcript for t in make_turns(400, 1, other) if t.kind == "passage")


@pytest.mark.parametrize("held_out", [False, True])
def test_sums_are_right_and_stay_within_a_hundred(held_out):
    import random

    from tutor import arithmetic_question, load_material, number

    value, material, rng = {number(i): i for i in range(101)}, load_material(held_out), random.Random(0)
    apply = {
        "plus": lambda a, b: a + b,
        "minus": lambda a, b: a - b,
        "times": lambda a, b: a * b,
        "divided by": lambda a, b: a / b,
    }
    for _ in range(500):
        answer = arithmetic_question(rng, material).answer.lower().rstrip(".").split(". so ")[-1]
        a, op, b, result = re.fullmatch(r"(.+) (plus|minus|times|divided by) (.+) is (.+)", answer).groups()
        assert apply[op](value[a], value[b]) == value[result], answer


def test_sums_kept_for_measuring_are_no_step_of_training():
    import random

    from tutor import arithmetic_question, is_kept, load_material, number, result, running_sum

    value, material, rng, steps = {number(i): i for i in range(101)}, load_material(), random.Random(0), []
    for _ in range(3000):
        said = arithmetic_question(rng, material).answer.lower().rstrip(".")
        now = 0
        for a, op, b, made in re.findall(
            r"(?:^|, |so )([a-z ]*?) ?(plus|minus) ([a-z ]+?) is ([a-z ]+?)(?=, |\.|$)", said
        ):
            steps.append((value[a] if a else now, op, value[b]))
            now = value[made]
    for _ in range(200):
        now = None
        for asked, made in running_sum(rng, 20):
            start, op, b = re.fullmatch(r"(?:, )?(.*?) ?(plus|minus) (.+) is", asked).groups()
            steps.append((value[start] if now is None else now, op, value[b]))
            now = value[made.strip()]
            assert result(*steps[-1]) == now
    assert not any(is_kept(*step) for step in steps)
    # no pair of last digits is kept altogether
    assert {(a % 10, b % 10) for a, _, b in steps} == {(a, b) for a in range(10) for b in range(10)}


def test_a_page_said_otherwise_still_answers_its_questions():
    import random

    from tutor import load_material, passage_page

    material, rng, known = (
        load_material(sentences=["bulbous crankshaft sanctimonious halyard vermilion"] * 2),
        random.Random(0),
        {p["passage"] for p in load_material().passages},
    )
    pages = [passage_page(rng, material) for _ in range(300)]
    assert all(
        q.answer in page.text and q.key.lower() in q.answer.lower()
        for page in pages
        for q in page.questions
        if q.answer in page.text or page.text not in known
    )
    assert 0.7 < sum(page.text not in known for page in pages) / 300 < 0.95


def test_confidence_is_fitted_on_recordings(tmp_path):
    import shutil

    from hubert_llama.models import hub
    from hubert_llama.words.confidence import Calibration

    hubert = tmp_path / "hubert"
    shutil.copytree(Path(__file__).parent.parent / "hubert_llama" / "mini" / "hubert", hubert)
    rows = [
        {"audio": str(CLIPS / f"{name}.ogg"), "text": text}
        for name, text in (*TEXTS.items(), ("gravity", "something else entirely"))
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    llama, times = TRAINING.parent / "hubert_llama" / "mini" / "llama", Calibration.from_folder(hubert)
    before = times.lead, times.tail, times.gap
    told = script("calibrate.py", tmp_path / "m.jsonl", "--hubert", hubert, "--llama", llama)
    fitted = json.loads((hubert / "calibration.json").read_text())
    assert fitted["fitted_on_words"] > 5 and "llama_weight 0.6, lm_discount 0.6" in told and "nats a word" in told
    calibration = Calibration.from_folder(hubert)
    assert (
        set(fitted) == {"lead", "tail", "gap", "of_sound", "with_sense", "llama", "fitted_on_words"}
        and calibration.beside(hub.fingerprint(llama)).with_sense
        and (calibration.lead, calibration.tail, calibration.gap) == before
    )
    told = script("calibrate.py", tmp_path / "m.jsonl", "--hubert", hubert, "--snr", "5")
    # in noise it only tells
    assert "search: " in told and json.loads((hubert / "calibration.json").read_text()) == fitted
    (tmp_path / "m.jsonl").write_text(json.dumps(rows[3]))
    done = subprocess.run(
        [sys.executable, str(TRAINING / "calibrate.py"), str(tmp_path / "m.jsonl"), "--hubert", str(hubert)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Too few recordings" in done.stderr


def test_whether_a_transcript_was_misheard_is_fitted_on_recordings(tmp_path):
    import shutil

    from hubert_llama.words.confidence import Calibration

    hubert = tmp_path / "hubert"
    shutil.copytree(Path(__file__).parent.parent / "hubert_llama" / "mini" / "hubert", hubert)
    before = json.loads((hubert / "calibration.json").read_text())
    rows = [
        {"audio": str(CLIPS / f"{name}.ogg"), "text": text, "split": "train", "speaker": name}
        for name, text in (*TEXTS.items(), ("gravity", "something else entirely"))
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recordings = tmp_path / "m.jsonl"
    told = script("calibrate.py", recordings, "--people", recordings, "--each", "1", "--hubert", hubert, "--misheard")
    after = json.loads((hubert / "calibration.json").read_text())
    assert "people: search" in told and "| all | " in told and after != before
    assert {**after, "misheard": 0} == {**before, "misheard": 0}
    assert set(after["misheard"]) == {"bias", "confidence", "change", "sound", "limit"}
    assert Calibration.from_folder(hubert).misheard.limit == after["misheard"]["limit"]


def test_nine_in_ten_of_the_misheard_are_asked_again(capsys):
    from calibrate import Whole, fit_misheard, tell_asked

    from hubert_llama.words.confidence import MisheardWeights

    rng = np.random.default_rng(0)
    found = [
        Whole("people", (1 - w + 0.15 * rng.standard_normal(), 0.6 * w, -0.3 * w), w, True)
        for w in rng.choice([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 400)
    ]
    fitted = fit_misheard(found)
    weights = MisheardWeights(**fitted)
    misheard = [weights(*w.signs) >= weights.limit for w in found if w.wrong > 0.5]
    assert 0.88 <= np.mean(misheard) <= 0.92 and not any(
        weights(*w.signs) >= weights.limit for w in found if w.wrong == 0
    )
    assert weights.confidence < 0 < weights.change
    tell_asked(found, weights)
    assert f"| people | {sum(misheard)} of {len(misheard)} | " in capsys.readouterr().out


def test_the_longest_usable_prompt_and_guessing_are_read_off_the_answers():
    from usable import Answer, summary, tested

    from hubert_llama.chat import Tested

    rows = ((0, 100, 9, -0.01), (300, 300, 9, -0.2), (600, 500, 7, -0.3), (900, 900, 0, -1.8))
    answers = [
        Answer(length, tokens + i, "passage", "", "", i < right, nats)
        for length, tokens, right, nats in rows
        for i in range(10)
    ]
    assert summary(answers)[1] == (300, 304.5, 0.9, -0.2)
    least = round((-0.3 - 1.8) / 2, 2)
    assert tested(answers, "a1") == {"prompt_tokens": 304, "least_nats": least, "llama": "a1", "answers": 40}
    nowhere_guessing = tested(answers[:20], "a1")
    assert nowhere_guessing["prompt_tokens"] == 304 and nowhere_guessing["least_nats"] == Tested.least_nats


def test_how_long_a_prompt_can_be_is_measured(tmp_path):
    import shutil

    from hubert_llama.llama import tested_from

    llama, out = tmp_path / "llama", tmp_path / "answers.jsonl"
    shutil.copytree(TRAINING.parent / "hubert_llama" / "mini" / "llama", llama)
    told = script("usable.py", "--llama", llama, "--limit", "3", "--lengths", "0", "1800", "--out", out)
    measured = tested_from(llama)
    assert 100 < measured.prompt_tokens < 400 and -1.9 < measured.least_nats < -0.1
    assert "| 1800 | " in told and "| 0 % of 3 |" in told
    assert [json.loads(line)["length"] for line in out.read_text().splitlines()] == [0, 0, 0, 1800, 1800, 1800]


def test_nothing_that_is_heard_backwards_was_said():
    from calibrate import Heard, signs_of

    from hubert_llama.measure.manifest import Utterance
    from hubert_llama.words.search import Hypothesis

    labels = ["<pad>", "|", "A", "B"]
    emissions = np.log(np.random.default_rng(0).dirichlet(np.ones(4), 30)).astype(np.float32)
    for said, right in (("ab b", [True, False]), ("", [False, False])):
        signs, judged = signs_of(
            Heard(Utterance("x.wav", said), emissions, "ab a"), [Hypothesis("ab a", 0.0, 0.0)], "ab a", -2.0, labels
        )
        # evidence and sense are of the whole
        assert (
            judged == right
            and [sign[-1] for sign in signs] == [-2.0] * 2
            and np.std([sign[1] for sign in signs]) == 0 > signs[0][1]
        )


def test_the_optimizer_goes_on_where_it_stopped(tmp_path):
    import torch
    from optimizer import MuonAdamW

    def model():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Embedding(5, 8), torch.nn.Linear(8, 8), torch.nn.LayerNorm(8))

    def steps(model, optimizer, n):
        for _ in range(n):
            model(torch.arange(5)).pow(2).sum().backward()
            optimizer.step(0.01)

    through, stopped = model(), model()
    optimizer = MuonAdamW(through, [through[1]], 0.1)
    assert [sum(p.numel() for g in part.param_groups for p in g["params"]) for part in optimizer.parts] == [
        64,
        40 + 8 + 16,
    ]
    steps(through, optimizer, 4)
    first = MuonAdamW(stopped, [stopped[1]], 0.1)
    steps(stopped, first, 2)
    again = MuonAdamW(stopped, [stopped[1]], 0.1)
    again.load_state_dict(first.state_dict())
    steps(stopped, again, 2)
    assert all(torch.allclose(a, b) for a, b in zip(through.parameters(), stopped.parameters(), strict=True))


def test_many_hands_step_as_one_does():
    from concurrent.futures import ThreadPoolExecutor

    import torch
    from optimizer import MuonAdamW

    def stepped(pool, hands):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Embedding(5, 8), *(torch.nn.Linear(8, 8) for _ in range(3)))
        optimizer = MuonAdamW(model, model[1:], 0.1, pool, hands)
        for _ in range(3):
            model(torch.arange(5)).pow(2).sum().backward()
            optimizer.step(0.01)
        return list(model.parameters()), optimizer

    with ThreadPoolExecutor(2) as pool:
        (alone, optimizer), (shared, _) = stepped(None, 1), stepped(pool, 2)
        assert all(torch.allclose(a, b) for a, b in zip(alone, shared, strict=True))
        with pytest.raises(SystemExit, match="--together"):
            stepped(pool, 2)[1].load_state_dict(optimizer.state_dict())


def test_batches_learned_together_are_the_mean_of_each():
    from concurrent.futures import ThreadPoolExecutor

    from optimizer import gradients
    from train_hubert import HubertForCTC, Learner, Settings, collate, make_config, step

    class Noting:
        """An optimizer that only takes note of gradients."""

        def step(self, lr):
            self.seen = [p.grad.clone() for p in learner.parameters()]

    s = Settings(
        hidden_size=32, layers=2, heads=2, intermediate_size=64, mask_time_prob=0.0, clip_norm=1e9, phoneme_weight=0.0
    )
    learner, rng, noting = Learner(HubertForCTC(make_config(s)), s), np.random.default_rng(0), Noting()
    batches = [
        collate(noise_rows(rng, {text: n}), 2.0, s) for n, text in ((32_000, "what is gravity"), (20_000, "a cat"))
    ]
    (one, first), (two, second) = (gradients(learner, list(learner.parameters()), batch) for batch in batches)
    with ThreadPoolExecutor(2) as pool:
        loss = step(learner, noting, batches, 1e-3, s, pool)
    assert loss == pytest.approx((one + two) / 2, rel=1e-3)
    assert all(
        np.allclose(g, (a + b) / 2, rtol=0.05, atol=1e-3) for g, a, b in zip(noting.seen, first, second, strict=True)
    )
    assert max(float(g.abs().max()) for g in noting.seen) > 0.01


def test_a_vocoded_clip_has_a_womans_melody_and_the_same_length():
    pytest.importorskip("pyworld", exc_type=ImportError)
    import pyworld
    from speech import vocoded

    t = np.arange(24_000) / 16_000
    buzz = sum(np.sin(2 * np.pi * 110 * k * t) / k for k in range(1, 30))  # a man's pitch
    low = (buzz / np.abs(buzz).max() * 20_000).astype(np.int16)
    high = vocoded(low, np.random.default_rng(0))
    f0, _ = pyworld.dio(high.astype(np.float64) / 32768, 16_000)
    assert abs(len(high) - len(low)) < 400 and 140 < np.median(f0[f0 > 0]) < 240


def test_clips_are_drawn_in_the_shares_that_were_asked_for():
    import random
    from collections import Counter

    from speech import Clip
    from train_hubert import NEURAL, Settings, draw_clip

    samples = np.zeros(16_000, np.int16)
    clips = {
        kind: [Clip(samples, "a", kind)] * n
        for kind, n in {"real few": 4, "real many": 36, "espeak": 1, "other": 1, **dict.fromkeys(NEURAL, 1)}.items()
    }
    rng, s = random.Random(0), Settings(real=0.2, neural=0.5, espeak=0.75)
    drawn = Counter(draw_clip(clips, False, s, rng).voice for _ in range(8000))
    wanted = {
        "real few": 0.05,
        "real many": 0.15,
        "espeak": 0.3,
        "other": 0.1,
        **{engine: 0.4 * share for engine, share in NEURAL.items()},
    }
    assert sum(NEURAL.values()) == pytest.approx(1) and all(
        abs(drawn[kind] / 8000 - share) < 0.02 for kind, share in wanted.items()
    )
    clips |= {engine: [] for engine in NEURAL}  # a folder without neural voices: the others keep their proportions
    drawn = Counter(draw_clip(clips, True, s, rng).voice for _ in range(4000))
    assert set(drawn) == {"espeak", "other"} and abs(drawn["espeak"] / 4000 - 0.75) < 0.03
    # nothing else is wanted
    assert {draw_clip(clips, easy, Settings(real=1.0), rng).voice for easy in (True, False) for _ in range(200)} == {
        "real few",
        "real many",
    }


def test_a_neural_voice_speaks_at_the_models_rate():
    import random

    import neural

    pytest.importorskip("hibari")
    plain, slow = (neural.speak_hibari("heart", "what is gravity", random.Random(0), slower) for slower in (1.0, 1.5))
    assert plain.dtype == np.float32 and 0.5 < len(plain) / 16_000 < 3 and 1.2 < len(slow) / len(plain) < 1.8


def test_choosing_weighs_readings_as_the_service_does():
    import torch
    from train_llama import Choice, ballot, choosing_loss

    from hubert_llama.course.prompt import conversation
    from hubert_llama.words.repair import as_saying

    llama = ChatLlama.from_pretrained(
        str(TRAINING.parent / "hubert_llama" / "mini" / "llama"), DeviceConfig("cpu", "float32")
    )
    choice = Choice(("what is gravity", "what is gravel", "watt is gravity and more"), (-3.0, -2.0, -4.0), (0, 1, 3))
    likely = torch.tensor(
        llama.log_likelihoods(conversation(None, "Course: Physics"), [as_saying(r) for r in choice.readings])
    )
    chosen = (torch.tensor(choice.scores) + 0.5 * likely).softmax(0)
    with torch.inference_mode():
        loss = choosing_loss(llama.model, ballot(llama.tokenizer, choice, "Course: Physics"), 0.5)
    assert float(loss) == pytest.approx(-float(chosen[0].log()), abs=1e-3)


def test_sayings_hold_nothing_that_is_measured_and_every_token_is_learned():
    import random

    from speech import load_sentences
    from train_llama import sayings
    from transformers import PreTrainedTokenizerFast
    from tutor import is_test, load_material, plain

    tokenizer, material, spoken, rng = (
        PreTrainedTokenizerFast.from_pretrained(TRAINING.parent / "hubert_llama" / "mini" / "llama"),
        load_material(),
        load_sentences(),
        random.Random(0),
    )
    end, contexts = tokenizer.convert_tokens_to_ids("<|eot_id|>"), set()
    for _ in range(20):
        lesson = sayings(rng, tokenizer, material, spoken, 24)
        contexts.add("Course context" in tokenizer.decode(lesson[0].prefix))
        assert len({tuple(e.prefix) for e in lesson}) == 1 and all(
            e.ids[1:] == e.labels[1:] and e.ids[-1] == end and e.labels[0] == -100 for e in lesson
        )
        assert not any(is_test(plain(tokenizer.decode(e.ids[1:-1]))) for e in lesson)
    assert contexts == {True, False}


def test_llama_learns_to_choose_from_a_file_of_readings(tmp_path):
    from train_llama import load_choices

    rows = [
        {
            "text": "what is gravity",
            "heard": "wat is gravty",
            "readings": [["what is gravel", -2.0, -1.0], ["what is gravity", -3.0, -2.0]],
        },
        {"text": "a cat", "heard": "a cat", "readings": [["a cat", -1.0, 0.0]]},
        {"text": "a dog", "heard": "a dok"},
    ]
    file = tmp_path / "heard.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    [choice] = load_choices(file, 0.5)
    assert choice.errors == (1, 0) and choice.scores == (-1.5, -2.0)
    script(
        "train_llama.py",
        "--work-dir",
        tmp_path / "work",
        "--minutes",
        "0.05",
        "--hypotheses",
        file,
        *words("--choosing 1 --unheard 0.5 --together 2 --threads 1 --copying 0"),
        "--out",
        tmp_path / "out",
        "--layers",
        "1",
    )
    told = json.loads((tmp_path / "out" / "training_args.json").read_text())
    assert told["steps"] > 0 and told["settings"]["together"] == 2


def test_prose_becomes_sentences_without_figures(tmp_path):
    from speech import prose

    (tmp_path / "a.txt").write_text(
        "CHAPTER 1\n\n“I _know_ that’s true,” she\nsaid; it was 1814. Yes.\n\nHe ran--and fell. So it\nwas naïve",
        encoding="utf-8",
    )
    assert prose(tmp_path / "a.txt") == ["i know that's true", "she said", "he ran", "and fell", "so it was naive"]


def test_the_grouped_convolution_has_pytorchs_gradients():
    import torch
    from quicken import GroupedConvolution

    torch.manual_seed(0)
    for k, padding in ((8, 4), (5, 2), (4, 0)):
        x, weight, bias = (
            torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 12, 30), (12, 3, k), (12,))
        )
        ours, theirs = (
            GroupedConvolution.apply(x, weight, bias, padding, 4),
            torch.nn.functional.conv1d(x, weight, bias, padding=padding, groups=4),
        )
        wanted = torch.randn_like(theirs)
        for a, b in zip(*(torch.autograd.grad(y, (x, weight, bias), wanted) for y in (ours, theirs)), strict=True):
            assert torch.allclose(a, b)


def test_a_quickened_hubert_computes_and_learns_the_same():
    import copy

    import torch
    from quicken import Dropout, quicken
    from train_hubert import Settings, make_config
    from transformers import HubertForCTC

    torch.manual_seed(0)
    model = (
        HubertForCTC(make_config(Settings(hidden_size=32, layers=2, heads=2, intermediate_size=64, dropout=0.1)))
        .double()
        .eval()
    )
    model.set_attn_implementation("eager")
    before = copy.deepcopy(model)
    quicken(before)
    quick = copy.deepcopy(before)  # nothing of it is left in a copy
    for p in before.parameters():
        p.data.zero_()
    x, mask, labels = (
        torch.randn(3, 24_001, dtype=torch.float64),
        torch.ones(3, 24_001, dtype=torch.int64),
        torch.randint(5, 30, (3, 9)),
    )
    mask[1, 15_000:] = 0
    for m in (model, quick):
        m(x, attention_mask=mask, labels=labels).loss.backward()
    assert torch.allclose(model(x, attention_mask=mask).logits, quick(x, attention_mask=mask).logits)
    for (name, p), q in zip(model.named_parameters(), quick.parameters(), strict=True):
        # what a key's bias adds falls out of the softmax: only noise is left
        if p.grad is not None and "k_proj.bias" not in name:
            assert torch.allclose(p.grad, q.grad, rtol=1e-4, atol=1e-5 * float(p.grad.abs().max())), name
    [*_, drop] = [m for m in quick.modules() if isinstance(m, Dropout)]
    kept = drop.train()(torch.ones(400, 250))
    assert (
        set(kept.unique().tolist()) == {0.0, float(torch.tensor(1) / 0.9)} and 0.08 < (kept == 0).float().mean() < 0.12
    )
    assert drop.eval()(kept) is kept


def test_an_export_is_a_mean_of_the_weights_before_and_after(tmp_path):
    import torch
    from train_hubert import (
        HubertForCTC,
        Learner,
        MuonAdamW,
        Settings,
        State,
        export,
        export_checkpoint,
        make_config,
        save_checkpoint,
    )

    small, s = (Settings(hidden_size=32, layers=n, heads=2, intermediate_size=64, phoneme_layer=1) for n in (1, 2))
    export(HubertForCTC(make_config(small)), State(), small, tmp_path / "before")
    learner = Learner(HubertForCTC(make_config(s)), s)
    save_checkpoint(tmp_path / "c.pt", learner, MuonAdamW(learner, learner.model.hubert.encoder.layers, 0.0), State())
    export_checkpoint(s, tmp_path / "c.pt", tmp_path / "mean", tmp_path / "before", 0.75)
    export_checkpoint(s, tmp_path / "c.pt", tmp_path / "same", tmp_path / "c.pt", 0.75)
    assert torch.equal(
        HubertForCTC.from_pretrained(tmp_path / "same", dtype=torch.float32).lm_head.weight,
        learner.model.lm_head.weight.bfloat16().float(),
    )
    before, mean = (
        HubertForCTC.from_pretrained(tmp_path / name, dtype=torch.float32).state_dict() for name in ("before", "mean")
    )
    for name, after in learner.model.state_dict().items():
        if name in before:
            assert torch.allclose(mean[name], 0.25 * before[name] + 0.75 * after, rtol=0.02, atol=1e-3), name
    assert json.loads((tmp_path / "mean" / "training_args.json").read_text())["share_of_these_weights"] == 0.75


def test_matrices_may_step_at_a_rate_of_their_own():
    import torch
    from optimizer import MuonAdamW

    moved = []
    for factor in (1.0, 3.0):
        model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
        before = [layer.weight.detach().clone() for layer in model]
        for p in model.parameters():
            p.grad = torch.eye(8) if p.ndim == 2 else torch.ones(8)
        MuonAdamW(model, [model[0]], 0.0, matrix_lr=factor).step(1e-2)
        moved.append([(layer.weight - w).norm().item() for layer, w in zip(model, before, strict=True)])
    (muon, adam), (muon_fast, adam_too) = moved
    assert abs(muon_fast / muon - 3) < 0.01 and abs(adam_too / adam - 1) < 0.01


def test_the_search_counts_pairs_of_prose_too(tmp_path):
    (tmp_path / "prose.txt").write_text(
        "The wallflower nodded gravely. " * 5 + "The zyzzyx nodded once.", encoding="utf-8"
    )
    pairs = []
    for more in ([], ["--prose", tmp_path / "prose.txt"]):
        script("language_model.py", "--out", tmp_path / "lm.arpa", "--sentences", "300", *more)
        pairs.append((tmp_path / "lm.arpa").read_text(encoding="utf-8"))
    assert (
        "wallflower nodded" not in pairs[0]
        and "wallflower nodded" in pairs[1]
        and "zyzzyx" not in pairs[1]
        and "<unk> nodded" not in pairs[1]
    )


def test_of_pairs_those_stay_that_say_most_and_all_words_after_one_still_sum_to_1(tmp_path):
    from language_model import arpa, count, pruned, smoothed

    from hubert_llama.words.ngrams import LanguageModel

    sentences = [
        "a dark horse",
        "the dark horse runs",
        "the dark horse",
        "the horse",
        "a day",
        "the day",
        "dark day",
        "the new day",
    ]
    grams = count(sentences, {w for s in sentences for w in s.split()}, [1])
    found, left = smoothed(grams)
    (words, kept), weights = pruned(found, left, [4])
    assert len(kept) == 4 and ("dark", "horse") in kept and ("horse", "runs") not in kept
    for history in {h for h, _ in kept}:
        after = {w: kept.get((history, w), weights[(history,)] * p) for (w,), p in words.items() if w != "<s>"}
        assert sum(after.values()) == pytest.approx(1.0, abs=0.02)  # all but the half that <s> counts for
    (tmp_path / "lm.arpa").write_text(arpa(grams, [4]), encoding="utf-8")
    lm = LanguageModel.from_arpa(tmp_path / "lm.arpa")
    assert sum(" " in gram for gram in lm.logs) == 4 and lm.score(("dark",), "horse") == pytest.approx(
        float(np.log(kept["dark", "horse"])), abs=1e-3
    )


def test_triples_that_say_most_stay_after_pairs_that_stay(tmp_path):
    """And all words after two still sum to one."""
    from language_model import arpa, backed_off, count, pruned, smoothed

    from hubert_llama.words.ngrams import LanguageModel

    sentences = ["a dark horse runs", "the dark horse sleeps", "a dark day ends", "the dark day ends", "the new day"]
    grams = count(sentences, {w for s in sentences for w in s.split()}, [1, 1])
    kept, weights = pruned(*smoothed(grams), [5, 3])
    assert [len(x) for x in kept[1:]] == [5, 3] and all(gram[:-1] in kept[1] for gram in kept[2])
    for history in {gram[:-1] for gram in kept[2]}:
        after = [backed_off(kept, weights, (*history, w)) for (w,) in kept[0] if w != "<s>"]
        assert sum(after) == pytest.approx(1.0, abs=0.02)
    (tmp_path / "lm.arpa").write_text(arpa(grams, [5, 3]), encoding="utf-8")
    lm, (*history, word) = LanguageModel.from_arpa(tmp_path / "lm.arpa"), next(iter(kept[2]))
    assert lm.order == 3 and lm.score(tuple(history), word) == pytest.approx(
        float(np.log(kept[2][(*history, word)])), abs=1e-3
    )


def test_an_equalizer_changes_each_frequency_by_its_gain():
    """A flat one changes nothing but loudness; one that falls leaves a low tone louder than a high one."""
    from speech import equalize

    time = np.arange(SAMPLING_RATE) / SAMPLING_RATE
    low, high = (np.sin(2 * np.pi * hertz * time).astype(np.float32) for hertz in (200, 6000))
    assert np.allclose(equalize(low, np.full(8, 6.0)), low * 10 ** (6 / 20), atol=1e-4)
    gains = np.linspace(12, -12, 8)
    louder, softer = equalize(low, gains).std() / low.std(), equalize(high, gains).std() / high.std()
    assert 1 < louder < 10 ** (12 / 20)
    assert 10 ** (-12 / 20) < softer < 1


def test_a_gradient_is_stepped_by_however_it_lies_in_memory():
    from concurrent.futures import ThreadPoolExecutor

    import torch
    from optimizer import MuonAdamW, learn

    def stepped(turn) -> torch.Tensor:
        """A weight of a convolution after a step, its gradient coming in another order of memory or in its own."""

        class Same(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clone()

            @staticmethod
            def backward(ctx, gradient):
                return turn(gradient)

        torch.manual_seed(0)
        model, wanted = torch.nn.Sequential(torch.nn.Conv1d(3, 4, 2), torch.nn.Linear(2, 2)), torch.randn(4, 3, 2)
        weight, *rest = model.parameters()
        optimizer = MuonAdamW(model, [model[1]], 0.0)
        for _ in range(3):
            with ThreadPoolExecutor(1) as pool:
                learn(
                    lambda batch: (Same.apply(weight) * wanted * batch).sum() + sum(p.sum() for p in rest),
                    model,
                    [torch.ones(1)],
                    pool,
                )
            optimizer.step(0.1)
        return weight.detach()

    assert stepped(lambda g: g).equal(stepped(lambda g: g.transpose(1, 2).contiguous().transpose(1, 2)))
