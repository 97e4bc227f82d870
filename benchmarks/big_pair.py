"""What the big pair takes on this machine: loading, memory, hearing, reading, writing, and a whole question.

    python benchmarks/full_size.py /tmp/full-size
    python benchmarks/big_pair.py /tmp/full-size
    python benchmarks/big_pair.py /tmp/full-size --threads 2 --repeats 5

Each part runs in a process of its own, with the checkpoints that benchmarks/full_size.py made: exact shapes, random
weights. What a random model would say is nothing, so its letters and tokens are prescribed while it computes all the
same: HuBERT "hears" a sentence of 25 words in ten seconds of recording, Llama writes it down with commas and one word
less, and answers in 64 tokens; it is sure of every word, so Llama is not asked to choose. Four-bit codes are made in
FOLDER/home and stay there.

Memory is told apart: anonymous pages are the process's own, file pages belong to files mapped into memory, which the
system takes back when it needs room.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from timing import in_turns, timed

CLIPS = Path(__file__).resolve().parent.parent / "nbs" / "clips"
HEARD = (
    "please explain to me once more in simple words how the green leaves of a plant make sugar "
    "out of light and water and air"
)
SAID = (
    "Please explain to me once more, in simple words, how the green leaves of a plant make sugar "
    "out of light, water and air."
)
ANSWER = (
    "Leaves are small kitchens. A green pigment called chlorophyll catches sunlight, and with that energy the leaf "
    "splits water, which came up from the roots,\nand takes carbon dioxide out of the air through tiny pores. From "
    "both it builds sugar, its food, and gives off oxygen that you breathe. Can you say which two things go in, and "
    "which two come out?"
)
PAGE = (
    "Course: Biology 101. Leaves hold chlorophyll, which catches light. Water comes up from the roots, carbon dioxide "
    "comes in through small pores. "
)
CONTEXT_TOKENS, ANSWER_TOKENS, PROMPT_TOKENS = 300, 64, 512


# In the process that has the models


class Memory(threading.Thread):
    """Watches how many megabytes this process has."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = {"RssAnon": 0, "RssFile": 0}
        self.start()

    def run(self) -> None:
        """Look twenty times a second."""
        while True:
            for name, megabytes in self.now().items():
                self.most[name] = max(self.most[name], megabytes)
            time.sleep(0.05)

    @staticmethod
    def now() -> dict[str, int]:
        """Anonymous and file pages."""
        fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        return {name: int(fields[name].split()[0]) // 1024 for name in ("RssAnon", "RssFile")}


def load(folder: Path):
    """The big pair, Llama in four bits."""
    from hubert_llama import SpeechUnderstanding
    from hubert_llama.models.device import DeviceConfig
    from hubert_llama.pipeline import PipelineConfig

    return SpeechUnderstanding.from_pretrained(
        hubert=str(folder / "hubert"),
        llama=str(folder / "llama"),
        load_in_4bit=True,
        config=PipelineConfig(device=DeviceConfig("cpu"), answers=None),
    )


def time_loading(folder: Path) -> dict:
    """Seconds and memory until both models are there."""
    import torch  # noqa: F401
    import transformers  # noqa: F401

    memory, start = Memory(), time.perf_counter()
    load(folder)
    return {"seconds": time.perf_counter() - start, "peak": memory.most, "then": memory.now()}


def median_of(work: Callable[[], object], repeats: int) -> list[float]:
    """Median, least and most seconds of some runs after a first one."""
    times = timed(work, repeats)
    return [statistics.median(times), min(times), max(times)]


def time_hearing(folder: Path, repeats: int) -> dict:
    """Seconds for 10 and 30 s of sound, in turns, and how far the hidden states are from transformers' own.

    By the service's encoder, by the same with its dtype asked for (no matrix becomes bytes), and by transformers.
    """
    import numpy as np
    import torch
    from transformers import HubertForCTC

    from hubert_llama.fast.int8 import Linear8bit
    from hubert_llama.hubert import SpeechEncoder
    from hubert_llama.models.device import DeviceConfig

    ours, theirs = (
        SpeechEncoder.from_pretrained(str(folder / "hubert"), DeviceConfig("cpu")),
        HubertForCTC.from_pretrained(folder / "hubert", dtype=torch.float32).eval(),
    )
    dtype = str(ours.dtype).removeprefix("torch.")
    plain = SpeechEncoder.from_pretrained(str(folder / "hubert"), DeviceConfig("cpu", dtype))
    figures = {"dtype": dtype, "layers of bytes": sum(isinstance(m, Linear8bit) for m in ours.model.modules())}
    for seconds in (10, 30):
        sound = recording(seconds)
        values = torch.from_numpy((sound - sound.mean()) / np.sqrt(sound.var() + 1e-7))[None]
        with torch.inference_mode():
            ways = {
                "ours": partial(ours.encode, [sound]),
                "plain": partial(plain.encode, [sound]),
                "transformers": partial(theirs, values),
            }
            times = in_turns(ways, repeats)
        figures |= {f"{seconds} s, {who}": [statistics.median(t), min(t), max(t)] for who, t in times.items()}
    wanted = theirs.hubert(values).last_hidden_state.detach()
    for name, encoder in (("relative error", ours), ("plain one", plain)):
        found = encoder.encode([sound], keep_hidden_states=True)[0].hidden_states
        figures[name] = float((found - wanted).norm() / wanted.norm())
    return figures


def recording(seconds: float):
    """So much speech: the notebooks' clips, one after the other."""
    import numpy as np

    from hubert_llama.audio import load_audio

    sound = np.concatenate([load_audio(path) for path in sorted(CLIPS.glob("*.ogg"))])
    return np.resize(sound, int(seconds * 16_000))


def read_bandwidth() -> float:
    """GB/s at which all threads together read memory."""
    import torch

    numbers = torch.ones(400_000_000)
    return 1.6 / median_of(lambda: numbers.sum(), 5)[1]


def bytes_in_4_bit(model) -> int:
    """What a token reads of a model's matrices in four bits, or of one."""
    from hubert_llama.fast.linear import Linear4bit

    return sum(m.codes.nbytes + m.scales.nbytes + m.units.nbytes for m in model.modules() if isinstance(m, Linear4bit))


def time_llama(pipeline, repeats: int) -> dict:
    """Reading a prompt, writing token by token, and what reading the weights once would allow."""
    import torch

    from hubert_llama.llama import prefill

    llama = pipeline.llama
    ids = torch.randint(0, 100_000, (PROMPT_TOKENS,)).tolist()

    def read() -> None:
        """The prompt, from the start."""
        llama.prefix.clear()
        prefill(llama, ids)

    prompt = median_of(read, repeats)
    token = median_of(lambda: prefill(llama, [1]), 16)
    ahead = {n: median_of(lambda n=n: prefill(llama, [1] * n), repeats) for n in (4, 8, 16, 32)}
    codes = bytes_in_4_bit(llama.model)
    head = llama.model.lm_head
    output = head.weight.nbytes if getattr(head, "sketch", None) is None else 0  # the sketch is among the codes
    bandwidth = read_bandwidth()
    return {
        "prompt tokens/s": PROMPT_TOKENS / prompt[0],
        "tokens/s": 1 / token[0],
        "bytes a token": codes + output,
        "GB/s": bandwidth,
        "bound tokens/s": bandwidth * 1e9 / (codes + output),
        "pass of n tokens": ahead,
    }


def spoken(sentence: str, labels: list[str], n: int):
    """Emissions (n, V) that say a sentence: each letter for two frames, blanks between."""
    import numpy as np

    from hubert_llama.words.ctc import spell

    symbols = spell(sentence, labels)
    columns = np.zeros(n, int)
    for i, symbol in enumerate(symbols):
        at = 4 + i * (n - 8) // len(symbols)
        columns[at : at + 2] = symbol
    emissions = np.full((n, len(labels)), -12.0, np.float32)
    emissions[np.arange(n), columns] = -0.001
    return emissions


def prescribe(pipeline, said: Iterator[str]) -> None:
    """Let HuBERT hear HEARD and Llama say what comes next of `said`, while both compute as ever."""
    from dataclasses import replace

    from hubert_llama import llama as module

    encoder, tokenizer = pipeline.encoder, pipeline.llama.tokenizer
    encode = encoder._encode_batch

    def hear(waveforms, keep):
        """The shapes of the true encoding, other letters."""
        for encoding in encode(waveforms, keep):
            emissions = spoken(HEARD, encoder.labels, len(encoding.emissions))
            yield replace(encoding, emissions=emissions, text=encoder.read(emissions))

    tokens = iter(())

    def next_token(logits, sampling, generator=None) -> int:
        """Choose as ever, and say something else."""
        nonlocal tokens
        choose(logits, sampling, generator)
        if (token := next(tokens, None)) is None:
            tokens = iter(
                [
                    *tokenizer(next(said), add_special_tokens=False)["input_ids"][:ANSWER_TOKENS],
                    tokenizer.convert_tokens_to_ids("<|eot_id|>"),
                ]
            )
            token = next(tokens)
        return token

    choose, encoder._encode_batch, module.next_token = module.next_token, hear, next_token


GUESSES = {
    "the draft taken up again": (True, True),
    "the draft once": (True, False),
    "token by token": (False, False),
}  # whether what was heard is the transcript's draft, and whether it is taken up again when it went astray


def time_question(pipeline, drafted: bool, redraft: int) -> dict:
    """Seconds from the recording to each event, for the first question of a course and for the second."""
    from hubert_llama.pipeline import Heard, ResponseDelta, Transcript

    stream, pipeline.llama.redraft = pipeline.llama.stream, redraft
    if not drafted:
        pipeline.llama.stream = lambda *args, draft="", **kwargs: stream(*args, **kwargs)
    context = PAGE * (CONTEXT_TOKENS // len(pipeline.llama.tokenizer(PAGE)["input_ids"]) + 1)
    context = pipeline.llama.tokenizer.decode(
        pipeline.llama.tokenizer(context, add_special_tokens=False)["input_ids"][:CONTEXT_TOKENS]
    )
    sound, figures = recording(10), {}
    pipeline.llama.forget()
    for name in ("first", "second"):
        start, at = time.perf_counter(), {}
        for event in pipeline.stream(sound, context):
            at.setdefault(
                {Heard: "heard", Transcript: "transcript", ResponseDelta: "first word"}.get(type(event), "answer"),
                time.perf_counter() - start,
            )
            if not isinstance(event, (Heard, Transcript, ResponseDelta)):
                at["answer"] = time.perf_counter() - start
        figures[name] = at
    pipeline.llama.stream = stream
    return figures


def understand(folder: Path, repeats: int) -> dict:
    """All that is measured on one loaded pair."""
    from itertools import cycle, product
    from statistics import median

    memory, pipeline = Memory(), load(folder)
    pipeline.warm_up()
    figures = time_llama(pipeline, repeats)
    prescribe(pipeline, cycle([SAID, ANSWER]))
    own = pipeline.llama.redraft
    runs = [
        {how: time_question(pipeline, drafted, own if again else 0) for how, (drafted, again) in GUESSES.items()}
        for _ in range(repeats)
    ]  # in turns
    for how, which in product(GUESSES, ("first", "second")):
        figures.setdefault(how, {})[which] = {
            at: median([run[how][which][at] for run in runs]) for at in runs[0][how][which]
        }
    return {**figures, "peak": memory.most}


# In the process that asks


def in_process(folder: Path, part: str, args: argparse.Namespace) -> dict:
    """The figures of a part, measured by a new process."""
    options = {"--part": part, "--repeats": args.repeats, "--threads": args.threads}
    command = [sys.executable, __file__, str(folder), *(str(x) for option in options.items() for x in option)]
    env = {**os.environ, "HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"{part}: the process ended with {done.returncode}; its error is above.")
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> str:
    """The processor's name and what it multiplies."""
    info = Path("/proc/cpuinfo").read_text()
    name = next(
        (line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")),
        platform.processor(),
    )
    units = "AMX" if "amx_bf16" in info else "AVX512-BF16" if "avx512_bf16" in info else "no bf16 units"
    return f"{name}, {os.cpu_count()} cores, {units}"


def print_loading(args: argparse.Namespace) -> None:
    """Two starts: the first makes the four-bit codes, the second finds them."""
    shutil.rmtree(args.folder / "home" / "hubert_llama", ignore_errors=True)
    print("| start | seconds | anonymous MB, most | file MB, most | anonymous MB, then |\n|---|---|---|---|---|")
    for name in ("first: making four bits", "second: from the stored codes"):
        f = in_process(args.folder, "loading", args)
        megabytes = f["peak"]["RssAnon"], f["peak"]["RssFile"], f["then"]["RssAnon"]
        print(f"| {name} | {f['seconds']:.1f} | {' | '.join(map(str, megabytes))} |", flush=True)


def print_hearing(f: dict) -> None:
    """HuBERT beside transformers' own."""
    way = f"{f['dtype']}, {f['layers of bytes']} layers as bytes" if f["layers of bytes"] else f["dtype"]
    columns = "sound", f"ours ({way}), s", f"ours ({f['dtype']} asked for), s", "transformers fp32, s", "ratio"
    print(f"\n| {' | '.join(columns)} |\n|---|---|---|---|---|")
    for seconds in (10, 30):
        ours, plain, theirs = (f[f"{seconds} s, {who}"] for who in ("ours", "plain", "transformers"))
        cells = " | ".join(f"{t[0]:.2f} ({t[1]:.2f}–{t[2]:.2f})" for t in (ours, plain, theirs))
        print(f"| {seconds} s | {cells} | {theirs[0] / ours[0]:.2f} |")
    print(f"\nRelative error of the hidden states: {f['relative error']:.4f}, ", end="")
    print(f"with the dtype asked for {f['plain one']:.4f}", flush=True)


def print_whole(f: dict) -> None:
    """Llama alone, then questions from the recording to the answer."""
    print(
        f"\nA prompt of {PROMPT_TOKENS} tokens: {f['prompt tokens/s']:.1f} tokens/s. "
        f"Writing: {f['tokens/s']:.2f} tokens/s; reading {f['bytes a token'] / 1e9:.2f} GB a token "
        f"at {f['GB/s']:.1f} GB/s would allow {f['bound tokens/s']:.2f}."
    )
    print("A pass of " + ", ".join(f"{n} tokens {t[0]:.2f} s" for n, t in f["pass of n tokens"].items()) + ".\n")
    print("| question of 10 s, context of 300 tokens | heard, s | transcript, s | first word, s | 64 tokens, s |")
    print("|---|---|---|---|---|")
    for how in GUESSES:
        for which, at in f[how].items():
            seconds = (f"{at[k]:.1f}" for k in ("heard", "transcript", "first word", "answer"))
            print(f"| {which}, {how} | {' | '.join(seconds)} |")
    print(f"\nMost memory: {f['peak']['RssAnon']} MB anonymous, {f['peak']['RssFile']} MB of files.")


def main() -> None:
    """Run the parts and print their tables, or, told so, one part's figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where benchmarks/full_size.py put the checkpoints")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=["loading", "hearing", "whole"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        import torch

        torch.set_num_threads(args.threads)
        parts = {
            "loading": lambda: time_loading(args.folder),
            "hearing": lambda: time_hearing(args.folder, args.repeats),
            "whole": lambda: understand(args.folder, args.repeats),
        }
        print(json.dumps(parts[args.part]()))
        return
    print(f"{machine()}, {args.threads} threads\n", flush=True)
    print_loading(args)
    print_hearing(in_process(args.folder, "hearing", args))
    print_whole(in_process(args.folder, "whole", args))


if __name__ == "__main__":
    main()
