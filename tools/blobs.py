"""Refuse files over 1 MB that are not named here.

    python tools/blobs.py            # exit with 1 and name them
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1_000_000  # bytes
ALLOWED = (  # what a release needs
    "hubert_llama/mini/hubert/model.safetensors",
    "hubert_llama/mini/hubert/language_model/2gram.arpa.gz",
    "hubert_llama/mini/llama/model.safetensors",
    "training/checkpoints/mel-hubert-1/model.safetensors",  # to go on from: four such at most
    "training/checkpoints/mel-hubert-2/model.safetensors",
)


def main() -> int:
    """List tracked files that are too large."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name and name not in ALLOWED]
    large = [p for p in paths if p.is_file() and p.stat().st_size > LIMIT]
    for path in large:
        print(f"{path.relative_to(ROOT)} has {path.stat().st_size:,} bytes, {LIMIT:,} are allowed. "
              "Keep it out of git, or name it in tools/blobs.py with the release that needs it.", file=sys.stderr)
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main())
