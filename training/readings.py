"""Whether a language model picks better readings from the search's lists: word errors before and after.

    python training/readings.py list recordings/manifest.jsonl --hubert training/checkpoints/mel-hubert-1
    python training/readings.py weigh
    python training/readings.py choose

`list` reads clips by the search and keeps 64 readings of each, `weigh` asks a Llama how likely each is, and `choose`
prints word error rates; the weights for a clip are those that suit the others best. Files are kept in build/readings.
"""

import argparse
import itertools
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein

from hubert_llama.audio import load_audio
from hubert_llama.chat import never
from hubert_llama.course.prompt import conversation
from hubert_llama.llama import ChatLlama, _tree, _weigh, prefill
from hubert_llama.models import hub
from hubert_llama.models.device import DeviceConfig
from hubert_llama.words.repair import as_saying, tidy
from hubert_llama.words.search import BeamSearch

MOST = 64  # readings of a clip
PARTS = (("librispeech", "dev"), ("speechocean762", "dev"), ("librispeech", "train"), ("speechocean762", "train"))


@dataclass
class Listed:
    """A clip, and what the search made of it; each reading's numbers stand at its place."""

    corpus: str
    split: str
    seconds: float
    said: str
    greedy: str
    texts: list[str]  # the best by `totals` first
    totals: list[float]  # nats: sound, language model and words
    lms: list[float]  # the language model's part of them


# The lists


def clips(manifest: Path, each: int) -> list[dict]:
    """At most so many lines of the manifest of each part, spread over it."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    found = []
    for part in PARTS:
        mine = [r for r in rows if (r["corpus"], r["split"]) == part and r["duration"] < 20]
        found += mine[:: max(1, len(mine) // each)][:each]
    return found


def reader(folder: str):
    """A function from a waveform to emissions (T, V), and the symbol of each column."""
    if json.loads((Path(folder) / "config.json").read_text())["model_type"] == "mel_hubert":
        from mel_hubert import MelHubertForCTC
        from train_hubert import SYMBOLS

        model = MelHubertForCTC.from_pretrained(folder, dtype=torch.float32).eval()
        return (lambda x: model(torch.from_numpy(x)[None]).logits[0].log_softmax(-1).numpy()), SYMBOLS
    from hubert_llama.hubert import SpeechEncoder

    encoder = SpeechEncoder.from_pretrained(folder, DeviceConfig(dtype="float32"))
    return (lambda x: encoder.encode([x])[0].emissions), encoder.labels


def make_lists(args: argparse.Namespace) -> None:
    """Read the clips; what is in the file already is kept."""
    from train_hubert import greedy_text

    read, labels = reader(args.hubert)
    search = BeamSearch.from_pretrained(args.language_model, labels)
    args.lists.parent.mkdir(parents=True, exist_ok=True)
    done = len(args.lists.read_text().splitlines()) if args.lists.exists() else 0
    with args.lists.open("a", encoding="utf-8") as file, torch.inference_mode():
        for row in clips(args.manifest, args.each)[done:]:
            emissions = np.asarray(read(load_audio(args.manifest.parent / row["audio"])), np.float32)
            greedy = greedy_text(emissions.argmax(-1).tolist())
            found = sorted(search(emissions, MOST, "", greedy), key=lambda h: -h.total)
            kept = Listed(
                row["corpus"], row["split"], row["duration"], row["text"], greedy, [h.text for h in found],
                [round(h.total, 3) for h in found], [round(h.lm, 3) for h in found])
            file.write(json.dumps(asdict(kept)) + "\n")
            file.flush()


def read_lists(path: Path) -> list[Listed]:
    """What `make_lists` wrote."""
    return [Listed(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


# What a Llama thinks of them


def plain_texts(llama: ChatLlama, texts: list[str]) -> list[float]:
    """Nats of each text as the beginning of a document, written as people write; without a chat's words around it."""
    llama.forget()
    start = llama.tokenizer.convert_tokens_to_ids(["<|endoftext|>"])
    tree = _tree([llama.template.ids(tidy(text)) for text in texts])
    likely = _weigh(llama, prefill(llama, start, exact=True)[-1], tree, never)
    return [sum(likely[step] for step in path) for path in tree.paths]


def lower_texts(llama: ChatLlama, texts: list[str]) -> list[float]:
    """The same of small letters without a full stop."""
    llama.forget()
    start = llama.tokenizer.convert_tokens_to_ids(["<|endoftext|>"])
    tree = _tree([llama.template.ids(f"{text}\n") for text in texts])
    likely = _weigh(llama, prefill(llama, start, exact=True)[-1], tree, never)
    return [sum(likely[step] for step in path) for path in tree.paths]


def said_texts(llama: ChatLlama, texts: list[str]) -> list[float]:
    """Nats of each text as what a student may say next, as the pipeline asks."""
    return llama.log_likelihoods(conversation(None), [as_saying(text) for text in texts])


WAYS = {"plain": plain_texts, "lower": lower_texts, "said": said_texts}


def weigh(args: argparse.Namespace) -> None:
    """Keep each reading's nats; CPU seconds for each second of sound are printed."""
    llama, lists = ChatLlama.from_pretrained(args.llama, DeviceConfig(dtype=args.dtype), False), read_lists(args.lists)
    way, out = WAYS[args.way], args.lists.with_suffix(f".{args.out}.jsonl")
    done = len(out.read_text().splitlines()) if out.exists() else 0
    spent = sound = 0.0
    with out.open("a", encoding="utf-8") as file:
        for clip in lists[done:]:
            texts, start = clip.texts[: args.most], time.process_time()
            nats = way(llama, texts) if texts else []
            spent, sound = spent + time.process_time() - start, sound + clip.seconds
            file.write(json.dumps([round(x, 3) for x in nats]) + "\n")
            file.flush()
    print(f"{spent / max(sound, 1e-9):.4f} CPU s for each second of sound, {sound:.0f} s", flush=True)


# What they are worth


def errors(said: str, text: str) -> int:
    """Words that differ."""
    return Levenshtein.distance(said.split(), text.split())


def picks(clips: list[Listed], nats: list[list[float]], most: int) -> dict[tuple[float, float, float], list[int]]:
    """Errors of each clip's pick for every weights: less of the search's model, Llama's share, a word."""
    wrong = [[errors(c.said, text) for text in c.texts[: min(most, len(n))]] for c, n in zip(clips, nats, strict=True)]
    found = {}
    for less, share, word in itertools.product((0, 0.3, 0.6, 0.8, 1.0), (0, 0.3, 0.6, 0.8, 1.0, 1.3, 1.6), range(5)):
        found[less, share, word] = [
            w[int(np.argmax([
                c.totals[i] - less * c.lms[i] + share * n[i] + word * len(c.texts[i].split()) for i in range(len(w))]))]
            for c, n, w in zip(clips, nats, wrong, strict=True) if w
        ]
    return found


def choose(args: argparse.Namespace) -> None:
    """Word errors of the search, of the best there is, and of what Llama picks by weights of the other clips."""
    lists = read_lists(args.lists)
    likely = args.lists.with_suffix(f".{args.out}.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = list(zip(lists, map(json.loads, likely), strict=False))
    for corpus, split in sorted({(clip.corpus, clip.split) for clip, _ in pairs}):
        clips, nats = zip(*[(c, n) for c, n in pairs if (c.corpus, c.split) == (corpus, split) and n], strict=True)
        share = 100 / sum(len(clip.said.split()) for clip in clips)
        row = {"clips": len(clips), "greedy": sum(errors(c.said, c.greedy) for c in clips)}
        row["search"] = sum(errors(c.said, c.texts[0]) for c in clips)
        for most in (16, MOST):
            row[f"best of {most}"] = sum(min(errors(c.said, text) for text in c.texts[:most]) for c in clips)
            found = picks(clips, nats, most)
            table = np.array(list(found.values()))  # (weights, clips)
            rest = table.sum(1, keepdims=True) - table
            row[f"picked of {most}"] = int(table[rest.argmin(0), np.arange(len(clips))].sum())
        rates = {k: round(v * share, 1) if k != "clips" else v for k, v in row.items()}
        print(corpus, split, rates, "best weights", min(found, key=lambda w: sum(found[w])))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    lists = commands.add_parser("list")
    lists.add_argument("manifest", type=Path)
    lists.add_argument("--hubert", required=True, help="folder of a HuBERT or a MelHuBERT")
    lists.add_argument("--language-model", default=hub.HUBERT_MINI, help="whose search reads")
    lists.add_argument("--each", type=int, default=150, help="clips of each part, at most")
    weighing = commands.add_parser("weigh")
    weighing.add_argument("--llama", default=hub.SMOLLM2)
    weighing.add_argument("--dtype", default="auto")
    weighing.add_argument("--way", choices=[*WAYS], default="said")
    weighing.add_argument("--most", type=int, default=MOST, help="readings of a clip")
    choosing = commands.add_parser("choose")
    for command in (lists, weighing, choosing):
        command.add_argument("--lists", type=Path, default=Path("build/readings/lists.jsonl"))
    for command in (weighing, choosing):
        command.add_argument("--out", default="llama", help="name of the Llama's figures")
    return parser.parse_args()


def main() -> None:
    """List, weigh or choose."""
    args = parse_args()
    torch.set_num_threads(1)
    {"list": make_lists, "weigh": weigh, "choose": choose}[args.command](args)


if __name__ == "__main__":
    main()
