"""MelHuBERT: its front and encoder are Whisper's, padding changes nothing, and its training stops, goes on and ends."""

import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLIPS

from hubert_llama.audio import SAMPLING_RATE, load_audio, n_frames

TRAINING = Path(__file__).parent.parent / "training"
SIZES = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "num_mel_bins": 80}
TEXTS = {"gravity": "can you explain gravity", "sum": "what is seven plus eight"}
TEXTS |= {"photosynthesis": "what is photosynthesis"}
WHISPER = {  # of a layer: CTranslate2's names -> transformers'
    "self_attention/layer_norm": "self_attn_layer_norm", "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm", "ffn/linear_0": "fc1", "ffn/linear_1": "fc2",
}


def tiny(seed: int = 0):
    from hubert_llama.mel_hubert import MelHubertConfig, MelHubertForCTC

    torch.manual_seed(seed)
    return MelHubertForCTC(MelHubertConfig(**SIZES)).eval()


def noise(*samples: int) -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.standard_normal(n).astype(np.float32) * 0.1) for n in samples]


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    from speech import to_int16, write_part

    folder = tmp_path_factory.mktemp("people")
    clips = [(to_int16(load_audio(CLIPS / f"{name}.ogg")), text, name) for name, text in TEXTS.items()]
    write_part(folder, "train-librispeech", clips[:1])
    write_part(folder, "train-speechocean762", clips[1:])
    write_part(folder, "dev-librispeech", clips[2:])
    return folder


@pytest.fixture(scope="module")
def whisper():
    """transformers' encoder of Whisper, for clips of 0.4 s, with random weights that float16 holds."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    torch.manual_seed(1)
    sizes = {
        "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24,
        "max_source_positions": 20}
    encoder = WhisperEncoder(WhisperConfig(num_mel_bins=80, **sizes)).eval()
    with torch.no_grad():
        for name, p in encoder.named_parameters():
            if "positions" not in name:
                p.copy_((p + 0.1 * torch.randn_like(p)).half().float())
    return encoder


def ctranslate2_file(arrays: dict[str, np.ndarray]) -> bytes:
    """Float16 arrays in CTranslate2's format, version 6."""
    def text(x: str) -> bytes:
        return struct.pack("<H", len(x) + 1) + x.encode() + b"\0"

    data = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, x in arrays.items():
        data += text(name) + struct.pack(f"<B{x.ndim}I", x.ndim, *x.shape)
        data += struct.pack("<BI", 4, x.nbytes) + x.tobytes()
    return data + struct.pack("<I", 0)


def ctranslate2_arrays(encoder) -> dict[str, np.ndarray]:
    """The weights of transformers' encoder under CTranslate2's names, queries, keys and values joined."""
    state = {name: p.detach().numpy().astype(np.float16) for name, p in encoder.named_parameters()}
    names = {"conv1": "conv1", "conv2": "conv2", "layer_norm": "layer_norm"}
    names |= {f"layer_{i}/{a}": f"layers.{i}.{b}" for i in range(2) for a, b in WHISPER.items()}
    arrays = {}
    for theirs, ours in names.items():
        parts = ("gamma", "beta") if theirs.endswith("layer_norm") else ("weight", "bias")
        named = zip(parts, ("weight", "bias"), strict=True)
        arrays |= {f"encoder/{theirs}/{part}": state[f"{ours}.{p}"] for part, p in named}
    for i in range(2):
        own, joined = f"layers.{i}.self_attn.", f"encoder/layer_{i}/self_attention/linear_0"
        arrays[f"{joined}/weight"] = np.concatenate([state[f"{own}{x}_proj.weight"] for x in "qkv"])
        biases = [state[f"{own}q_proj.bias"], np.zeros(16, np.float16), state[f"{own}v_proj.bias"]]
        arrays[f"{joined}/bias"] = np.concatenate(biases)
    return arrays


def test_a_melhubert_out_of_a_ctranslate2_file_encodes_as_transformers_whisper_does(whisper, tmp_path):
    from whisper_weights import from_whisper

    from hubert_llama.mel_hubert import MelHubertConfig

    (tmp_path / "model.bin").write_bytes(ctranslate2_file(ctranslate2_arrays(whisper)))
    model = from_whisper(tmp_path / "model.bin", MelHubertConfig(**SIZES)).eval()
    waveform = noise(40 * 160)[0]
    with torch.inference_mode():
        features, lengths = model.hubert.log_mel(waveform[None], None)
        states, frames = model.hubert.encode(features, lengths)
        assert torch.allclose(states[-1], whisper(features.transpose(1, 2)).last_hidden_state, atol=1e-5)
    assert frames.tolist() == [20] and states[-1].shape == (1, 20, 16)
    with pytest.raises(SystemExit, match="version 5"):
        (tmp_path / "model.bin").write_bytes(struct.pack("<I", 5) + (tmp_path / "model.bin").read_bytes()[4:])
        from_whisper(tmp_path / "model.bin", MelHubertConfig(**SIZES))


@pytest.mark.parametrize("fused", [True, False])
def test_a_clip_in_a_padded_batch_reads_as_if_it_were_alone(fused):
    model, clips = tiny(), noise(6400, 8079, 12_345)
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=0.5)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(x), dtype=torch.int64) for x in clips], batch_first=True)
    with torch.inference_mode() if fused else torch.enable_grad():  # the fused attention, and the one that learns
        logits = model(batch, attention_mask=mask).logits
        for i, x in enumerate(clips):
            alone = model(x[None]).logits[0]
            assert alone.shape == (n_frames(len(x)), 32) and torch.allclose(logits[i, : len(alone)], alone, atol=1e-5)


def test_what_is_measured_is_what_the_search_finds():
    from speech import Clip
    from train_hubert import SYMBOLS, greedy_text
    from train_mel_hubert import read

    from hubert_llama.words.recogniser import ReadingConfig
    from hubert_llama.words.search import LetterSearch

    class Search(LetterSearch):
        """One that notes how many readings were asked for."""

        def __call__(self, emissions, n, *rest):
            asked.append(n)
            return super().__call__(emissions, n, *rest)

    asked, model, samples = [], tiny(), (noise(9000)[0].numpy() * 32767).astype(np.int16)
    clip = Clip(samples, "", "a", "test")
    with torch.inference_mode():
        logits = model(torch.from_numpy(samples.astype(np.float32) / 32768)[None]).logits[0]
    greedy = greedy_text(logits.argmax(-1).tolist())
    assert read(model, clip, None) == greedy
    emissions = logits.log_softmax(-1).numpy()
    listed = LetterSearch(SYMBOLS)(emissions, ReadingConfig.listed, "", greedy)
    assert read(model, clip, Search(SYMBOLS)) == max(listed, key=lambda h: h.total).text
    assert asked == [ReadingConfig.listed]


def test_weights_are_saved_in_16_bits_and_loaded(tmp_path):
    from train_mel_hubert import Settings, State, export
    from transformers import AutoConfig, Wav2Vec2Processor

    from hubert_llama.mel_hubert import MelHubertForCTC

    model, waveform = tiny(), noise(9000)[0]
    export(model, State(step=7, sound=7200.0), Settings(), tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).model_type == "mel_hubert"
    again = MelHubertForCTC.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.inference_mode():
        assert torch.allclose(again(waveform[None]).logits, model(waveform[None]).logits, atol=2e-3)
    values = Wav2Vec2Processor.from_pretrained(tmp_path)(waveform.numpy(), sampling_rate=SAMPLING_RATE).input_values[0]
    assert np.array_equal(values, waveform.numpy())  # as it is: Whisper's front hears how loud a clip is
    assert json.loads((tmp_path / "training_args.json").read_text())["hours_of_sound"] == 2.0


def test_a_steps_batches_follow_from_its_number_alone(parts):
    from train_mel_hubert import Recordings, Settings, steps

    s = Settings(pool=12, batch_seconds=6.0)
    first = steps(Recordings(parts, s), 0, 2)
    seen = [next(first) for _ in range(4)]
    later = next(steps(Recordings(parts, s), 3, 2))
    for a, b in zip(seen[3], later, strict=True):
        assert torch.equal(a.features, b.features) and torch.equal(a.labels, b.labels)
    assert not torch.equal(seen[2][0].features[0, :50], seen[3][0].features[0, :50])
    for b in (b for step in seen for b in step):
        assert (b.labels >= 0).any(1).all() and int(b.frames.max()) <= (b.features.shape[1] + 1) // 2


def test_corpora_have_their_shares_of_the_seconds(parts):
    from train_mel_hubert import SHARES, Recordings, Settings

    people = Recordings(parts, Settings())
    both = SHARES["librispeech"] + SHARES["speechocean762"]  # the corpora that are there
    seconds = people.chances * [c.seconds for c in people.clips]
    assert seconds[0] / seconds.sum() == pytest.approx(SHARES["librispeech"] / both)
    assert people.chances.sum() == pytest.approx(1)


def test_changes_keep_speech_finite_and_noise_at_its_distance(parts):
    from dataclasses import replace

    from train_mel_hubert import Changes, Recordings, Settings, changed, with_noise

    people = Recordings(parts, Settings())
    samples, everything = people.clips[0].samples, Changes(1, (0.9, 1.1), 1, 10, 1, (0.05, 0.4), 0.5, 0.5, 1, 1)
    for seed in range(20):
        x = changed(samples, 1.05, np.random.default_rng(seed), everything, people.clips)
        assert np.isfinite(x).all() and x.dtype == np.float32
        assert 0 < len(x) - len(samples) / 1.05 < 0.6 * SAMPLING_RATE + 2
    x = noise(16_000)[0].numpy()
    for seed in range(10):
        noisy = with_noise(x, np.random.default_rng(seed), replace(everything, snr_range=(10.0, 10.0)), people.clips)
        assert 20 * np.log10(x.std() / (noisy - x).std()) == pytest.approx(10, abs=0.5)


def test_the_learning_rate_rises_stays_and_falls_before_the_end():
    from train_mel_hubert import Settings, State, lr_factor

    s = Settings(warmup=10, decay_minutes=20, final_lr=0.1)
    assert [lr_factor(State(step=i), s) for i in (0, 4, 9, 500)] == pytest.approx([0.1, 0.5, 1, 1])
    at = [lr_factor(State(step=99, spent=60 * m, end=60 * 50), s) for m in (10, 30, 40, 50)]
    assert at == pytest.approx([1, 1, 0.55, 0.1])


def test_training_stops_goes_on_and_ends(parts, tmp_path, monkeypatch, capsys):
    from train_mel_hubert import main

    start, out = tmp_path / "start", tmp_path / "out"
    tiny().save_pretrained(start)
    small = ["--batch-seconds", "4", "--pool", "8", "--log-steps", "2", "--threads", "1"]
    arguments = ["train_mel_hubert.py", "--data", str(parts), "--init-from", str(start), "--out", str(out), *small]
    command = [sys.executable, TRAINING / arguments[0], *arguments[1:]]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    running.stdout.readline()  # it learns
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    kept = torch.load(out / "checkpoint.pt")
    assert running.returncode == 0 and kept["state"]["step"] >= 2 and not (out / "model.safetensors").exists()
    (out / "finish").write_text("0.02")
    monkeypatch.setattr(sys, "argv", [*arguments, "--layers-lr", "1e-5"])
    main()
    told = json.loads((out / "training_args.json").read_text())
    assert told["steps"] > kept["state"]["step"] and not (out / "finish").exists()
    assert told["settings"]["layers_lr"] == 1e-5
    groups = torch.load(out / "checkpoint.pt")["optimizer"]["param_groups"]
    assert [group["base_lr"] for group in groups] == [1e-5, 1e-5, 1e-3, 1e-3]  # those of the last start
    measured = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(measured["means"]) == {"librispeech"} and measured["exported"] in ("means", "weights")
    monkeypatch.setattr(sys, "argv", [*arguments, "--evaluate", str(out)])
    main()
    assert json.loads(capsys.readouterr().out)["greedy"]["librispeech"]["clips"] == 1


def test_the_mean_of_the_weights_follows_them(parts):
    from train_mel_hubert import Settings, Training

    training = Training(tiny(), Settings(train_front=True))
    before = [p.detach().clone() for p in training.learned]
    for a, b in zip(training.averaged().parameters(), training.model.parameters(), strict=True):
        assert torch.equal(a, b)
    with torch.no_grad():
        for p in training.learned:
            p.add_(1)
        torch._foreach_lerp_(training.means, training.learned, 0.25)
    means = dict(training.averaged().named_parameters())
    for (name, _), old in zip(training.model.named_parameters(), before, strict=True):
        assert torch.allclose(means[name], old + 0.25, atol=1e-6)


def test_a_searchs_weights_are_tuned_on_people_and_written_for_the_service(tmp_path, monkeypatch, capsys):
    import shutil

    from tune_search import main

    from hubert_llama.words.search import BeamConfig, BeamSearch

    bundled = TRAINING.parent / "hubert_llama" / "mini" / "hubert"
    hubert = Path(shutil.copytree(bundled, tmp_path / "hubert"))
    rows = [{"audio": str(CLIPS / f"{n}.ogg"), "text": t, "split": "train", "corpus": "c"} for n, t in TEXTS.items()]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr(sys, "argv", ["tune_search.py", str(tmp_path / "m.jsonl"), "--hubert", str(hubert)])
    main()
    assert "3 recordings; greedy: " in capsys.readouterr().out
    told = json.loads((hubert / "language_model" / "search.json").read_text())
    assert set(told) == {"lm_weight", "word_score", "spelt"}
    search = BeamSearch.from_pretrained(str(hubert), ["<pad>", "|", "A"])
    assert search.config == BeamConfig(**told) == BeamConfig.from_folder(hubert)


def test_lists_are_weighed_anew_as_a_search_with_other_weights_would():
    from tune_search import weighed_anew

    from hubert_llama.words.search import BeamConfig, Hypothesis

    h = Hypothesis("two words", -9.0, -8.0, -4.0)  # the sound has -5, two words 0.5 each
    [[again]] = weighed_anew([[h]], BeamConfig(lm_weight=2.0, word_score=0.5), 1.0, 1.5)
    assert again.total == pytest.approx(-5.0 - 2.0 + 2 * 1.5) and again.text == "two words"


def test_people_are_drawn_by_lot_few_of_each_and_some_minutes_of_a_corpus(tmp_path):
    from calibrate import people_of

    rows = [
        {"audio": str(CLIPS / "gravity.ogg"), "text": "a", "corpus": c, "speaker": s, "split": split}
        for c in "xy" for s in "ab" for split in ("train", "dev") for _ in range(5)
    ]
    for i, row in enumerate(rows):  # each a recording of its own
        row["speaker"] += row["corpus"]
        (tmp_path / f"{i}.ogg").symlink_to(row["audio"])
        row["audio"] = f"{i}.ogg"
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    some = people_of(tmp_path / "m.jsonl", 3, 100)
    train = {str(tmp_path / row["audio"]) for row in rows if row["split"] == "train"}
    assert len(some) == 12 and {u.audio for u in some} < train
    assert [len([u for u in people_of(tmp_path / "m.jsonl", 5, 0.01) if u.corpus == c]) for c in "xy"] == [1, 1]


def test_a_model_card_has_a_trainings_hours_and_a_measurements_figures(tmp_path):
    """What lies in no folder is not named."""
    from model_card import HOUR, card

    from hubert_llama.measure.manifest import Utterance
    from hubert_llama.measure.report import Outcome, report

    people, results = tmp_path / "people", tmp_path / "results"
    for folder in (people, results / "librispeech"):
        folder.mkdir(parents=True)
    (people / "train-librispeech.pcm").touch()
    os.truncate(people / "train-librispeech.pcm", 2 * HOUR)  # no disk is used
    trained = {"steps": 900, "hours_of_sound": 7.0, "settings": {"longest_seconds": 17.5}}
    files = {"config": {"num_hidden_layers": 6, "hidden_size": 512}, "training_args": trained, "calibration": {}}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    said = Utterance("a.wav", "the sea was calm", "librispeech")
    measured = report([Outcome(said, "the see was calm", "The sea was calm.")])
    (results / "librispeech" / "report.json").write_text(json.dumps(measured.to_dict()), encoding="utf-8")
    text = card(tmp_path, people, results, tmp_path)
    assert "1,800 steps" in text and "14 hours of sound" in text and "| 2.0 | CC BY 4.0 |" in text
    assert "| librispeech | 1 | 4 | 25.0 | **0.0** |" in text and "Kathleen" not in text.split("## Figures")[0]
