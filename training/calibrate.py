"""Fit what turns the recogniser's signs into a confidence, and what Llama's opinion of a reading weighs.

    python training/held_out.py --out build/tuning --voices training --seed 8
    python training/calibrate.py build/tuning/manifest.jsonl --people recordings/manifest.jsonl \\
        --hubert hubert_llama/mini/hubert --llama hubert_llama/mini/llama

It reads the manifest's recordings with the beam search, and another manifest's lines with split=train, of people: some
minutes of each corpus (`--minutes`), a few recordings of each speaker (`--each`). So that a confidence is also fitted
where little is understood, and where nothing was learned from, it reads every second one again in noise and every fifth
backwards.

It fits the numbers of `hubert_llama.words.confidence.Calibration` by logistic regression and writes them into the
HuBERT's folder (calibration.json). It prints word error rates for several values of `ChoiceConfig.llama_weight`,
`lm_discount` and `outside`, and limits of `hubert_llama.words.recogniser.SEARCH_COST`.

With `--people` it also fits the chance that more than half of a transcript's words are wrong (`MisheardWeights`). From
which chance on a question is asked for again is set so that nine in ten of people's misheard recordings are, and whose
are is printed. `--misheard` fits only that, and leaves the words' confidence as it is; after a change of HuBERT run it
without.

`training/tune_search.py`, before it, tunes the search itself. `--snr` measures under noise. With `--limit 120` it takes
some ten minutes of one core.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, product
from pathlib import Path

import numpy as np
import soundfile
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from hubert_llama.audio import load_audio
from hubert_llama.course.prompt import conversation
from hubert_llama.hubert import SpeechEncoder
from hubert_llama.llama import ChatLlama
from hubert_llama.measure.manifest import Utterance, read_manifest
from hubert_llama.measure.noise import add_noise
from hubert_llama.measure.report import Outcome, judged_words
from hubert_llama.measure.score import count_errors
from hubert_llama.models import hub
from hubert_llama.models.device import DeviceConfig
from hubert_llama.words.confidence import Calibration, MisheardWeights, SignWeights, Word, log_odds, signs_of_transcript
from hubert_llama.words.ctc import edit_distance, judge, letters
from hubert_llama.words.ngrams import LanguageModel
from hubert_llama.words.recogniser import ChoiceConfig, ReadingConfig, prefer, sense_of, weighed_again
from hubert_llama.words.repair import as_saying
from hubert_llama.words.search import BeamSearch, Hypothesis
from hubert_llama.words.times import time_words

LLAMA_WEIGHTS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
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


def hear(
    utterances: list[Utterance], encoder: SpeechEncoder, snr: float | None = None, backwards: bool = False
) -> Iterator[Heard]:
    """What is said in each recording, in letters; backwards nothing is said.

    Where there is an `snr`, the recordings are in noise so many dB below the voice.
    """
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

    seen: list[tuple[float, ...]] = field(default_factory=list)

    def __call__(self, sound: float, evidence: float, agreement: float, sense: float | None = None) -> float:
        """No opinion."""
        self.seen.append((sound, evidence, log_odds(agreement), sense or 0.0))
        return 0.5


def signs_of(
    h: Heard, hypotheses: list[Hypothesis], text: str, sense: float, labels: list[str]
) -> tuple[list[tuple[float, ...]], list[bool]]:
    """The signs of each word of a text, and whether it was said; neither where words cannot be told apart."""
    noting = Noting(SignWeights())
    words = time_words(h.emissions, text, labels, [(x.text, x.total) for x in hypotheses], noting, sense=sense)
    judged = [False] * len(noting.seen)
    if h.utterance.text:
        outcome = Outcome(h.utterance, words=[(w.word, w.confidence) for w in words])
        judged = [right for _, right in judged_words([outcome])]
    can_be_told = len(judged) == len(noting.seen) and np.isfinite(noting.seen).all()
    return (noting.seen, judged) if can_be_told else ([], [])


def fit(signs: list[tuple[float, ...]], right: list[bool], names: tuple[str, ...]) -> dict[str, float]:
    """The weights of the first signs, as many as there are names, by logistic regression."""
    if len(set(right)) < 2:
        raise SystemExit(
            f"Too few recordings: of {len(right)} words all are {'right' if right and right[0] else 'wrong'}, "
            "and a confidence needs both."
        )
    model = LogisticRegression(C=1e6, max_iter=1000).fit(np.array(signs)[:, : len(names)], right)
    weights = zip(("bias", *names), (model.intercept_[0], *model.coef_[0]), strict=True)
    return {name: round(float(weight), 4) for name, weight in weights}


def fit_confidence(
    heard: list[Heard],
    found: list[list[Hypothesis]],
    chosen: list[tuple[str, float]],  # each list's reading, with the sense that Llama finds in it
    labels: list[str],
    llama: str,  # its fingerprint; empty where there was none
) -> dict[str, dict[str, float] | str | int]:
    """What `Calibration` needs, and on how many words it was fitted.

    Without sense it is fitted to each list's first reading; with it to the readings that a Llama chose of those lists
    that are not sure.
    """
    signs: list[tuple[float, ...]] = []
    right: list[bool] = []
    for h, hypotheses in zip(heard, found, strict=True):
        mine, judged = signs_of(h, hypotheses, hypotheses[0].text, 0.0, labels)
        signs, right = signs + mine, right + judged
    of_sound = fit(signs, right, ("sound", "evidence", "agreement"))
    fitted: dict[str, dict[str, float] | str | int] = {"of_sound": of_sound, "llama": llama}
    fitted["fitted_on_words"] = len(right)
    if llama:
        alone = Calibration(SignWeights(**of_sound))
        signs, right = [], []
        for h, hypotheses, (text, sense) in zip(heard, found, chosen, strict=True):
            words = time_words(h.emissions, hypotheses[0].text, labels, [(x.text, x.total) for x in hypotheses], alone)
            if is_unsure(words):
                mine, judged = signs_of(h, hypotheses, text, sense, labels)
                signs, right = signs + mine, right + judged
        fitted["with_sense"] = fit(signs, right, ("sound", "evidence", "agreement", "sense"))
    return fitted


def is_unsure(words: list[Word]) -> bool:
    """Whether the service asks Llama which reading it prefers."""
    return not words or min(w.confidence for w in words) < ReadingConfig.sure


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
        if is_unsure(words):
            by_sense = sense if calibration.with_sense else None
            words = time_words(h.emissions, text, labels, scores, calibration, sense=by_sense)
        if words:
            errors = count_errors(h.utterance.text, h.greedy, text)
            wrong = errors.final / errors.words if errors.words else float("inf")
            signs = signs_of_transcript(h.emissions, h.greedy, text, words)
            found.append(Whole(h.utterance.corpus, signs, wrong, is_person))
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


def people_of(manifest: Path, each: int, minutes: float) -> list[Utterance]:
    """So many minutes of each corpus of the training split and at most so many recordings of a speaker, by lot.

    A recording without a speaker is its own.
    """
    given = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
    speakers = {str(manifest.parent.absolute() / row["audio"]): row.get("speaker", row["audio"]) for row in given}
    taken: list[Utterance] = []
    count: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for u in random.Random(0).sample(train := read_manifest(manifest, {"split": "train"}), len(train)):
        count[speakers[u.audio]] += 1
        if count[speakers[u.audio]] <= each and seconds[u.corpus] < 60 * minutes:
            seconds[u.corpus] += soundfile.info(u.audio).duration
            taken.append(u)
    return taken


def write(fitted: dict, path: Path, kept: tuple[str, ...] = ("lead", "tail", "gap")) -> None:
    """Put what was fitted into a HuBERT's file, which keeps what it says of times, or of all that is named."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    told = {**{name: before[name] for name in kept if name in before}, **fitted}
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    words = f", {fitted['fitted_on_words']} words" if "fitted_on_words" in fitted else ""
    print(f"{path}: {Calibration.from_folder(path.parent)}{words}")


def try_guards(heard: list[Heard], found: list[list[Hypothesis]], labels: list[str]) -> None:
    """Print word error rates for what the search's words may cost against the greedy letters."""
    for cost in (3.0, 4.5, 6.0, 8.0, 12.0, 20.0):
        texts = [
            letters(judge(h.emissions, h.greedy, f[0].text, labels, max_cost=cost)[0])
            for h, f in zip(heard, found, strict=True)
        ]
        print(f"SEARCH_COST {cost}: {word_errors(heard, texts):.2f} %", flush=True)


def read(h: Heard, search: BeamSearch) -> list[Hypothesis]:
    """The search's list, as the service gets it."""
    return search(h.emissions, ReadingConfig.listed, h.utterance.context, h.greedy) or [Hypothesis(h.greedy, 0.0, 0.0)]


def read_all(heard: list[Heard], search: BeamSearch, whose: str = "") -> list[list[Hypothesis]]:
    """What the service keeps of each list; prints how right the first readings are, by search and weighed again."""
    found = [read(h, search) for h in tqdm(heard, desc="searching")]
    kept = [weighed_again(f, ReadingConfig.hypotheses) for f in found]
    if heard:
        first, again = (word_errors(heard, [f[0].text for f in lists]) for lists in (found, kept))
        print(f"{whose}search: {first:.2f} %; weighed again with all alignments: {again:.2f} %")
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
    return [
        llama.log_likelihoods(conversation(None, h.utterance.context), [as_saying(x.text) for x in f])
        for h, f in tqdm(list(zip(heard, found, strict=True)), desc="asking Llama")
    ]


def choose(found: list[list[Hypothesis]], likely: list[list[float]], **config: float) -> list[str]:
    """What the service takes of each list (but that it does not ask where it is sure)."""
    return [prefer(f, own, ChoiceConfig(**config)).text for f, own in zip(found, likely, strict=True)]


def with_sense(found: list[list[Hypothesis]], likely: list[list[float]], chosen: list[str]) -> list[tuple[str, float]]:
    """The chosen reading of each list, and the sense that Llama finds in it."""
    senses = []
    for f, own, text in zip(found, likely, chosen, strict=True):
        nats = next(nats for x, nats in zip(f, own, strict=True) if x.text == text)
        senses.append((text, sense_of(text, nats)))
    return senses


def try_llama(
    heard: list[Heard],
    found: list[list[Hypothesis]],
    likely: list[list[float]],
    llama: ChatLlama,
    lm: LanguageModel,
) -> None:
    """Print word error rates for weights of Llama's opinion and of the search's language model."""
    for weight, discount in product(LLAMA_WEIGHTS, LM_DISCOUNTS):
        errors = word_errors(heard, choose(found, likely, llama_weight=weight, lm_discount=discount))
        print(f"llama_weight {weight}, lm_discount {discount}: {errors:.2f} %")
    for outside in (6.0, 9.0, 12.0, 16.0, 1e9):
        print(f"outside {outside}: {word_errors(heard, choose(found, likely, outside=outside)):.2f} %")

    def by_llama(u: Utterance, text: str) -> float:
        """How likely Llama finds a text."""
        return llama.log_likelihoods(conversation(None, u.context), [as_saying(text)])[0]

    by_lm = nats_a_word(heard, lambda u, text: sentence(lm, text))
    print(
        f"how likely what was said is, nats a word: by Llama {nats_a_word(heard, by_llama):.2f}, "
        f"by the search's language model {by_lm:.2f}"
    )
    print(f"the best of each list: {word_errors(heard, best_of(heard, found)):.2f} %")


def best_of(heard: list[Heard], found: list[list[Hypothesis]]) -> list[str]:
    """Each list's reading with the fewest errors."""
    best = []
    for h, f in zip(heard, found, strict=True):
        said = letters(h.utterance.text).split()
        best.append(min((x.text for x in f), key=lambda text, said=said: edit_distance(said, text.split())))
    return best


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="recordings with texts, none of those that will be measured")
    parser.add_argument("--people", type=Path, metavar="MANIFEST", help="people; of these those with split=train")
    parser.add_argument("--hubert", type=Path, required=True, help="folder of the HuBERT, with its language model")
    parser.add_argument(
        "--llama",
        type=Path,
        help="folder of the Llama, which chooses among the readings; "
        "without one the confidence is fitted to the search's first",
    )
    parser.add_argument("--each", type=int, default=2, metavar="N", help="recordings of each person (default: 2)")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each corpus of people (default: %(default)s)")
    parser.add_argument(
        "--people-snr",
        type=float,
        metavar="DB",
        help="put noise so far below people's voices: who was learned from is understood better than who is new",
    )
    parser.add_argument("--misheard", action="store_true", help="fit only the chance to be misheard")
    parser.add_argument(
        "--snr", type=float, metavar="DB", help="add noise so far below the manifest's voices, and only print"
    )
    parser.add_argument("--limit", type=int, help="only the first N recordings")
    return parser.parse_args()


@dataclass(frozen=True)
class Recogniser:
    """What reads recordings as the service does."""

    folder: Path  # of the HuBERT
    encoder: SpeechEncoder
    search: BeamSearch
    llama: ChatLlama | None
    fingerprint: str  # of the Llama; empty where there is none

    @classmethod
    def load(cls, hubert: Path, llama: Path | None) -> "Recogniser":
        """The models in these folders, in float32."""
        exact = DeviceConfig("cpu", "float32")
        encoder = SpeechEncoder.from_pretrained(str(hubert), exact)
        search = BeamSearch.from_pretrained(str(hubert), encoder.labels)
        if not isinstance(search, BeamSearch):
            raise SystemExit(f"{hubert} has no language model: make one with training/language_model.py.")
        if llama is None:
            return cls(hubert, encoder, search, None, "")
        return cls(hubert, encoder, search, ChatLlama.from_pretrained(str(llama), exact), hub.fingerprint(llama))

    @property
    def limits(self) -> dict[str, float]:
        """Where Llama's opinion ends: nowhere for one that knows English at large."""
        return {"outside": float("inf")} if self.llama and self.llama.style.broad else {}

    def ask(self, heard: list[Heard], found: list[list[Hypothesis]]) -> list[list[float]]:
        """How likely each reading is to be said, by Llama; equally likely where there is none."""
        return ask(heard, found, self.llama) if self.llama else [[0.0] * len(f) for f in found]


@dataclass(frozen=True, eq=False)
class Group:
    """Recordings that were heard, with the list of each."""

    heard: list[Heard]
    lists: list[list[Hypothesis]]
    is_person: bool = False


def backwards(groups: list[Group], r: Recogniser) -> Group:
    """Every fifth recording backwards, with what is read in it."""
    given = [h.utterance for group in groups for h in group.heard[::5] if h.utterance.text]
    heard = list(hear(given, r.encoder, backwards=True))
    return Group(heard, [weighed_again(read(h, r.search), ReadingConfig.hypotheses) for h in heard])


def in_noise(groups: list[Group], r: Recogniser) -> Group:
    """Every second recording in noise."""
    given = [h.utterance for group in groups for h in group.heard[::2] if h.utterance.text]
    heard = list(hear(given, r.encoder, NOISE))
    return Group(heard, read_all(heard, r.search, f"{NOISE:g} dB: "))


def only_misheard(groups: list[Group], asked: list[list[list[float]]], r: Recogniser) -> None:
    """Fit, print and write the chance that a transcript is misheard."""
    calibration = (Calibration.from_folder(r.folder) or Calibration()).beside(r.fingerprint)
    if calibration.of_sound is None:
        raise SystemExit(f"{r.folder} has no confidence for its words yet: run this without --misheard first.")
    judged: list[Whole] = []
    for group, likely in zip(groups, asked, strict=True):
        chosen = with_sense(group.lists, likely, choose(group.lists, likely, **r.limits))
        with_lists = [(f, *c) for f, c in zip(group.lists, chosen, strict=True)]
        judged += wholes(group.heard, with_lists, r.encoder.labels, calibration, group.is_person)
    weights = fit_misheard(judged)
    kept = ("lead", "tail", "gap", "of_sound", "llama", "fitted_on_words", "with_sense")
    write({"misheard": weights}, r.folder / "calibration.json", kept)
    tell_asked(judged, MisheardWeights(**weights))


def main() -> None:
    """Fit, print and write."""
    args = parse_args()
    r = Recogniser.load(args.hubert, args.llama)
    heard = list(hear([u for u in read_manifest(args.manifest) if u.text][: args.limit], r.encoder, args.snr))
    print(f"greedy: {word_errors(heard, [h.greedy for h in heard]):.2f} %")
    groups = [Group(heard, read_all(heard, r.search))]
    if args.people:
        people = list(hear(people_of(args.people, args.each, args.minutes), r.encoder, args.people_snr))
        groups.append(Group(people, read_all(people, r.search, "people: "), True))
    if args.misheard:
        groups.append(backwards(groups, r))
        only_misheard(groups, [r.ask(group.heard, group.lists) for group in groups], r)
        return
    try_guards(heard, groups[0].lists, r.encoder.labels)
    if args.snr is None:
        groups += [in_noise(groups, r), backwards(groups, r)]
    asked = [r.ask(group.heard, group.lists) for group in groups]
    everyone = list(chain.from_iterable(group.heard for group in groups))
    lists, likely = (list(chain.from_iterable(of)) for of in ([group.lists for group in groups], asked))
    chosen = choose(lists, likely, **r.limits)
    if args.snr is None:
        fitted = fit_confidence(everyone, lists, with_sense(lists, likely, chosen), r.encoder.labels, r.fingerprint)
        write(fitted, r.folder / "calibration.json")
        if args.people:
            only_misheard(groups, asked, r)
    if r.llama:
        try_llama(heard, groups[0].lists, likely[: len(heard)], r.llama, r.search.lm)
        if args.people:
            print(f"people: with Llama {word_errors(people, chosen[len(heard) :][: len(people)]):.2f} %")


if __name__ == "__main__":
    main()
