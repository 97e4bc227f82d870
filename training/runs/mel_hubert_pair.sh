#!/bin/sh
# From a MelHuBERT's weights to a recogniser of the service, measured:
#     FROM=build/mel-hubert-2 MANIFEST=recordings/manifest.jsonl training/runs/mel_hubert_pair.sh
# FROM is a folder that train_mel_hubert.py exported, OUT the recogniser's, LLAMA the Llama it stands beside.
# Each step is a function, and may be run alone: `... training/runs/mel_hubert_pair.sh word_times confidence`.
set -eu
cd "$(dirname "$0")/../.."
export PYTHONPATH=".${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE KMP_BLOCKTIME=0
python=${PYTHON:-python}
OUT=${OUT:-build/pair/hubert} LLAMA=${LLAMA:-hubert_llama/mini/llama} RESULTS=${RESULTS:-build/results}
LANGUAGE_MODEL=${LANGUAGE_MODEL:-hubert_llama/mini/hubert/language_model/2gram.arpa.gz}

weights() {    # what loading needs, and the language model
    mkdir -p "$OUT/language_model"
    for file in config.json model.safetensors preprocessor_config.json tokenizer_config.json vocab.json \
        training_args.json training_log.jsonl; do
        [ ! -e "$FROM/$file" ] || cp "$FROM/$file" "$OUT/"
    done
    [ "$LANGUAGE_MODEL" -ef "$OUT/language_model/2gram.arpa.gz" ] || cp "$LANGUAGE_MODEL" "$OUT/language_model/"
}

word_times() {    # when words begin and end, on words cut together
    "$python" benchmarks/word_times.py --hubert "$OUT" --fit --write
    "$python" benchmarks/word_times.py --hubert "$OUT"
}

search() {    # what the search's parts weigh
    "$python" training/tune_search.py "$MANIFEST" --hubert "$OUT" --minutes "${SEARCH_MINUTES:-2}" \
        --people-snr "${PEOPLE_SNR:-10}"
}

voices() {    # sentences in synthetic voices: some to fit on (which needs ttspico), others to measure on
    speak build/tuning --voices training --seed 8 --parts sentences
    speak build/held-out --parts sentences no-speech
}

speak() {    # a folder and what else; it is there when it is whole
    folder=$1
    shift
    [ -e "$folder" ] || { "$python" training/held_out.py --out "$folder.part" "$@" && mv "$folder.part" "$folder"; }
}

confidence() {    # of words, and whether a transcript was misheard
    "$python" training/calibrate.py build/tuning/manifest.jsonl --limit "${VOICES:-120}" --people "$MANIFEST" \
        --minutes "${MINUTES:-3}" --people-snr "${PEOPLE_SNR:-10}" --hubert "$OUT" --llama "$LLAMA"
}

measure() {    # people who were not learned from; voices that were not; recordings in which nobody speaks
    for corpus in librispeech speechocean762; do
        evaluate "$MANIFEST" "$corpus" --where split=dev --where "corpus=$corpus"
    done
    for corpus in 'espeak-ng, curriculum' 'festival slt, curriculum' 'no speech'; do
        evaluate build/held-out/manifest.jsonl "$(echo "$corpus" | tr -d ,- | tr ' ' _)" --where "corpus=$corpus" \
            --limit "${LIMIT:-100}"
    done
}

evaluate() {    # a manifest, a name and what else
    manifest=$1 name=$2
    shift 2
    "$python" -m hubert_llama evaluate "$manifest" "$@" --hubert "$OUT" --llama "$LLAMA" --out "$RESULTS/$name"
}

card() {    # README.md: what it learned from, its figures and limits; BEFORE is the folder that the training began with
    "$python" training/model_card.py "$OUT" --people "${PEOPLE:-build/people}" --results "$RESULTS" \
        ${BEFORE:+--before "$BEFORE"}
}

[ $# -gt 0 ] || set -- weights word_times search voices confidence measure card
for step in "$@"; do
    echo "== $step"
    "$step"
done
