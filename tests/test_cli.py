"""The command line as a shell sees it: output, exit codes, help."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import CLIPS

ROOT = Path(__file__).parent.parent
ASK = ["ask", str(CLIPS / "gravity.ogg"), "--profile", "mini"]


def cli(*args: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "hubert_llama", *args]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, **options)


def test_ask_prints_the_transcript_and_the_answer():
    proxy = "socks5://127.0.0.1:9"  # there is none: bundled models need no network
    env = os.environ | {"ALL_PROXY": proxy, "HTTPS_PROXY": proxy}
    context = "Course: Biology 101."
    done = cli("ask", str(CLIPS / "photosynthesis.ogg"), "--profile", "mini", "--context", context, env=env)
    said, answer = done.stdout.splitlines()[:2]
    assert done.returncode == 0 and said.lower().startswith("you said: what is") and len(answer.split()) > 3
    assert "note: The bundled mini models answered" in done.stderr
    assert "\r" not in done.stderr  # no progress bar in a pipe


def test_ask_json_goes_on_after_a_bad_file_and_exits_with_1():
    done = cli("ask", str(CLIPS / "nobody.ogg"), str(CLIPS / "gravity.ogg"), "--json", "--profile", "mini")
    bad, good = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1 and not bad["success"] and "not found" in bad["error"]
    assert good["success"] and good["speech_features_shape"][0] == 1


def test_ask_says_whose_answer_is_whose_and_notes_what_is_to_be_known_once():
    first, missing, second = str(CLIPS / "gravity.ogg"), "nobody.ogg", str(CLIPS / "sum.ogg")
    done = cli("ask", first, missing, second, "--profile", "mini")
    lines = done.stdout.splitlines()
    heads = [line for line in lines if line.startswith("==>")]
    assert heads == [f"==> {path} <==" for path in (first, missing, second)]
    assert lines[1] == "You said: Can you explain gravity?"
    assert lines.index(f"==> {second} <==") == lines.index(f"==> {missing} <==") + 1
    assert done.returncode == 1 and done.stderr.count("note: The bundled mini models answered") == 1


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is POSIX")
def test_interrupting_ends_a_command_at_once_with_130():
    command = [sys.executable, "-m", "hubert_llama", "ask", "x.wav", "--profile", "mini"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1)  # it imports torch
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "") and process.returncode == 130


def test_evaluate_measures_and_goes_on_where_it_was_stopped(tmp_path):
    rows = [
        {"audio": str(CLIPS / "sum.ogg"), "text": "What is seven plus eight?", "key": "fifteen", "kind": "sum"},
        {"audio": str(CLIPS / "gravity.ogg"), "text": "Can you explain gravity?"},
        {"audio": "missing.wav", "text": "nothing"},
    ]
    manifest, out = tmp_path / "m.jsonl", tmp_path / "out"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    first = cli("evaluate", str(manifest), "--profile", "mini", "--out", str(out), "--json")
    figures = json.loads(first.stdout)
    assert first.returncode == 1
    assert (figures["corpora"][0]["clips"], figures["answers"][0]["of"], figures["errors"]) == (2, 1, 1)
    assert json.loads((out / "report.json").read_text()) == figures and "WER" in (out / "report.md").read_text()
    kept = out / "outcomes.jsonl"
    lines = kept.read_text().strip().splitlines()
    kept.write_text(lines[0] + "\n" + lines[1][:40])  # stopped while it wrote the second
    again = cli("evaluate", str(manifest), "--profile", "mini", "--out", str(out), "--json")
    assert again.returncode == 1 and json.loads(again.stdout)["corpora"][0]["words"] == figures["corpora"][0]["words"]
    whole = [line for line in kept.read_text().splitlines() if line.endswith("}")]
    assert kept.read_text().startswith(lines[0]) and len(whole) == 3
    assert (out / "report.html").read_text().count("<img") == 4
    other = cli("evaluate", str(manifest), "--profile", "mini", "--out", str(out), "--contexts", "none")
    assert other.returncode == 1 and "outcomes of other options" in other.stderr
    options = ("--compare", "raw,guarded", "--limit", "1", "--distractors", "5", "--json")
    few = cli("evaluate", str(manifest), "--profile", "mini", *options)
    assert few.returncode == 0  # no recording was missing
    figures = json.loads(few.stdout)
    assert [row["stage"] for row in figures["stages"]] == ["raw", "guarded"]
    assert figures["speed"]["peak memory MB"] > 100


def test_evaluate_counts_what_was_said_however_it_is_written(tmp_path):
    name = 'a|b <i> $x$ \\'
    rows = [
        {"audio": str(CLIPS / "gravity.ogg"), "text": "(Can you\u2028explain gravity?)", "corpus": name},
        {"audio": str(CLIPS / "sum.ogg"), "text": "What is 7+5?", "corpus": name},
        {"audio": str(ROOT / "tests" / "data" / "roentgen.ogg"), "text": "Who was Röntgen?", "corpus": name},
    ]
    rows[-1]["context"] = "Ro\u0308ntgen found rays that pass through bodies."
    manifest, out = tmp_path / "m.jsonl", tmp_path / "out"
    manifest.write_bytes("\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode("utf-8-sig"))
    done = cli("evaluate", str(manifest), "--profile", "mini", "--out", str(out), "--json")
    figures = json.loads(done.stdout)
    told = [(row["corpus"], row["words"], row["WER %"], row["exact"]) for row in figures["corpora"]]
    assert done.returncode == 0 and told == [(name, 11, 0.0, 3)], done.stderr
    course = figures["course_words"][-1]
    assert figures["silence"]["clips"] == 0 and (course["said"], course["heard"], course["false alarms"]) == (1, 1, 0)
    assert "| a\\|b \\<i> $x$ \\\\ | 3 |" in (out / "report.md").read_text()
    assert "<td>a|b &lt;i&gt; $x$ \\</td><td>3</td>" in (out / "report.html").read_text()


def test_evaluate_says_which_package_it_wants(tmp_path):
    (tmp_path / "jiwer.py").write_text("raise ImportError")
    done = cli("evaluate", "x.jsonl", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert 'pip install "hubert_llama[evaluate]"' in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["ask", "x.wav", "--profile", "huge"], 2, "Unknown profile 'huge': choose auto, mini"),
        (["ask", "x.wav", "--hubert", str(ROOT)], 1, "lacks config.json"),
        (["ask", "x.wav", "--profile", "mini", "--device", "toaster"], 2, "Unknown device 'toaster': use auto, cpu"),
        (["ask", "x.wav", "--audio-root", "/nope"], 2, "'/nope' is no folder"),
        (["ask", "x.wav", "--loud"], 2, "unrecognized arguments: --loud"),
        (["evaluate", "x.jsonl", "--max-duration", "nan"], 2, "--max-duration nan: must be"),
        (["evaluate", "x.jsonl", "--limit", "-1"], 2, "'-1' is not a whole number, 1 or more"),
        (["serve", "eight"], 2, "'eight' is not a port"),
        (["ask"], 2, "required: audio"),
        (["evaluate", "nowhere.jsonl"], 1, "Manifest not readable: nowhere.jsonl"),
        (["evaluate", "x.jsonl", "--where", "dev"], 2, "not FIELD=VALUE"),
        (["evaluate", "x.jsonl", "--compare", "raw,best"], 2, "'best' is not one of raw, nbest"),
        (["evaluate", str(ROOT / "LICENSE")], 1, "line 1: not JSON"),
        (["sing"], 2, "invalid choice"),
        ([], 2, "COMMAND"),
    ],
)
def test_mistakes_are_sentences_with_an_exit_code(args, code, words):
    done = cli(*args)
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_help_and_version_are_quick_and_teach():
    shown = {("--help",): "ask", ("ask", "--help"): "examples:", ("serve", "--help"): "HUBERT_LLAMA_TOKEN",
             ("--version",): "hubert-llama 0."}
    for args, words in shown.items():
        done = cli(*args)
        assert done.returncode == 0 and words in done.stdout
    code = "import sys; import hubert_llama.cli; print('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


# where the output goes

FULL = Path("/dev/full")  # takes nothing: as a disk without room


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("args", "unbuffered"),
    [(["--help"], ""), (["--help"], "1"), (ASK, "1"), ([*ASK, "--json"], "")],
)
def test_output_that_finds_no_room_is_told_as_that(args, unbuffered):
    code = "import sys; from hubert_llama.cli import main; sys.exit(main())"
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, *args], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120,
            stdin=subprocess.DEVNULL, env=os.environ | {"PYTHONUNBUFFERED": unbuffered})
    assert (done.returncode, done.stderr) == (1, "hubert-llama: Could not write the output: no space left on device.\n")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_complaints_that_find_no_room_are_dropped():
    code = "import sys; from hubert_llama.cli import main; sys.exit(main())"
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, "evaluate", "nowhere.jsonl"], stdout=subprocess.PIPE, stderr=full, text=True,
            timeout=120, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_reader_who_has_seen_enough_is_no_trouble():
    code = "import sys; from hubert_llama.cli import main; sys.exit(main())"
    pipe = subprocess.PIPE
    ask = subprocess.Popen(
        [sys.executable, "-c", code, "--help"], stdout=pipe, stderr=pipe, stdin=subprocess.DEVNULL)
    ask.stdout.close()
    assert (ask.wait(60), ask.stderr.read()) == (0, b"")


@pytest.mark.skipif(os.name == "nt", reason="sets a limit to the size of files")
def test_results_that_find_no_room_are_told_as_that(tmp_path):
    rows = [{"audio": f"{i}.wav", "text": "none"} for i in range(3)]  # nothing to hear: no matter here
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = ("import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({}, {})); from hubert_llama import cli; "
            "cli._load = lambda *a, **k: type('P', (), {{'warm_up': lambda self: None}})(); sys.exit(cli.main())")
    options = ("evaluate", str(tmp_path / "m.jsonl"), "--profile", "mini", "--out")
    for limit, file in ((10, "options.json"), (300, "outcomes.jsonl")):
        out = tmp_path / str(limit)
        command = [sys.executable, "-c", code.format(limit, limit), *options, str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        complaint = f"hubert-llama: Could not write {out / file}: file too large.\n"
        assert done.returncode == 1 and done.stderr.endswith(complaint), done.stderr
    (tmp_path / "file").write_text("")
    done = cli("evaluate", str(tmp_path / "m.jsonl"), "--profile", "mini", "--out", str(tmp_path / "file"))
    assert done.returncode == 1 and f"Could not write {tmp_path / 'file'}: file exists" in done.stderr
