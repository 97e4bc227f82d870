"""`python -m hubert_llama` is the command `hubert-llama`."""

import sys

from hubert_llama.cli import main

if __name__ == "__main__":
    sys.exit(main())
