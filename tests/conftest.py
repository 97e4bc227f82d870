"""Fixtures shared by the tests."""

import os
import tempfile
from pathlib import Path

import pytest

os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hubert-llama-tests-")  # what tests quantise is not kept in the user's cache

CLIPS = Path(__file__).parent.parent / "nbs" / "clips"


@pytest.fixture(scope="session")
def tiny_hubert(tmp_path_factory) -> Path:
    from checkpoints import save_hubert

    return save_hubert(tmp_path_factory.mktemp("hubert"))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    from checkpoints import save_llama

    return save_llama(tmp_path_factory.mktemp("llama"))
