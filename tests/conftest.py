"""Fixtures shared by the tests."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from hubert_llama.server import under_nohup

# what tests quantise is not kept in the user's cache
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hubert-llama-tests-")

if under_nohup():
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # else the servers that tests start would rightly outlive them

CLIPS = Path(__file__).parent.parent / "nbs" / "clips"


@pytest.fixture(scope="session")
def tiny_hubert(tmp_path_factory) -> Path:
    from checkpoints import save_hubert

    return save_hubert(tmp_path_factory.mktemp("hubert"))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    from checkpoints import save_llama

    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def clips() -> Path:
    return CLIPS
