"""Fit what turns the recogniser's signs into a confidence, and what Llama's opinion of a reading weighs.

    python training/held_out.py --out build/tuning --voices training --seed 8
    python training/calibrate.py build/tuning/manifest.jsonl --people recordings/manifest.jsonl --hubert hubert_llama/mini/hubert --llama hubert_llama/mini/llama

It reads the manifest's recordings with the beam search, and, so that a confidence is also fitted where little is understood, every second one again in noise and every fifth
backwards, and another manifest's lines with split=train, of people, that were too long to be learned from (what was learned from is understood too well); fits the numbers of
`hubert_llama.words.confidence.Calibration` by logistic regression, writes them into the HuBERT's folder (calibration.json), and prints word error rates for several values of
`ChoiceConfig.llama_weight`, `lm_discount` and `outside`, and limits of `SEARCH_COST` (both of `hubert_llama.words.recogniser`).

With `--people` it also fits the chance that more than half of a transcript's words are wrong (`MisheardWeights`): on
all of these and on shorter recordings of people, a few of each speaker (`--each`). From which chance on a question is
asked for again is set so that nine in ten of people's misheard recordings are, and whose are is printed. `--misheard`
fits only that, and leaves the words' confidence as it is; after a change of HuBERT run it without.

`--search` also tries weights of the search itself (`BeamConfig`); `--snr` measures under noise.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np
import soundfile
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm
from speech import add_noise
from train_hubert import Settings

from hubert_llama.models import hub
from hubert_llama.audio import load_audio
from hubert_llama.words.confidence import Calibration, MisheardWeights, SignWeights, log_odds, signs_of_transcript
from hubert_llama.words.ctc import edit_distance, judge, letters
from hubert_llama.words.times import time_words
from hubert_llama.measure.evaluation import Outcome, Utterance, count_errors, judged_words, read_manifest
from hubert_llama.models.device import DeviceConfig
from hubert_llama.hubert import SpeechEncoder
from hubert_llama.llama import ChatLlama
from hubert_llama.course.prompt import conversation
from hubert_llama.words.recogniser import ChoiceConfig, ReadingConfig, prefer, sense_of, weighed_again
from hubert_llama.words.repair import as_saying
from hubert_llama.words.ngrams import LanguageModel
from hubert_llama.words.search import BeamSearch, Hypothesis

LLAMA_WEIGHTS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
UNLEARNED = Settings.longest_seconds  # recordings of people from that length on were too long to be learned from
LM_DISCOUNTS = (0.0, 0.2, 0.4, 0.6, 0.8)
NOISE = 5.0  # dB below the voice, where the confidence is also fitted
HALF = 0.5  # of the words wrong: with more a transcript is misheard
ASKED = 0.9  # of people's misheard recordings that shall be asked for again


@dataclass(frozen=True, eq=False)
class Heard:
    """An utterance as HuBERT heard it."""

    utterance: Utterance
    emissions: np.ndarray  # log-probabilities (T, V)
    greedy: str


def hear(utterances: list[Utterance], encoder: SpeechEncoder, snr: float | None = None, backwards: bool = False) -> Iterator[Heard]:
    """What is said in each recording, in letters; where there is an `snr`, in noise so many dB below the voice. Backwards nothing is said."""
    for i, u in enumerate(tqdm(utterances, desc="hearing")):
        waveform = load_audio(u.audio)
        if backwards:
            waveform, u = waveform[::-1].copy(), replace(u, text="")
        encoding = encoder.encode([waveform if snr is None else add_noise(waveform, np.random.default_rng(i), snr)])[0]
        if encoding.text:
            yield Heard(u, encoding.emissions, letters(encoding.text))


def word_errors(heard: list[Heard], texts: list[str]) -> float:
    """Percent of the words that are wrong."""
    wanted = [letters(h.utterance.text).split() for h in heard]
    return 100 * sum(edit_distance(w, t.split()) for w, t in zip(wanted, texts, strict=True)) / sum(map(len, wanted))


@dataclass(frozen=True)
class Noting(Calibration):
    """A calibration that only takes note of the signs."""

    seen: list[tuple[float, float, float, float]] = field(default_factory=list)

    def __call__(self, sound: float, evidence: float, agreement: float, sense: float | None = None) -> float:
        """No opinion."""
        self.seen.append((sound, evidence, log_odds(agreement), sense or 0.0))
        return 0.5


def signs_of(h: Heard, hypotheses: list[Hypothesis], text: str, sense: float, labels: list[str]) -> tuple[list[tuple[float, ...]], list[bool]]:
    """The signs of each word of a text, and whether it was said; neither where words cannot be told apart."""
    noting = Noting(SignWeights())
    words = time_words(h.emissions, text, labels, [(x.text, x.total) for x in hypotheses], noting, sense=sense)
    judged = [r for _, r in judged_words([Outcome(h.utterance, words=[(w.word, w.confidence) for w in words])])] if h.utterance.text else [False] * len(noting.seen)
    return (noting.seen, judged) if len(judged) == len(noting.seen) and np.isfinite(noting.seen).all() else ([], [])


def fit(signs: list[tuple[float, ...]], right: list[bool], names: tuple[str, ...]) -> dict[str, float]:
    """The weights of the first signs, as many as there are names, by logistic regression."""
    if len(set(right)) < 2:
        raise SystemExit(f"Too few recordings: of {len(right)} words all are {'right' if right and right[0] else 'wrong'}, and a confidence needs both.")
    model = LogisticRegression(C=1e6, max_iter=1000).fit(np.array(signs)[:, : len(names)], right)
    return {"bias": round(float(model.intercept_[0]), 4), **{name: round(float(x), 4) for name, x in zip(names, model.coef_[0], strict=True)}}


def fit_confidence(heard: list[Heard], found: list[list[Hypothesis]], chosen: list[tuple[str, float]], labels: list[str], llama: str) -> dict[str, dict[str, float] | str | int]:
    """What `Calibration` needs, and on how many words it was fitted: without sense for each list's first; with it for the readings that a Llama chose of those lists that are not sure.

    `chosen` has each reading with the sense that Llama finds in it, `llama` is its fingerprint, empty where there was none.
    """
    signs, right = [], []
    for h, hypotheses in zip(heard, found, strict=True):
        mine, judged = signs_of(h, hypotheses, hypotheses[0].text, 0.0, labels)
        signs, right = signs + mine, right + judged
    fitted: dict[str, dict[str, float] | str | int] = {"of_sound": fit(signs, right, ("sound", "evidence", "agreement")), "llama": llama, "fitted_on_words": len(right)}
    if llama:
        alone = Calibration(SignWeights(**fitted["of_sound"]))
        signs, right = [], []
        for h, hypotheses, (text, sense) in zip(heard, found, chosen, strict=True):
            words = time_words(h.emissions, hypotheses[0].text, labels, [(x.text, x.total) for x in hypotheses], alone)
            if not words or min(w.confidence for w in words) < ReadingConfig.sure:
                mine, judged = signs_of(h, hypotheses, text, sense, labels)
                signs, right = signs + mine, right + judged
        fitted["with_sense"] = fit(signs, right, ("sound", "evidence", "agreement", "sense"))
    return fitted


@dataclass(frozen=True)
class Whole:
    """A transcript as a whole."""

    corpus: str
    signs: tuple[float, float, float]  # as `MisheardWeights` wants them
    wrong: float  # words, for each word said; infinite where nothing was said
    is_person: bool


def wholes(
    heard: list[Heard],
    chosen: list[tuple[list[Hypothesis], str, float]],
    labels: list[str],
    calibration: Calibration,
    is_person: bool,
) -> list[Whole]:
    """The transcripts, each with the list it was chosen from and its sense, as the service judges them."""
    found = []
    for h, (hypotheses, text, sense) in zip(heard, chosen, strict=True):
        scores = [(x.text, x.total) for x in hypotheses]
        words = time_words(h.emissions, hypotheses[0].text, labels, scores, calibration)
        if not words or min(w.confidence for w in words) < ReadingConfig.sure:
            words = time_words(
                h.emissions, text, labels, scores, calibration, sense=sense if calibration.with_sense else None
            )
        if words:
            errors = count_errors(h.utterance.text, h.greedy, text)
            wrong = errors.final / errors.words if errors.words else float("inf")
            found.append(
                Whole(h.utterance.corpus, signs_of_transcript(h.emissions, h.greedy, text, words), wrong, is_person)
            )
    return found


def fit_misheard(found: list[Whole]) -> dict[str, float]:
    """What `MisheardWeights` needs; people's misheard transcripts set the limit, anybody's where there are none."""
    weights = fit([w.signs for w in found], [w.wrong > HALF for w in found], ("confidence", "change", "sound"))
    misheard = [w for w in found if w.wrong > HALF]
    chances = [MisheardWeights(**weights)(*w.signs) for w in ([w for w in misheard if w.is_person] or misheard)]
    return {**weights, "limit": round(float(np.quantile(chances, 1 - ASKED)), 4)}


def tell_asked(found: list[Whole], weights: MisheardWeights) -> None:
    """Print how many transcripts are asked for again, by corpus and by how much of them is wrong."""
    columns = {
        "more than half wrong": lambda w: w.wrong > HALF,
        "up to half wrong": lambda w: 0 < w.wrong <= HALF,
        "none wrong": lambda w: w.wrong == 0,
    }
    print("| asked again | " + " | ".join(columns) + " |\n|" + " --- |" * (1 + len(columns)))
    for corpus in [*dict.fromkeys(w.corpus for w in found), None]:
        of = [w for w in found if corpus in (None, w.corpus)]
        counted = [Counter(weights(*w.signs) >= weights.limit for w in of if is_in(w)) for is_in in columns.values()]
        print(f"| {corpus or 'all'} | " + " | ".join(f"{c[True]} of {c.total()}" for c in counted) + " |", flush=True)


def few_of_each(manifest: Path, each: int) -> list[Utterance]:
    """So many of the training split's recordings of each speaker, by lot; one without a speaker is its own."""
    given = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
    speakers = {str(manifest.parent.absolute() / row["audio"]): row.get("speaker", row["audio"]) for row in given}
    taken, count = [], Counter()
    for u in random.Random(0).sample(train := read_manifest(manifest, {"split": "train"}), len(train)):
        count[speakers[u.audio]] += 1
        if count[speakers[u.audio]] <= each:
            taken.append(u)
    return taken


def write(fitted: dict, path: Path, kept: tuple[str, ...] = ("lead", "tail", "gap")) -> None:
    """Put what was fitted into a HuBERT's file, which keeps what it says of times, or of all that is named."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    told = {**{name: before[name] for name in kept if name in before}, **fitted}
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    words = f", {fitted['fitted_on_words']} words" if "fitted_on_words" in fitted else ""
    print(f"{path}: {Calibration.from_folder(path.parent)}{words}")


def harmful_edits(heard: list[Heard], texts: list[str]) -> float:
    """Percent of the words that were right in the letters and are wrong in the texts."""
    counted = [count_errors(h.utterance.text, h.greedy, text) for h, text in zip(heard, texts, strict=True)]
    return 100 * sum(e.harmful for e in counted) / sum(e.words for e in counted)


def try_search(heard: list[Heard], people: list[Heard], search: BeamSearch) -> None:
    """Print word error rates and harmful edits for weights of the search, of the manifest's recordings and of people's."""
    given = search.config
    tried = [{"lm_weight": w, "word_score": x} for w, x in product((0.8, 1.2, 1.6, 2.0), (0.0, 1.0))]
    tried += [{"new_word": w, "bonus": x} for w, x in product((-12.0, -9.0), (0.0, 2.0, 4.0))] + [{"spelt": x} for x in (0.0, 2.5, 5.0, 10.0)] + [{"beam": 150}]
    for changes in tried:
        search.config = replace(given, **changes)
        texts = [(of, [weighed_again(read(h, search), 1)[0].text for h in of]) for of in (heard, people) if of]
        print(f"{changes}: {'; people '.join(f'{word_errors(*x):.2f} %, {harmful_edits(*x):.2f} % of the words harmed' for x in texts)}", flush=True)
    search.config = given


def try_guards(heard: list[Heard], found: list[list[Hypothesis]], labels: list[str]) -> None:
    """Print word error rates for what the search's words may cost against the greedy letters."""
    for cost in (3.0, 4.5, 6.0, 8.0, 12.0, 20.0):
        texts = [letters(judge(h.emissions, h.greedy, f[0].text, labels, max_cost=cost)[0]) for h, f in zip(heard, found, strict=True)]
        print(f"SEARCH_COST {cost}: {word_errors(heard, texts):.2f} %", flush=True)


def read(h: Heard, search: BeamSearch) -> list[Hypothesis]:
    """The search's list, as the service gets it."""
    return search(h.emissions, ReadingConfig.listed, h.utterance.context, h.greedy) or [Hypothesis(h.greedy, 0.0, 0.0)]


def read_all(heard: list[Heard], search: BeamSearch, whose: str = "") -> list[list[Hypothesis]]:
    """What the service keeps of each list; says how right the search's first were, and how right those weighed again are."""
    found = [read(h, search) for h in tqdm(heard, desc="searching")]
    kept = [weighed_again(f, ReadingConfig.hypotheses) for f in found]
    if heard:
        print(f"{whose}search: {word_errors(heard, [f[0].text for f in found]):.2f} %; weighed again with all alignments: {word_errors(heard, [f[0].text for f in kept]):.2f} %")
    return kept


def sentence(lm: LanguageModel, text: str) -> float:
    """The log-probability of a whole sentence whose words the language model knows; what it lacks counts as <unk>."""
    words = ["<s>", *(word if word in lm.logs else "<unk>" for word in text.split()), "</s>"]
    return sum(lm.score(tuple(words[:i]), words[i]) or 0.0 for i in range(1, len(words)))


def nats_a_word(heard: list[Heard], likely: Callable[[Utterance, str], float]) -> float:
    """The mean log-probability of a word of what was said, the end of the sentence counted as one."""
    texts = [(h.utterance, letters(h.utterance.text)) for h in heard]
    return sum(likely(u, text) for u, text in texts) / sum(len(text.split()) + 1 for _, text in texts)


def ask(heard: list[Heard], found: list[list[Hypothesis]], llama: ChatLlama) -> list[list[float]]:
    """How likely each reading is to be said, by Llama."""
    return [llama.log_likelihoods(conversation(None, h.utterance.context), [as_saying(x.text) for x in f]) for h, f in tqdm(list(zip(heard, found, strict=True)), desc="asking Llama")]


def choose(found: list[list[Hypothesis]], likely: list[list[float]], **config: float) -> list[str]:
    """What the service takes of each list (but that it does not ask where it is sure)."""
    return [prefer(f, own, ChoiceConfig(**config)).text for f, own in zip(found, likely, strict=True)]


def with_sense(found: list[list[Hypothesis]], likely: list[list[float]], chosen: list[str]) -> list[tuple[str, float]]:
    """The chosen reading of each list, and the sense that Llama finds in it."""
    return [(text, sense_of(text, next(nats for x, nats in zip(f, own, strict=True) if x.text == text))) for f, own, text in zip(found, likely, chosen, strict=True)]


def try_llama(heard: list[Heard], found: list[list[Hypothesis]], likely: list[list[float]], llama: ChatLlama, lm: LanguageModel) -> None:
    """Print word error rates for weights of Llama's opinion and of the search's language model."""
    for weight, discount in product(LLAMA_WEIGHTS, LM_DISCOUNTS):
        print(f"llama_weight {weight}, lm_discount {discount}: {word_errors(heard, choose(found, likely, llama_weight=weight, lm_discount=discount)):.2f} %")
    for outside in (6.0, 9.0, 12.0, 16.0, 1e9):
        print(f"outside {outside}: {word_errors(heard, choose(found, likely, outside=outside)):.2f} %")
    print(f"how likely what was said is, nats a word: by Llama {nats_a_word(heard, lambda u, text: llama.log_likelihoods(conversation(None, u.context), [as_saying(text)])[0]):.2f}, by the search's language model {nats_a_word(heard, lambda u, text: sentence(lm, text)):.2f}")
    best = [min((x.text for x in f), key=lambda text: edit_distance(letters(h.utterance.text).split(), text.split())) for h, f in zip(heard, found, strict=True)]
    print(f"the best of each list: {word_errors(heard, best):.2f} %")


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="recordings with texts, none of those that will be measured")
    parser.add_argument("--people", type=Path, metavar="MANIFEST", help=f"recordings of people; those with split=train of {UNLEARNED:.0f} seconds and more are fitted on too")
    parser.add_argument("--hubert", type=Path, required=True, help="folder of the HuBERT, with its language model")
    parser.add_argument("--llama", type=Path, help="folder of the Llama, which chooses among the readings; without one the confidence is fitted to the search's first")
    parser.add_argument("--search", action="store_true", help="try weights of the search too: some minutes")
    parser.add_argument("--each", type=int, default=2, metavar="N", help="short recordings of each person (default: 2)")
    parser.add_argument("--misheard", action="store_true", help="fit only the chance to be misheard")
    parser.add_argument("--snr", type=float, metavar="DB", help="add noise so far below the manifest's voices, and only print")
    parser.add_argument("--limit", type=int, help="only the first N recordings")
    return parser.parse_args()


def only_misheard(
    args: argparse.Namespace,
    heard: list[Heard],
    found: list[list[Hypothesis]],
    encoder: SpeechEncoder,
    search: BeamSearch,
    exact: DeviceConfig,
) -> None:
    """Fit, print and write the chance that a transcript is misheard, on what was heard and on people."""
    llama = ChatLlama.from_pretrained(str(args.llama), exact) if args.llama else None
    calibration = (Calibration.from_folder(args.hubert) or Calibration()).beside(
        hub.fingerprint(args.llama) if llama else ""
    )
    if calibration.of_sound is None:
        raise SystemExit(f"{args.hubert} has no confidence for its words yet: run this without --misheard first.")
    people = list(hear(few_of_each(args.people, args.each), encoder)) if args.people else []
    backwards = list(hear([h.utterance for h in heard[::5] if h.utterance.text], encoder, backwards=True))
    found_all: list[Whole] = []
    for group, lists, is_person in (
        (heard, found, False),
        (people, read_all(people, search, "people: "), True),
        (backwards, [weighed_again(read(h, search), ReadingConfig.hypotheses) for h in backwards], False),
    ):
        likely = ask(group, lists, llama) if llama else [[0.0] * len(f) for f in lists]
        chosen = with_sense(lists, likely, choose(lists, likely))
        found_all += wholes(
            group, [(f, *c) for f, c in zip(lists, chosen, strict=True)], encoder.labels, calibration, is_person
        )
    weights = fit_misheard(found_all)
    write(
        {"misheard": weights},
        args.hubert / "calibration.json",
        ("lead", "tail", "gap", "of_sound", "llama", "fitted_on_words", "with_sense"),
    )
    tell_asked(found_all, MisheardWeights(**weights))


def main() -> None:
    """Fit, print and write."""
    args = parse_args()
    exact = DeviceConfig("cpu", "float32")
    encoder = SpeechEncoder.from_pretrained(str(args.hubert), exact)
    search = BeamSearch.from_pretrained(str(args.hubert), encoder.labels)
    if not isinstance(search, BeamSearch):
        raise SystemExit(f"{args.hubert} has no language model: make one with training/language_model.py.")
    given = [u for u in read_manifest(args.manifest) if u.text][: args.limit]
    heard = list(hear(given, encoder, args.snr))
    print(f"greedy: {word_errors(heard, [h.greedy for h in heard]):.2f} %")
    found = read_all(heard, search)
    if args.misheard:
        only_misheard(args, heard, found, encoder, search, exact)
        return
    try_guards(heard, found, encoder.labels)
    train = read_manifest(args.people, {"split": "train"}) if args.people else []
    people = list(hear([u for u in train if soundfile.info(u.audio).duration >= UNLEARNED], encoder))
    if args.search:
        try_search(heard, people, search)
    noisy, backwards = (list(hear(given[::2], encoder, NOISE)), list(hear(given[::5], encoder, backwards=True))) if args.snr is None else ([], [])
    everyone = heard + people + noisy + backwards
    lists = found + read_all(people, search, "people: ") + read_all(noisy, search, f"{NOISE:g} dB: ") + [weighed_again(read(h, search), ReadingConfig.hypotheses) for h in backwards]
    llama = ChatLlama.from_pretrained(str(args.llama), exact) if args.llama else None
    likely = ask(everyone, lists, llama) if llama else [[0.0] * len(f) for f in lists]
    chosen = choose(lists, likely)
    if args.snr is None:
        fitted = fit_confidence(everyone, lists, with_sense(lists, likely, chosen), encoder.labels, hub.fingerprint(args.llama) if llama else "")
        write(fitted, args.hubert / "calibration.json")
        if args.people:
            only_misheard(args, everyone, lists, encoder, search, exact)
    if llama:
        try_llama(heard, found, likely[: len(heard)], llama, search.lm)
        if people:
            print(f"people: with Llama {word_errors(people, chosen[len(heard) :][: len(people)]):.2f} %")


if __name__ == "__main__":
    main()
