"""Sizes that nobody means: native code gets none that it cannot bear, and whoever sends them ends no process."""

import os
import subprocess
import sys
from pathlib import Path

N = 262_144  # characters: the longest context that the server takes
CONTEXTS = {  # as Python writes them
    "a long word": "'a' * 90_000",
    "one word": "'schro' * (N // 5)",
    "rare words": "' '.join(''.join(c) for c in islice(product('bcdfgklmnprstvz', repeat=5), 100_000))",
    "apostrophes": "chr(39) * N + ' ' + chr(0x2019) * N",
    "accents": "'a' + chr(0x301) + chr(0x323) * N",
    "accents in disorder": "'a' + (chr(0x301) + chr(0x323)) * (N // 2)",
    "emoji": "(chr(0x1F468) + chr(0x200D)) * (N // 2)",
    "NULs": "chr(0) * N",
    "halves of surrogate pairs": "(chr(0xD800) + 'a') * (N // 2)",
    "other scripts": "'Что水ماء' * (N // 8)",
    "umlauts": "'ö' * N",
}
CHILD = """
import sys, time
from itertools import islice, product
import numpy as np
from hubert_llama.words.ctc import judge, log_likelihoods
from hubert_llama.words.times import time_words
from hubert_llama.measure.score import count_errors, normalise
from hubert_llama.course.quotes import find_quotes
from hubert_llama.words.search import BeamSearch
from hubert_llama.words.ngrams import LanguageModel
N = 262_144
labels = ["<pad>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
emissions = np.log(np.random.default_rng(0).dirichlet(np.ones(len(labels)), size=20)).astype(np.float32)
lm = LanguageModel({"<s>": -9.0, "</s>": -1.0, "who": -1.0, "was": -2.0, "b" * 90_000: -1.0}, {}, 1)
search = BeamSearch(labels, lm)
assert search(emissions, 2)  # with a vocabulary that holds such a word
for context in (%s):
    assert len(search(emissions, 2, context, "who was schrodinger")) <= 2
    words = [*search.new_words(context), *search.rare_words(context), *search.spellings(context)]
    assert all(len(word) <= 64 for word in words)
    text, changes = judge(emissions, "who was", context[:20_000], labels)
    assert isinstance(text, str) and not any(c.accepted for c in changes if len(c.proposed) > len(emissions))
    assert log_likelihoods(emissions, [context, "who"], labels)[1] < 0
    assert isinstance(time_words(emissions, context, labels), list)
    assert isinstance(find_quotes(context, "who was schrodinger"), list)
    assert count_errors(context[:20_000] + " hello", "hello", "hello").raw >= 0
    print(round(time.process_time(), 1))
print("whole")
"""


def test_no_size_ends_a_process():
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    code = CHILD % "".join(f"{context}, " for context in CONTEXTS.values())
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, env=env)
    assert done.returncode == 0 and done.stdout.endswith("whole\n"), (done.returncode, done.stdout, done.stderr[-2000:])
    assert len(done.stdout.split()) == len(CONTEXTS) + 1
