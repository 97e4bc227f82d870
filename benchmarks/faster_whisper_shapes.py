"""What hearing 30 seconds costs: Whisper large-v3's shapes in faster-whisper's engine (int8), beside HuBERT-large.

    pip install ctranslate2
    python benchmarks/full_size.py /tmp/full-size --only hubert
    python benchmarks/faster_whisper_shapes.py /tmp/full-size --threads 2

The engine is CTranslate2. FOLDER/whisper-int8 (1.6 GB) is made when it is not there: 32 encoder and 32 decoder layers
of width 1280, 128 mel bins, 51,866 tokens, random weights; speed does not depend on what they are. Whisper's encoder
always reads 30 seconds, HuBERT's what was said; Whisper's decoder then writes token by token, here 32 of them, where
HuBERT's letters are there at once. The three are timed in turns.
"""

import argparse
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
from timing import in_turns

WHISPER_LARGE_V3 = {
    "vocab_size": 51_866,
    "num_mel_bins": 128,
    "d_model": 1280,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "decoder_layers": 32,
    "decoder_attention_heads": 20,
    "decoder_ffn_dim": 5120,
    "max_source_positions": 1500,
    "max_target_positions": 448,
}
NAMED = {
    50_257: "<|endoftext|>",
    50_258: "<|startoftranscript|>",
    50_259: "<|en|>",
    50_360: "<|transcribe|>",
    50_363: "<|nospeech|>",
    50_364: "<|notimestamps|>",
}
PROMPT = [50_258, 50_259, 50_360, 50_364]  # start of transcript, English, transcribe, no timestamps
TOKENS, SECONDS = 32, 30


def make_whisper(folder: Path, layers: int | None) -> None:
    """Write the model as CTranslate2 reads it."""
    import torch
    from ctranslate2.converters.transformers import WhisperLoader
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    shape = WHISPER_LARGE_V3 | ({"encoder_layers": layers, "decoder_layers": layers} if layers else {})
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(WhisperConfig(**shape))
    model = model.to_empty(device="cpu").eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.fill_(1.0) if "layer_norm.weight" in name else p.uniform_(-0.03, 0.03, generator=rng)
    spec = WhisperLoader().get_model_spec(model)
    spec.register_vocabulary([NAMED.get(i, f"<{i}>") for i in range(shape["vocab_size"])])
    spec.config.suppress_ids, spec.config.suppress_ids_begin, spec.config.lang_ids, spec.config.alignment_heads = (
        [],
        [],
        [PROMPT[1]],
        [(0, 0)],
    )
    spec.validate()
    spec.optimize(quantization="int8")
    folder.mkdir(parents=True)
    spec.save(str(folder))


def three(folder: Path, threads: int, layers: int | None) -> dict[str, Callable[[], object]]:
    """What is timed: Whisper's encoder, its decoder, and HuBERT-large, which has letters at once."""
    import ctranslate2
    import torch

    from hubert_llama.hubert import SpeechEncoder
    from hubert_llama.models.device import DeviceConfig

    torch.set_num_threads(threads)
    made = folder / (f"whisper-int8-{layers}" if layers else "whisper-int8")
    if not made.exists():
        make_whisper(made, layers)
    whisper = ctranslate2.models.Whisper(str(made), device="cpu", compute_type="int8", intra_threads=threads)
    encoder = SpeechEncoder.from_pretrained(str(folder / "hubert"), DeviceConfig("cpu"))
    rng = np.random.default_rng(0)
    mel = ctranslate2.StorageView.from_array(
        rng.standard_normal((1, 128, 2 * WHISPER_LARGE_V3["max_source_positions"])).astype(np.float32)
    )
    speech = (0.1 * rng.standard_normal(SECONDS * 16_000)).astype(np.float32)
    heard = whisper.encode(mel)
    return {
        "Whisper large-v3, int8: encoder": lambda: whisper.encode(mel),
        f"Whisper large-v3, int8: {TOKENS} tokens": lambda: whisper.generate(
            heard,
            [PROMPT],
            beam_size=1,
            max_length=TOKENS + len(PROMPT),
            suppress_blank=False,
            suppress_tokens=[50_257],
        ),
        "HuBERT-large, this project: encoder and letters": lambda: encoder.encode([speech]),
    }


def main() -> None:
    """Time, print, and write FOLDER/faster_whisper_shapes.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where benchmarks/full_size.py wrote to")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", type=int, help="a slice of Whisper, to try the script")
    args = parser.parse_args()
    times = in_turns(three(args.folder, args.threads, args.layers), args.repeats)
    rows = {
        name: {"median_s": round(statistics.median(t), 2), "least_s": round(min(t), 2), "most_s": round(max(t), 2)}
        for name, t in times.items()
    }
    for name, row in rows.items():
        print(f"{name:50s} {row['median_s']:7.2f} s ({row['least_s']:.2f} to {row['most_s']:.2f})")
    (args.folder / "faster_whisper_shapes.json").write_text(
        json.dumps({"seconds_of_audio": SECONDS, "threads": args.threads, "rows": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
