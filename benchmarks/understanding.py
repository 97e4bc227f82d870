"""Whether transcripts can be trusted: noise, foreign contexts, course words, harmful edits, confidence, silence.

    python training/held_out.py --out build/held-out
    nice python benchmarks/understanding.py build/held-out/manifest.jsonl --out build/understanding \\
        --people ../shared/speech/manifest.jsonl
    python benchmarks/understanding.py build/held-out/manifest.jsonl --out build/some --clips 40  # a sample

Each recording is understood under every condition of `CONDITIONS`: with its own context, without one, with other
recordings' contexts and up to 1000 words that nobody says, under noise 10 and 5 dB below the voice, and with Llama
never or always asked to choose among the search's readings; that tells what its choosing costs, too.
What HuBERT and the search make of the same sound and context is computed once.
Outcomes are kept in --out as they come; a run that was stopped goes on.
Printed, and written to --out/understanding.md: each bar with what was measured, its count, and a 95 % bootstrap
interval over recordings; then the tables behind it.
644 recordings with words take about half an hour of one core for each of --jobs 1, a good quarter of an hour with 2.
Word times have a benchmark of their own (word_times.py), so has the search (search.py), and what choosing
costs with the 8B model's shapes (llama.py).
"""

import argparse
import hashlib
import json
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hubert_llama.measure.manifest import Utterance, make_contexts, read_manifest
from hubert_llama.measure.noise import add_noise
from hubert_llama.measure.report import Outcome, judged_words, read_outcomes, report, run, stage_text
from hubert_llama.measure.score import Errors, count_errors, normalise
from hubert_llama.models import hub
from hubert_llama.models.profiles import choose_profile
from hubert_llama.words.ctc import letters


@dataclass(frozen=True)
class Condition:
    """How a recording is given to the pipeline."""

    contexts: str = "given"  # as `make_contexts` says
    distractors: int = 0
    snr: float | None = None  # dB
    sure: float | None = None  # of `ReadingConfig`; None: as it is
    with_context_only: bool = False  # leave out recordings that bring no context


CONDITIONS = {
    "clean": Condition(),
    "never choosing": Condition(sure=0.0),
    "always choosing": Condition(sure=2.0),
    "no context": Condition("none"),
    "foreign context": Condition("others"),
    "foreign + 100 words": Condition("others", 100),
    "foreign + 1000 words": Condition("others", 1000),
    "10 dB": Condition(snr=10.0),
    "5 dB": Condition(snr=5.0),
    "10 dB, no context": Condition("none", snr=10.0, with_context_only=True),
    "5 dB, no context": Condition("none", snr=5.0, with_context_only=True),
}
READ = ("clean", "10 dB", "5 dB", "people")  # whose errors are told corpus by corpus
LEAKS = [name for name in CONDITIONS if name.startswith("foreign")]
PEOPLE = "people"  # their recordings are heard clean, and counted apart
RESAMPLES = 2000


# Understanding, in processes of their own


class Remembering:
    """A function, or an object that is called, that gives the same answer again without working it out again."""

    def __init__(self, of: Callable, key: Callable):
        self.of, self.key, self.known = of, key, {}

    def __call__(self, *args, **kwargs):
        """The answer."""
        key = self.key(*args)
        if key not in self.known:
            self.known[key] = self.of(*args, **kwargs)
        return self.known[key]

    def __getattr__(self, name: str):
        return getattr(self.of, name)


class Given:
    """A pipeline that hears samples in the place of the file, with Llama's cache empty as after a change of course."""

    def __init__(self, pipeline, waveform: np.ndarray):
        self.pipeline, self.waveform, self.search = pipeline, waveform, pipeline.search

    def __call__(self, audio: str, context: str = ""):
        """Understand the samples."""
        self.pipeline.llama.forget()
        return self.pipeline(self.waveform, context)


def load(profile: str, hubert: str | None, llama: str | None) -> None:
    """The pipeline of this process; answers are cut after a token, since transcripts are measured."""
    global pipeline
    import torch
    from transformers.utils.logging import disable_progress_bar

    from hubert_llama.chat import Sampling
    from hubert_llama.pipeline import PipelineConfig, SpeechUnderstanding, TokenLimits

    disable_progress_bar()
    torch.set_num_threads(1)
    config = PipelineConfig(tokens=TokenLimits(response=1), sampling=Sampling())
    pipeline = SpeechUnderstanding.from_pretrained(profile, hubert, llama, config=config)
    pipeline.warm_up()
    sounds = Remembering(pipeline.encoder.encode, lambda waveforms: tuple(w.tobytes() for w in waveforms))
    pipeline.encoder.encode = sounds
    if pipeline.search:
        pipeline.recogniser.search = Remembering(pipeline.search, lambda emissions, *rest: (emissions.tobytes(), *rest))


def understand(u: Utterance, contexts: dict[str, str], seed: int) -> dict[str, Outcome]:
    """The outcome of one recording under each condition for which a context is given."""
    from hubert_llama.audio import load_audio

    clean, given, outcomes = load_audio(u.audio), pipeline.recogniser.config, {}
    for name, context in contexts.items():
        c = CONDITIONS[name]
        noisy = clean if c.snr is None else add_noise(clean, np.random.default_rng(seed), c.snr)
        pipeline.recogniser.config = given if c.sure is None else replace(given, sure=c.sure)
        heard_from = Given(pipeline, noisy / max(1.0, float(np.abs(noisy).max())))
        outcomes[name] = next(run(heard_from, [u], contexts={u: context}))
    pipeline.recogniser.config = given
    for memory in (pipeline.encoder.encode, pipeline.search):
        if isinstance(memory, Remembering):
            memory.known.clear()
    return outcomes


# The parent


def conditions(u: Utterance) -> list[str]:
    """Under which conditions a recording is heard; those without words, and people's, once."""
    if not normalise(u.text) or u.kind == PEOPLE:
        return ["clean"]
    return [name for name, c in CONDITIONS.items() if u.context or not c.with_context_only]


def tasks(
    utterances: Sequence[Utterance], done: dict[str, dict[Utterance, Outcome]]
) -> Iterator[tuple[Utterance, dict[str, str]]]:
    """What is left to do: recordings, with the context of each condition."""
    made = {name: make_contexts(utterances, c.contexts, c.distractors) for name, c in CONDITIONS.items()}
    for u in utterances:
        wanted = conditions(u)
        if left := {name: made[name][u] for name in wanted if u not in done[name]}:
            yield u, left


def sample(utterances: list[Utterance], n: int | None, seed: int = 0) -> list[Utterance]:
    """At most n with words of each corpus, and n of those without, evenly drawn; all where n is None."""
    kept = []
    for corpus in dict.fromkeys(u.corpus for u in utterances):
        mine = [u for u in utterances if u.corpus == corpus]
        kept += mine if n is None or len(mine) <= n else random.Random(seed).sample(mine, n)
    return kept


def claim(args: argparse.Namespace) -> None:
    """Note whose outcomes --out holds; those of other weights are not gone on with."""
    chosen, noted = choose_profile(args.profile, args.hubert, args.llama), args.out / "weights.json"
    files = [f for name in (chosen.hubert, chosen.llama) for f in sorted(hub.fetch(name).rglob("*")) if f.is_file()]
    counted = [f for f in files if f.suffix in (".safetensors", ".gz") or f.name == "calibration.json"]
    weights = {str(f): hashlib.sha256(f.read_bytes()).hexdigest()[:16] for f in counted}
    if noted.exists() and json.loads(noted.read_text()) != weights:
        raise SystemExit(f"{args.out} holds outcomes of other weights (see {noted}): choose another, or remove it.")
    noted.write_text(json.dumps(weights, indent=1))


def gather(utterances: list[Utterance], args: argparse.Namespace) -> dict[str, list[Outcome]]:
    """The outcomes of every condition, from --out or worked out now."""
    args.out.mkdir(parents=True, exist_ok=True)
    claim(args)
    paths = {name: args.out / f"{name.replace(' ', '-').replace(',', '')}.jsonl" for name in CONDITIONS}
    done = {name: read_outcomes(path) for name, path in paths.items()}
    left = list(tasks(utterances, done))
    with ProcessPoolExecutor(args.jobs, get_context("spawn"), load, (args.profile, args.hubert, args.llama)) as pool:
        running = [pool.submit(understand, u, contexts, i) for i, (u, contexts) in enumerate(left)]
        for finished in tqdm(as_completed(running), total=len(running), desc="recordings", disable=not running):
            for name, outcome in finished.result().items():
                done[name][outcome.utterance] = outcome
                with open(paths[name], "a", encoding="utf-8") as file:
                    file.write("\n" + json.dumps(asdict(outcome)))
    found = {name: [done[name][u] for u in utterances if u in done[name]] for name in CONDITIONS}
    by = {name: [o for o in outcomes if not o.error] for name, outcomes in found.items()}
    people = [o for o in by["clean"] if o.utterance.kind == PEOPLE]
    return {**by, "clean": [o for o in by["clean"] if o.utterance.kind != PEOPLE], PEOPLE: people}


# Figures


def counts(outcomes: Sequence[Outcome], stage: str = "guarded") -> list[Errors]:
    """Word errors of a stage's reading, recording by recording."""
    return [count_errors(o.utterance.text, o.raw, stage_text(o, stage)) for o in outcomes]


def bootstrap(rows: Sequence[Sequence[float]], figure: Callable[[np.ndarray], float]) -> tuple[float, float, float]:
    """A figure of summed columns, and its 95 % interval over resampled rows."""
    columns = np.asarray(rows, float)  # (recordings, columns)
    picks = np.random.default_rng(0).integers(0, len(columns), (RESAMPLES, len(columns)))
    figures = [figure(columns[p].sum(0)) for p in picks]
    return figure(columns.sum(0)), *np.nanpercentile(figures, [2.5, 97.5])


def share(part: float, whole: float) -> float:
    """In percent; not a number where there is no whole."""
    return 100 * part / whole if whole else float("nan")


def shown(figures: tuple[float, float, float], unit: str = "%") -> str:
    """A figure with its interval."""
    value, low, high = figures
    return f"{value:.1f} {unit} ({low:.1f} to {high:.1f})"


@dataclass(frozen=True)
class Bar:
    """What is wanted, and what was found."""

    name: str
    wanted: str
    measured: str
    counted: str
    met: bool


def fewer_errors(rows: Sequence[tuple[int, int]], unit: str = "clips") -> tuple[tuple[float, float, float], str]:
    """By how much errors before are fewer after, in percent of them, and the counts."""
    fewer = bootstrap(rows, lambda s: share(s[0] - s[1], s[0]))
    before, after = map(sum, zip(*rows, strict=True))
    return fewer, f"{before} to {after} errors, {len(rows)} {unit}"


COMPARED = (  # the stage that a transcript is compared with, its name, by how much errors shall be fewer (%)
    ("raw", "greedy CTC", 20),
    ("nbest", "the n-best list’s first", 10),
    ("rescored", "the list’s best with all alignments (what Llama adds)", None),
)


def noise_bars(by: dict[str, list[Outcome]]) -> Iterator[Bar]:
    """Fewer errors than letters and than the search's first, in noise."""
    for name in ("10 dB", "5 dB"):
        mine = spoken(by[name])
        for stage, than, least in COMPARED:
            both = zip(counts(mine, stage), counts(mine), strict=True)
            fewer, counted = fewer_errors([(before.final, after.final) for before, after in both])
            wanted = f"at least {least} %" if least else "reported"
            met = least is None or fewer[0] >= least
            yield Bar(f"{name}: fewer word errors than {than}", wanted, shown(fewer), counted, met)
        pairs = paired(by[f"{name}, no context"], by[name])
        both = zip(counts([x for x, _ in pairs], "nbest"), counts([y for _, y in pairs]), strict=True)
        if rows := [(a.final, b.final) for a, b in both]:
            fewer, counted = fewer_errors(rows, "clips with a context")
            than = "the same against the first of a search that is not told the context"
            yield Bar(f"{name}: {than}", "reported", shown(fewer), counted, True)


def harm_bars(by: dict[str, list[Outcome]]) -> Iterator[Bar]:
    """Few words that were right and are wrong; no corpus worse than its letters."""
    of_each = {name: counts(spoken(by[name])) for name in READ if by[name]}
    together = {"clean and people together": of_each["clean"] + of_each[PEOPLE]} if PEOPLE in of_each else {}
    for name, counted in (of_each | together).items():
        harm = bootstrap([(e.harmful, e.words) for e in counted], lambda s: share(*s))
        edits = f"{sum(e.harmful for e in counted)} of {sum(e.words for e in counted)} words"
        yield Bar(f"{name}: harmful edits", "at most 1 % of words", shown(harm), edits, harm[0] <= 1)
    rows = [row for name in READ for row in corpus_rows(name, by[name])]
    worse = [f"{row['corpus']}, {row['condition']}" for row in rows if row["worse"]]
    name, counted = "corpora whose transcripts are worse than the letters", f"{len(rows)} corpora and conditions"
    yield Bar(f"{name}, beyond the interval", "none", ", ".join(worse) or "none", counted, not worse)


def corpus_rows(name: str, outcomes: Sequence[Outcome]) -> Iterator[dict]:
    """Word error rates of each corpus, letters and transcripts, and whether the second are worse."""
    for corpus in dict.fromkeys(o.utterance.corpus for o in spoken(outcomes)):
        mine = [o for o in spoken(outcomes) if o.utterance.corpus == corpus]
        rates = {
            f"WER {stage}": shown(bootstrap([(e.final, e.words) for e in counts(mine, stage)], lambda s: share(*s)))
            for stage in ("raw", "nbest", "rescored", "selected", "guarded")
        }
        rows = [(b.final - a.final, a.words) for a, b in zip(counts(mine, "raw"), counts(mine), strict=True)]
        rise = bootstrap(rows, lambda s: share(*s))
        size = {"clips": len(mine), "words": sum(e.words for e in counts(mine))}
        yield {"condition": name, "corpus": corpus, **size, **rates, "worse": bool(rise[1] > 0)}


def leak_bars(by: dict[str, list[Outcome]]) -> Iterator[Bar]:
    """What a context that has nothing to do with the speech does to the words."""
    for name in LEAKS:
        pairs = paired(by["no context"], by[name])
        both = zip(counts([x for x, _ in pairs]), counts([y for _, y in pairs]), strict=True)
        rows = [(a.final, b.final, a.words) for a, b in both]
        rise = bootstrap(rows, lambda s: share(s[1] - s[0], s[2]))
        before, after, words = np.sum(rows, 0)
        counted, met = f"{before:.0f} to {after:.0f} errors of {words:.0f} words", round(rise[0], 3) <= 0.2
        yield Bar(f"{name}: rise of the word error rate", "at most 0.2 points", shown(rise, "points"), counted, met)


def course_bars(by: dict[str, list[Outcome]]) -> Iterator[Bar]:
    """How many of the context's rare words that are missed without it are heard with it."""
    for with_it, without in (("clean", "no context"), ("10 dB", "10 dB, no context"), ("5 dB", "5 dB, no context")):
        pairs = paired(by[without], by[with_it])
        words = [(said_course_words(b), heard(a), heard(b)) for a, b in pairs]
        rows = [(len(said), len(said - missing), len(said - told)) for said, missing, told in words if said]
        false = sum(len((set(b.course) & heard(b)) - set(letters(b.utterance.text).split())) for _, b in pairs)
        saved = bootstrap(rows, lambda s: share(s[1] - s[2], s[1])) if rows else (float("nan"),) * 3
        said, before, after = map(sum, zip(*rows, strict=True)) if rows else (0, 0, 0)
        name = f"{with_it}: course words missed without their context and heard with it"
        counted = f"{before} to {after} missed of {said}; {false} false alarms"
        yield Bar(name, "at least 30 % of the misses", shown(saved), counted, bool(saved[0] >= 30))


def said_course_words(o: Outcome) -> set[str]:
    """The context's rare words that are said."""
    return set(o.course) & set(letters(o.utterance.text).split())


def heard(o: Outcome) -> set[str]:
    """The words of the transcript."""
    return set(letters(o.transcript).split())


def silence_bar(by: dict[str, list[Outcome]]) -> Bar:
    """Recordings in which nobody speaks."""
    from hubert_llama.pipeline import NO_SPEECH_RESPONSE

    mine = [o for o in by["clean"] if not normalise(o.utterance.text)]
    given = sum(bool(o.transcript or o.raw) for o in mine)
    claims = sum(o.response != NO_SPEECH_RESPONSE for o in mine)
    name = "transcripts where nobody speaks, and answers that claim to have heard something"
    return Bar(name, "0", f"{given} and {claims}", f"{len(mine)} clips", bool(mine) and given == claims == 0)


def confidence_bar(by: dict[str, list[Outcome]]) -> Bar:
    """The expected calibration error, with an interval over recordings."""
    mine = [judged_words([o]) for o in spoken(by["clean"])]

    def error(sums: np.ndarray) -> float:
        """Of summed (words, claims, right) of ten bins."""
        n, claimed, right = sums.reshape(3, 10)
        return share(np.abs(claimed - right).sum(), n.sum())

    rows = np.zeros((len(mine), 3, 10))
    for row, judged in zip(rows, mine, strict=True):
        for confidence, right in judged:
            row[:, min(9, int(confidence * 10))] += 1, confidence, right
    found = bootstrap(rows.reshape(len(mine), -1), error)
    counted = f"{sum(map(len, mine))} words"
    return Bar("expected calibration error of the words' confidence", "reported", shown(found), counted, True)


def seconds_to_transcript(triples: Sequence[tuple[Outcome, Outcome, Outcome]]) -> np.ndarray:  # (clips, 3)
    """How long each of three outcomes of a recording took; what is remembered counts as it did for the second."""
    shared = [sum(b.timings.get(stage, 0.0) for stage in ("audio", "vad", "hubert", "search")) for _, b, _ in triples]
    own = [[x.timings.get("selection", 0.0) + x.timings["transcript"] for x in triple] for triple in triples]
    return np.array(shared)[:, None] + np.array(own)


def cost_bars(by: dict[str, list[Outcome]]) -> Iterator[Bar]:
    """What choosing adds to the time to the transcript, and what is saved by not asking when every word is sure."""
    never = by["never choosing"]
    asked = {a.utterance: c for a, c in paired(never, by["always choosing"])}
    triples = [(a, b, asked[a.utterance]) for a, b in paired(never, by["clean"]) if a.utterance in asked and a.raw]
    rows = seconds_to_transcript(triples)
    added = bootstrap(rows, lambda s: share(s[1] - s[0], s[0]))
    always = bootstrap(rows, lambda s: share(s[2] - s[0], s[0]))
    without, clean, every = (sum(e.final for e in counts([t[i] for t in triples])) for i in range(3))
    ms = np.mean(rows, 0) * 1000
    name, counted = "time that Llama's choosing adds to the time to the transcript", f"mean of {len(rows)}"
    yield Bar(name, "at most 35 %", shown(added), f"{ms[0]:.0f} to {ms[1]:.0f} ms a clip, {counted}", added[0] <= 35)
    counted = f"{ms[2]:.0f} ms a clip; {every} word errors, {clean} as it is, {without} if never asked"
    yield Bar("the same if Llama were always asked", "reported", shown(always), counted, True)
    sure = len(rows) - sum("selection" in b.timings for _, b, _ in triples)
    name, part = "clips whose every word is sure, so that Llama is not asked", f"{share(sure, len(rows)):.1f} %"
    yield Bar(name, "reported", part, f"{sure} of {len(rows)} clips; saves {ms[2] - ms[1]:.0f} ms a clip", True)


def spoken(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those of recordings with words."""
    return [o for o in outcomes if normalise(o.utterance.text)]


def paired(a: Sequence[Outcome], b: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """Outcomes of the same recordings under two conditions, those with words."""
    other = {o.utterance: o for o in b}
    return [(o, other[o.utterance]) for o in spoken(a) if o.utterance in other]


def table(rows: Sequence[dict]) -> str:
    """Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([str(v) for v in row.values()] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cells(bar: Bar) -> dict[str, str]:
    """A bar as a row of the table."""
    met = "NO" if not bar.met else "" if bar.wanted == "reported" else "yes"
    return {"": bar.name, "wanted": bar.wanted, "measured (95 %)": bar.measured, "counted": bar.counted, "met": met}


def write_up(by: dict[str, list[Outcome]]) -> str:
    """The bars, then the tables behind them."""
    bars = [*noise_bars(by), *harm_bars(by), *leak_bars(by), *course_bars(by), silence_bar(by), confidence_bar(by)]
    blocks = [table([cells(bar) for bar in [*bars, *cost_bars(by)]])]
    blocks += [table([row for name in READ for row in corpus_rows(name, by[name])])]
    clean = report(by["clean"])
    blocks += [table([row.cells() for row in rows]) for rows in (clean.course_words, clean.confidence) if rows]
    return "\n\n".join(blocks)


def main() -> None:
    """Understand everything, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="as training/held_out.py writes it")
    parser.add_argument("--out", type=Path, required=True, help="folder for outcomes; another one for other weights")
    heard_once = "recordings of people: lines with split=dev are heard once, without contexts"
    parser.add_argument("--people", type=Path, metavar="MANIFEST", help=heard_once)
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--hubert", help="another HuBERT: hub id or folder")
    parser.add_argument("--llama", help="another Llama: hub id or folder")
    parser.add_argument("--clips", type=int, metavar="N", help="at most N recordings of each corpus")
    jobs = "processes, each with one thread (default: %(default)s)"
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help=jobs)
    args = parser.parse_args()
    utterances = sample(read_manifest(args.manifest), args.clips)
    if args.people:
        people = sample(read_manifest(args.people, {"split": "dev"}), args.clips)
        utterances += [replace(u, kind=PEOPLE) for u in people]
    by = gather(utterances, args)
    if failed := len(utterances) - len(by["clean"]) - len(by[PEOPLE]):
        print(f"{failed} recordings could not be understood; see `error` in {args.out}", file=sys.stderr)
    words, silent = len(spoken(by["clean"])), len(by["clean"]) - len(spoken(by["clean"]))
    counted = f"{words} recordings with words, {silent} without, {len(by[PEOPLE])} of people"
    figures = f"{counted}; profile {args.profile}\n\n{write_up(by)}\n"
    (args.out / "understanding.md").write_text(figures, encoding="utf-8")
    print(figures)


if __name__ == "__main__":
    main()
