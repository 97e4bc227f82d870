"""The big pair on a GPU: reading, writing in bf16 and in four bits, and 30 s of sound to the response's first word.

    python benchmarks/full_size.py /tmp/full-size
    python benchmarks/gpu.py /tmp/full-size
    python benchmarks/gpu.py hubert_llama/mini --device cpu --weights bf16    # without a GPU a pass is not recorded

Tokens are written with each one's pass recorded and without, beside what the memory allows. The checkpoints have
exact shapes and random weights; what is heard and said is prescribed, as benchmarks/big_pair.py says. Times are
medians of --repeats, in brackets least and most.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import torch
from big_pair import ANSWER, CONTEXT_TOKENS, PAGE, PROMPT_TOKENS, SAID, prescribe, recording
from timing import in_turns

from hubert_llama import SpeechUnderstanding
from hubert_llama.fast.cache import TokenGraph
from hubert_llama.llama import ChatLlama, prefill
from hubert_llama.models.device import DeviceConfig
from hubert_llama.pipeline import PipelineConfig, ResponseDelta


def finished(device: torch.device) -> None:
    """Wait until the GPU has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def read_bandwidth(device: torch.device, numbers: int) -> float:
    """GB/s at which the device reads its memory."""
    x, best = torch.ones(numbers, device=device), float("inf")
    for _ in range(5):
        finished(device)
        start = time.perf_counter()
        x.sum()
        finished(device)
        best = min(best, time.perf_counter() - start)
    return x.nbytes / best / 1e9


def bytes_a_token(model) -> int:
    """What a token reads: all weights but the embeddings, of which it needs a row."""
    tied = model.config.tie_word_embeddings
    return model.get_memory_footprint() - (0 if tied else model.model.embed_tokens.weight.nbytes)


def writing(llama: ChatLlama, new: int, recorded: bool) -> Callable[[], None]:
    """What writes so many tokens after the prompt."""
    graph = TokenGraph(llama.model) if recorded else None

    def work() -> None:
        """From the prompt's end, each token chosen as ever."""
        llama.graph = graph
        llama.prefix.keep(PROMPT_TOKENS)
        for _ in range(new):
            int(prefill(llama, [1], lambda: False)[-1].argmax())

    return work


def shown(seconds: list[float], per: float = 1.0) -> str:
    """Milliseconds: median (least–most)."""
    a = [1000 * t / per for t in seconds]
    return f"{statistics.median(a):.2f} ({min(a):.2f}–{max(a):.2f})"


def first_words(pipeline: SpeechUnderstanding, repeats: int) -> list[float]:
    """Seconds from 30 s of sound, each time with a new page of context, to the first word; a first time is left out."""
    prescribe(pipeline, cycle([SAID, ANSWER]))
    sound, seconds = recording(30), []
    for page in range(repeats + 1):
        context = f"Page {page}. " + PAGE * (CONTEXT_TOKENS // len(pipeline.llama.tokenizer(PAGE)["input_ids"]))
        start, words = time.perf_counter(), []
        for event in pipeline.stream(sound, context):  # to the answer's end: what is prescribed has to be used up
            if isinstance(event, ResponseDelta):
                words.append(time.perf_counter() - start)
        seconds.append(words[0])
    return seconds[1:]


def measure(folder: Path, device: torch.device, weights: str, args: argparse.Namespace) -> None:
    """Load the pair and print its rows."""
    start = time.perf_counter()
    config = PipelineConfig(device=DeviceConfig(str(device)), answers=None)  # random words would be held back
    pipeline = SpeechUnderstanding.from_pretrained(
        hubert=str(folder / "hubert"), llama=str(folder / "llama"), load_in_4bit=weights == "4 bit", config=config
    )
    pipeline.warm_up()
    finished(device)
    llama, loaded = pipeline.llama, time.perf_counter() - start
    ids = torch.randint(0, min(100_000, llama.model.config.vocab_size), (PROMPT_TOKENS,)).tolist()

    def read() -> None:
        """The prompt, from the start."""
        llama.prefix.clear()
        prefill(llama, ids, lambda: False)
        finished(device)

    prompt = in_turns({"prompt": read}, args.repeats)["prompt"]
    ways = {"recorded": writing(llama, args.new, True), "asked for": writing(llama, args.new, False)}
    took = in_turns(ways, args.repeats)
    heard = first_words(pipeline, args.repeats)
    memory = f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f}" if device.type == "cuda" else "-"
    bound = 1e3 * bytes_a_token(llama.model) / read_bandwidth(device, args.numbers) / 1e9  # ms
    best = 1000 * statistics.median(took["recorded"]) / args.new
    reading = f"{PROMPT_TOKENS / statistics.median(prompt):.0f}"
    tokens = f"{shown(took['asked for'], args.new)} | {shown(took['recorded'], args.new)}"
    bounds = f"{bound:.2f}, {100 * bound / best:.0f} %"
    row = f"| {weights} | {loaded:.1f} | {memory} | {reading} | {tokens} | {bounds} | {shown(heard)} |"
    print(row, flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where benchmarks/full_size.py put the checkpoints")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--weights", nargs="+", default=["bf16", "4 bit"], choices=["bf16", "4 bit"])
    parser.add_argument("--new", type=int, default=64, help="tokens written at a time (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--numbers", type=int, default=1_000_000_000, help="fp32 numbers read to measure the memory")
    args = parser.parse_args()
    device = torch.device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, PyTorch {torch.__version__}, after {PROMPT_TOKENS} tokens\n")
    print(
        "| weights | loaded, s | memory, GB | prompt, tokens/s | a token asked for, ms | recorded, ms "
        "| bound by reading the weights, ms, and its share | 30 s of sound to the first word, ms |\n|" + "---|" * 8
    )
    for weights in args.weights:
        measure(args.folder, device, weights, args)
        gc.collect()  # the pair before, which is told what to say and so refers to itself
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)


if __name__ == "__main__":
    main()
