"""Tune what the parts of the beam search weigh for a HuBERT, and write that beside its language model.

    python training/tune_search.py recordings/manifest.jsonl --hubert build/pair/hubert

It reads recordings of people, those with split=train and never others, as the service does without a context. The
lists of one search are weighed anew for every `lm_weight` and `word_score`; with the best of them it searches again,
and tries what whole words that the letters spell shall gain (`spelt`). What has the fewest words wrong is written as
language_model/search.json in the HuBERT's folder, where `BeamSearch.from_pretrained` finds it.

What was learned from is understood better than what is new: `--people-snr` puts noise under it, and weights are moved
only where that is worth `--least`.
"""

import argparse
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

from calibrate import Heard, hear, people_of, word_errors

from hubert_llama.hubert import SpeechEncoder
from hubert_llama.words.recogniser import ReadingConfig, weighed_again
from hubert_llama.words.search import BeamConfig, BeamSearch, Hypothesis

LM_WEIGHTS = (0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0)
WORD_SCORES = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
SPELT = (0.0, 2.5, 5.0, 8.0)
Lists = list[list[Hypothesis]]


def search_all(heard: list[Heard], search: BeamSearch) -> Lists:
    """The lists of a search."""
    found = (search(h.emissions, ReadingConfig.listed, "", h.greedy) for h in heard)
    return [f or [Hypothesis(h.greedy, 0.0, 0.0)] for f, h in zip(found, heard, strict=True)]


def firsts(lists: Lists) -> list[str]:
    """What the service takes of each list."""
    return [weighed_again(hypotheses, 1)[0].text for hypotheses in lists]


def weighed_anew(lists: Lists, before: BeamConfig, lm_weight: float, word_score: float) -> Lists:
    """Lists as they would be scored with other weights."""
    def total(h: Hypothesis) -> float:
        more_words = (word_score - before.word_score) * len(h.text.split())
        return h.total + (lm_weight / before.lm_weight - 1) * h.lm + more_words

    return [[replace(h, total=total(h)) for h in hypotheses] for hypotheses in lists]


def tune(heard: list[Heard], search: BeamSearch, least: float) -> BeamConfig:
    """The best weights that were tried; those of the beginning where nothing is better by `least` percent."""
    given = best = search.config
    lists = search_all(heard, search)
    lowest = word_errors(heard, firsts(lists))
    print(f"{told(given)}: {lowest:.2f} % of the words wrong", flush=True)
    anew = {
        pair: word_errors(heard, firsts(weighed_anew(lists, given, *pair))) for pair in product(LM_WEIGHTS, WORD_SCORES)
    }
    for lm_weight in LM_WEIGHTS:
        print(lm_weight, " ".join(f"{anew[lm_weight, score]:6.2f}" for score in WORD_SCORES), flush=True)
    lm_weight, word_score = min(anew, key=anew.__getitem__)
    first = replace(given, lm_weight=lm_weight, word_score=word_score)
    for config in [first, *(replace(first, spelt=x) for x in SPELT if x != given.spelt)]:
        search.config = config
        found = word_errors(heard, firsts(search_all(heard, search)))
        print(f"{told(config)}: {found:.2f} %", flush=True)
        if found < lowest - (least if best == given else 0.0):
            best, lowest = config, found
    return best


def told(config: BeamConfig) -> dict[str, float]:
    """The weights that are tuned."""
    return {"lm_weight": config.lm_weight, "word_score": config.word_score, "spelt": config.spelt}


def main() -> None:
    """Read, tune, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="recordings of people; only those with split=train are read")
    parser.add_argument("--hubert", type=Path, required=True, help="folder of the HuBERT, with its language model")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each corpus (default: %(default)s)")
    parser.add_argument("--people-snr", type=float, metavar="DB", help="put noise so far below the voices")
    parser.add_argument("--least", type=float, default=0.3, help="percent of the words to save (default: %(default)s)")
    args = parser.parse_args()
    encoder = SpeechEncoder.from_pretrained(str(args.hubert))
    search = BeamSearch.from_pretrained(str(args.hubert), encoder.labels)
    if not isinstance(search, BeamSearch):
        raise SystemExit(f"{args.hubert} has no language model: make one with training/language_model.py.")
    heard = list(hear(people_of(args.manifest, 1, args.minutes), encoder, args.people_snr))
    print(f"{len(heard)} recordings; greedy: {word_errors(heard, [h.greedy for h in heard]):.2f} %", flush=True)
    best = tune(heard, search, args.least)
    path = args.hubert / "language_model" / "search.json"
    path.write_text(json.dumps(told(best)) + "\n", encoding="utf-8")
    print(f"{path}: {told(best)}")


if __name__ == "__main__":
    main()
