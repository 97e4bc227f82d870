#!/usr/bin/env bash
# What made Llama-mini's bundled weights, stage by stage, as it was run: the record, not a script to run in one go.
# Each stage ran with the code of its day. training/README.md says how to make a pair today, training/LOG.md what was
# learnt.
set -euo pipefail
cd "$(dirname "$0")/../.."

python training/tutor.py --show 20
python training/train_hubert.py --work-dir build/speech --checkpoint build/hubert-2.pt \
    --hear build/hypotheses.jsonl --clips 5000

# stages 1 and 2, before there were quotes and drills: what the words of the curriculum mean
nice python training/train_llama.py --work-dir build/llama-1 --hypotheses build/hypotheses.jsonl --minutes 108 \
    --compile --out build/llama-1-out
nice python training/train_llama.py --work-dir build/llama-2 --init-from build/llama-1-out \
    --hypotheses build/hypotheses.jsonl --minutes 100 --hold 0.25 --copying 0 --peak-lr 8e-4 --compile \
    --out build/llama-2-out

# stage 3: to copy, to quote, to add. It was stopped and gone on with nine times, for its data were mended as it ran:
# --rows is of minute 28, --quoting of minute 110. HYPOTHESES is what a HuBERT-mini of the fourth stage read, with the
# beam search, in 950 clips of training's synthetic speech.
stage_3() {
    python training/train_llama.py --work-dir build/llama --init-from build/llama-2-out --copying 0 --threads 1 \
        --compile "$@"
}
HYPOTHESES="--hypotheses build/hypotheses-old.jsonl"
# to minute 6.5: batches of 2 lessons of 24 turns
stage_3 --minutes 12 --hold 0.9 --peak-lr 1e-3 --drills 0.6
# to minute 22: lessons of 12 turns; 15 % rows of sums
stage_3 --minutes 106 --hold 0.35 --peak-lr 1.2e-3 --drills 0.4
# to minute 27
stage_3 --minutes 106 --hold 0.35 --peak-lr 1.6e-3 --drills 0.15 $HYPOTHESES
# to minute 40: 3 lessons a batch, fewer examples in drills and rows
stage_3 --minutes 106 --hold 0.35 --peak-lr 1.4e-3 $HYPOTHESES --drills 0.15 --rows 0.3
# to minute 57: sums with all pairs of last digits, running sums, pages said otherwise
stage_3 --minutes 106 --hold 0.35 --peak-lr 1.4e-3 $HYPOTHESES --drills 0.1 --rows 0.35
# to minute 80: more sums
stage_3 --minutes 106 --hold 0.35 --peak-lr 1.4e-3 $HYPOTHESES --drills 0.1 --rows 0.4
# to minute 99: phrasings that nobody asks with
stage_3 --minutes 110 --hold 0.35 --peak-lr 1.4e-3 $HYPOTHESES --drills 0.1 --rows 0.35
# to minute 110
stage_3 --minutes 116 --hold 0.35 --peak-lr 1.4e-3 $HYPOTHESES --drills 0.1 --rows 0.12
# to minute 115: quotes to be repeated
stage_3 --minutes 127 --hold 0.86 --peak-lr 7e-4 $HYPOTHESES --drills 0.05 --quoting 0.3 --rows 0.12
# to the end: common words as unknown things
stage_3 --minutes 127 --hold 0.86 --peak-lr 7e-4 $HYPOTHESES --drills 0.05 --quoting 0.2 --rows 0.25

# about the same in one command of the present code:
# python training/train_llama.py --work-dir build/llama-3 --init-from build/llama-2-out \
#     --hypotheses build/hypotheses.jsonl --minutes 127 --copying 0 --hold 0.35 --peak-lr 1.4e-3 --drills 0.1 \
#     --rows 0.3 --quoting 0.2 --threads 1 --compile --out hubert_llama/mini/llama

# stage 4: what the sixth stage's HuBERT hears in noise, and to choose among its readings (then by how likely each
# is as the transcript of the letters, which were shown; the present code asks without them)
python training/train_hubert.py --work-dir build/speech-4 --checkpoint build/hubert-6.pt --layers 8 --seed 1 \
    --clips 1500 --hear build/heard-1.jsonl --language-model hubert_llama/mini/hubert
python training/train_hubert.py --work-dir build/speech-4 --checkpoint build/hubert-6.pt --layers 8 --seed 2 \
    --clips 1500 --hear build/heard-2.jsonl --language-model hubert_llama/mini/hubert
cat build/heard-1.jsonl build/heard-2.jsonl > build/heard.jsonl
python training/train_llama.py --work-dir build/llama-4 --init-from hubert_llama/mini/llama \
    --hypotheses build/heard.jsonl --minutes 18 --copying 0 --hold 0.2 --peak-lr 7e-4 --drills 0.03 --rows 0.2 \
    --quoting 0.15 --lessons 2 --together 2 --threads 1 --choosing 0.5 --out build/llama-4-out

# stage 5: what students say, by which readings are weighed
python training/train_llama.py --work-dir build/llama-5 --init-from build/llama-4-out \
    --hypotheses build/heard.jsonl --minutes 66 --copying 0 --hold 0.25 --peak-lr 1e-3 --drills 0.03 --unheard 0.4 \
    --rows 0.33 --quoting 0.15 --lessons 2 --together 2 --threads 1 --choosing 0.5 --out hubert_llama/mini/llama

# stage 6: to choose among what the eighth stage's HuBERT hears, half of it in strong noise (of that day's weights,
# --layers 8; the bundled ones have 12)
python training/speech.py --work-dir build/speech-10 --utterances 9000 --seed 101 \
    --speech-manifest recordings/manifest.jsonl
for seed in 1 2; do
    python training/train_hubert.py --work-dir build/speech-10 --init-from hubert_llama/mini/hubert --layers 12 \
        --seed "$seed" --clips 4000 --hear "build/heard-$seed.jsonl" --language-model hubert_llama/mini/hubert
done
cat build/heard-1.jsonl build/heard-2.jsonl > build/heard.jsonl
python training/train_llama.py --work-dir build/llama-6 --init-from hubert_llama/mini/llama \
    --hypotheses build/heard.jsonl --minutes 38 --copying 0 --hold 0.2 --peak-lr 7e-4 --drills 0.03 --unheard 0.4 \
    --rows 0.3 --quoting 0.15 --lessons 2 --together 2 --threads 1 --choosing 1.0 --choices 4
python training/train_llama.py --work-dir build/llama-6 --init-from hubert_llama/mini/llama --export-only \
    --share 0.5 --out hubert_llama/mini/llama
python training/train_llama.py --evaluate hubert_llama/mini/llama --questions 30

# how long a prompt it can use, and when it guesses: tested.json, after every change of the weights
python training/usable.py --llama hubert_llama/mini/llama
