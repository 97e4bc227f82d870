"""What it costs HuBERT's letters to be computed quickly on this CPU: in bf16, and with its matrices as bytes.

    python benchmarks/numerics.py my/manifest.jsonl
    python benchmarks/numerics.py my/manifest.jsonl --hubert facebook/hubert-large-ls960-ft --limit 100

my/manifest.jsonl has lines of {"audio", "text"}, as for `hubert-llama evaluate`. The letters are read greedily, by
the service's own encoder: in fp32, in bf16, and both with all linear layers as bytes, also where they would be too
small to gain by it. Printed: wrong words and letters, recordings whose letters are just those of fp32, and how far
the last hidden states are from fp32's.
"""

import argparse
from pathlib import Path

WAYS = {
    "fp32": ("float32", False),
    "bf16": ("bfloat16", False),
    "bytes and fp32": ("float32", True),
    "bytes and bf16": ("bfloat16", True),
}


def recordings(manifest: Path, limit: int) -> list[tuple]:
    """Waveforms and what is said in them; at most `limit` of them, evenly chosen."""
    from hubert_llama.audio import load_audio
    from hubert_llama.measure.manifest import read_manifest

    spoken = [u for u in read_manifest(manifest) if u.text]
    return [(load_audio(u.audio), u.text) for u in spoken[:: -(-len(spoken) // limit)]]


def encoder(name: str, dtype: str, as_bytes: bool):
    """The service's, in a dtype, its linear layers as bytes or not."""
    from hubert_llama.fast.int8 import use_bytes
    from hubert_llama.hubert import SpeechEncoder
    from hubert_llama.models.device import DeviceConfig

    made = SpeechEncoder.from_pretrained(name, DeviceConfig("cpu", dtype))
    if as_bytes:
        use_bytes(made.model, least=1)
    return made


def figures(name: str, clips: list[tuple]) -> None:
    """Print the table."""
    import jiwer

    from hubert_llama.measure.score import normalise

    said, wanted = [normalise(text) for _, text in clips], None
    print(f"{len(clips)} recordings\n")
    print(
        "| | words wrong, % | letters wrong, % | the same as fp32 | error of the hidden states |\n|---|---|---|---|---|"
    )
    for way, (dtype, as_bytes) in WAYS.items():
        model = encoder(name, dtype, as_bytes)
        heard = [model.encode([clip], keep_hidden_states=True)[0] for clip, _ in clips]
        wanted = wanted or heard
        read = [normalise(h.text) for h in heard]
        same = sum(a.text == b.text for a, b in zip(heard, wanted, strict=True))
        pairs = [(a.hidden_states, b.hidden_states) for a, b in zip(heard, wanted, strict=True)]
        squares = sum(float((a - b).norm()) ** 2 for a, b in pairs) / sum(float(b.norm()) ** 2 for _, b in pairs)
        rates = f"{100 * jiwer.wer(said, read):.2f} | {100 * jiwer.cer(said, read):.2f}"
        print(f"| {way} | {rates} | {same} | {squares**0.5:.4f} |", flush=True)


def main() -> None:
    """Measure a HuBERT on a manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--hubert", default="mini", help="hub id or folder (default: the bundled one)")
    parser.add_argument("--limit", type=int, default=200, help="recordings at most, evenly chosen (default: 200)")
    args = parser.parse_args()
    from hubert_llama.fast.matmul import has_kernel
    from hubert_llama.models import hub

    if not has_kernel():
        raise SystemExit("This CPU has no instructions that multiply bytes (AVX2): there is nothing to compare.")
    figures(hub.HUBERT_MINI if args.hubert == "mini" else args.hubert, recordings(args.manifest, args.limit))


if __name__ == "__main__":
    main()
