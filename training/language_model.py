"""Count the word n-grams that HuBERT-mini's beam search weighs its words with, and write them as an ARPA file.

    python training/language_model.py --prose build/prose/*.txt \\
        --out hubert_llama/mini/hubert/language_model/2gram.arpa.gz

The sentences are those of training/speech.py (students' questions, sums, small talk, the curriculum, WordNet's glosses)
on the training side: none that HuBERT is measured on. Those of plain texts (--prose) join them, from which it learns
how English goes on where nobody asks about a course. Invented words, which lessons are full of, count as <unk>: so it
is known where a new word may stand. Smoothing is interpolated Witten-Bell (Witten and Bell 1991; Chen and Goodman
1998).

An ARPA file of your own, by KenLM's lmplz for example, does as well: put it into the folder language_model beside your
HuBERT's weights.
"""

import argparse
import gzip
import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from speech import SMALL_TALK, Sentences, draw, load_sentences, number_sentence, plain, prose, terms
from tutor import is_test


def count(sentences: list[str], known: set[str], least: Sequence[int]) -> list[Counter]:
    """Words, pairs of words and so on, with <s> and </s>, unknown words as <unk>.

    Those of n words, two or more, are there only from `least[n - 2]` times on.
    """
    grams = [Counter() for _ in range(len(least) + 1)]
    for sentence in sentences:
        said = [word for w in sentence.split() if (word := w.strip("'"))]
        line = ["<s>", *(word if word in known else "<unk>" for word in said), "</s>"]
        for n, counted in enumerate(grams, 1):
            counted.update(zip(*(line[i:] for i in range(n)), strict=False))
    longer = zip(grams[1:], least, strict=True)
    return [grams[0], *(Counter({gram: n for gram, n in counted.items() if n >= few}) for counted, few in longer)]


def smoothed(grams: list[Counter]) -> tuple[list[dict], dict]:
    """The probability of each n-gram's last word after the others, for each n, and what is left after each history.

    What is left goes to words that were not seen there.
    """
    total = sum(n for (word,), n in grams[0].items() if word != "<s>")
    found, left = [{gram: (n + 0.5) / (total + 0.5 * len(grams[0])) for gram, n in grams[0].items()}], {}
    for counted in grams[1:]:
        follow, types = Counter(), Counter()
        for gram, n in counted.items():
            follow[gram[:-1]] += n
            types[gram[:-1]] += 1
        shorter, longer = found[-1], {}
        for gram, n in counted.items():
            history, seen = gram[:-1], types[gram[:-1]]
            longer[gram] = (n + seen * shorter[gram[1:]]) / (follow[history] + seen)
        found.append(longer)
        left |= {history: types[history] / (follow[history] + types[history]) for history in follow}
    return found, left


def backed_off(found: list[dict], left: dict, gram: tuple[str, ...]) -> float:
    """The probability of an n-gram's last word after the others, by the longest n-gram that is there."""
    if (p := found[len(gram) - 1].get(gram)) is not None:
        return p
    return left.get(gram[:-1], 1.0) * backed_off(found, left, gram[1:])


def pruned(found: list[dict], left: dict, most: Sequence[int]) -> tuple[list[dict], dict]:
    """Of pairs, triples and so on the `most[n - 2]` that say most beyond shorter ones, after histories that stay.

    What an n-gram says is how often it comes up times how wrong backing off would be (A. Stolcke 1998).
    """
    kept, weights = [found[0]], {}
    often = found[0]  # how often histories come up
    for longer, few in zip(found[1:], most, strict=True):
        stays = {gram: often[gram[:-1]] * p for gram, p in longer.items() if gram[:-1] in kept[-1]}
        alone = {gram: backed_off(kept, weights, gram[1:]) for gram in stays}
        gain = {gram: n * math.log(longer[gram] / (left[gram[:-1]] * alone[gram])) for gram, n in stays.items()}
        chosen = sorted(gain, key=gain.__getitem__, reverse=True)[:few]
        # of each history: what its n-grams have, and what shorter ones would give their words
        said, otherwise = Counter(), Counter()
        for gram in chosen:
            said[gram[:-1]] += longer[gram]
            otherwise[gram[:-1]] += alone[gram]
        weights |= {h: (1 - said[h]) / (1 - otherwise[h]) for h in said}
        kept, often = [*kept, {gram: longer[gram] for gram in chosen}], stays
    return kept, weights


def arpa(grams: list[Counter], most: Sequence[int] = ()) -> str:
    """All n-grams, or the `most` pairs, triples and so on, with their logarithms to base ten and back-off weights."""
    found, left = smoothed(grams)
    if most:
        found, left = pruned(found, left, most)
    lines = ["\\data\\", *(f"ngram {n}={len(kept)}" for n, kept in enumerate(found, 1)), ""]
    for n, probabilities in enumerate(found, 1):
        lines.append(f"\\{n}-grams:")
        for gram, p in sorted(probabilities.items()):
            row = f"{-99 if gram == ('<s>',) else math.log10(p):.4f}\t{' '.join(gram)}"
            lines.append(f"{row}\t{math.log10(left.get(gram, 1.0)):.4f}" if n < len(found) else row)
        lines.append("")
    return "\n".join([*lines, "\\end\\", ""])


def sentences_of(material: Sentences) -> list[str]:
    """The curriculum, its terms, and questions and sums about them: no broad English and no invented words."""
    rng = random.Random(0)
    return [
        *(s for s in material.curriculum if not is_test(s)),
        *terms(),
        *(material.ask(rng, material.terms) for _ in range(5000)),
        *(number_sentence(rng) for _ in range(5000)),
        *map(plain, SMALL_TALK),
    ]


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="ARPA file, compressed when it ends in .gz")
    parser.add_argument("--sentences", type=int, default=160_000, help="how many to draw")
    counts = {"type": int, "nargs": "+", "metavar": "N"}
    parser.add_argument(
        "--least",
        **counts,
        default=[1],
        help="how often pairs, triples and so on must come up to be kept; as many numbers as there are orders above "
        "one (default: 1, all pairs and no triples, which made no difference)",
    )
    parser.add_argument(
        "--most",
        **counts,
        default=[],
        help="keep only so many pairs, triples and so on, those that say most (default: all)",
    )
    parser.add_argument(
        "--prose",
        type=Path,
        nargs="*",
        default=[],
        metavar="FILE",
        help="plain texts in English; training/runs/hubert_mini.sh names some that are free and come with packages",
    )
    parser.add_argument(
        "--prose-least",
        type=int,
        default=3,
        metavar="N",
        help="how often a pair must come up in prose to be kept, and a word one time more (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=3)
    return checked(parser, parser.parse_args())


def checked(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.Namespace:
    """The options, if their numbers go together."""
    if args.least != sorted(args.least):
        parser.error("--least must not fall: an n-gram that is kept needs the shorter one that it ends with")
    if args.most and len(args.most) != len(args.least):
        parser.error("--most and --least take as many numbers: one for pairs, one for triples")
    return args


def main() -> None:
    """Draw, count, write."""
    args = parse_args()
    material = load_sentences()
    sentences = draw(material, args.sentences, args.seed, "mixed", test=False)
    sentences += [s for s in material.curriculum if not is_test(s)] * 4 + [t for t in terms() if not is_test(t)]
    known = {word.strip("'") for sentence in [*material.glosses, *sentences_of(material)] for word in sentence.split()}
    told = [sentence for path in args.prose for sentence in prose(path) if not is_test(sentence)]
    words_told = Counter(w.strip("'") for sentence in told for w in sentence.split())
    known |= {word for word, n in words_told.items() if n > args.prose_least}
    grams = count(sentences, known, args.least)
    for counted, more in zip(grams, count(told, known, [args.prose_least] * len(args.least)), strict=True):
        # prose's rare words say nothing of where a course's may stand
        counted.update({gram: n for gram, n in more.items() if "<unk>" not in gram})
    # words that no drawn sentence has can be heard all the same
    grams[0].update({(word,): 0 for word in known - {""} if (word,) not in grams[0]})
    text = arpa(grams, args.most)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.out.suffix == ".gz":
        args.out.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        args.out.write_text(text, encoding="utf-8")
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB; {', '.join(text.splitlines()[1 : len(grams) + 1])}")


if __name__ == "__main__":
    main()
