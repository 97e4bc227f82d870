"""Count the word n-grams that HuBERT-mini's beam search weighs its words with, and write them as an ARPA file.

    python training/language_model.py --out hubert_llama/mini/hubert/language_model/2gram.arpa.gz

The sentences are those of training/speech.py (students' questions, sums, small talk, the curriculum, WordNet's glosses) on
the training side: none that HuBERT is measured on. Invented words, which lessons are full of, count as <unk>: so it is known where
a new word may stand. Interpolated Witten-Bell smoothing (Witten and Bell 1991; Chen and Goodman 1998).
An ARPA file of your own, by KenLM's lmplz for example, does as well: put it into the folder language_model beside your HuBERT's weights.
"""

import argparse
import gzip
import math
import random
from collections import Counter
from pathlib import Path

from speech import SMALL_TALK, Sentences, draw, load_sentences, number_sentence, plain, terms
from tutor import is_test


def count(sentences: list[str], known: set[str], least: int) -> tuple[Counter, Counter]:
    """Words and pairs of words, with <s> and </s>, unknown words as <unk>; pairs only from `least` times on."""
    words, pairs = Counter(), Counter()
    for sentence in sentences:
        line = ["<s>", *(word if word in known else "<unk>" for word in (w.strip("'") for w in sentence.split()) if word), "</s>"]
        words.update(line)
        pairs.update(zip(line, line[1:], strict=False))
    return words, Counter({pair: n for pair, n in pairs.items() if n >= least})


def arpa(words: Counter, pairs: Counter) -> str:
    """Unigrams and bigrams with their logarithms to base ten and back-off weights."""
    total = sum(n for word, n in words.items() if word != "<s>")
    follow, types = Counter(), Counter()
    for (a, _), n in pairs.items():
        follow[a] += n
        types[a] += 1
    unigram = {word: (n + 0.5) / (total + 0.5 * len(words)) for word, n in words.items()}
    backoff = {a: types[a] / (follow[a] + types[a]) for a in follow}
    lines = ["\\data\\", f"ngram 1={len(words)}", f"ngram 2={len(pairs)}", "", "\\1-grams:"]
    lines += [f"{-99 if word == '<s>' else math.log10(p):.4f}\t{word}\t{math.log10(backoff.get(word, 1.0)):.4f}" for word, p in sorted(unigram.items())]
    lines += ["", "\\2-grams:"]
    lines += [f"{math.log10((n + types[a] * unigram[b]) / (follow[a] + types[a])):.4f}\t{a} {b}" for (a, b), n in sorted(pairs.items())]
    return "\n".join([*lines, "", "\\end\\", ""])


def sentences_of(material: Sentences) -> list[str]:
    """What is no broad English and holds no invented word: the curriculum, its terms, and questions and sums about them."""
    rng = random.Random(0)
    return [*(s for s in material.curriculum if not is_test(s)), *terms(), *(material.ask(rng, material.terms) for _ in range(5000)), *(number_sentence(rng) for _ in range(5000)), *map(plain, SMALL_TALK)]


def main() -> None:
    """Draw, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="ARPA file, compressed when it ends in .gz")
    parser.add_argument("--sentences", type=int, default=160_000, help="how many to draw")
    parser.add_argument("--least", type=int, default=2, help="how often a pair must come up to be kept")
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    material = load_sentences()
    sentences = draw(material, args.sentences, args.seed, "mixed", test=False)
    sentences += [s for s in material.curriculum if not is_test(s)] * 4 + [t for t in terms() if not is_test(t)]
    known = {word.strip("'") for sentence in [*material.glosses, *sentences_of(material)] for word in sentence.split()}
    words, pairs = count(sentences, known, args.least)
    words.update(dict.fromkeys(known - {""} - words.keys(), 0))  # words that no drawn sentence has can be heard all the same
    text = arpa(words, pairs)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.out.suffix == ".gz":
        args.out.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        args.out.write_text(text, encoding="utf-8")
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB; {text.splitlines()[1]}, {text.splitlines()[2]}")


if __name__ == "__main__":
    main()
