#!/usr/bin/env bash
# From nothing to the tutor's LoRA for SmolLM2-135M-Instruct, resumable: run it again after a stop.
#   sh training/runs/smollm2_lora.sh [MINUTES] [BRIDGE_TRAIN_JSON]
# BRIDGE: train.json of github.com/rosewang2008/bridge (MIT), real exchanges with pupils.
set -euo pipefail
cd "$(dirname "$0")/../.."
pip install -q "peft>=0.17"
hubert-llama fetch smol
python training/tutor_lora.py --minutes "${1:-600}" ${2:+--bridge "$2"} --out build/tutor-lora
