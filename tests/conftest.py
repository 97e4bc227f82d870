"""Fixtures shared by the tests."""

from pathlib import Path

import pytest

CLIPS = Path(__file__).parent.parent / "nbs" / "clips"


@pytest.fixture(scope="session")
def tiny_hubert(tmp_path_factory) -> Path:
    from checkpoints import save_hubert

    return save_hubert(tmp_path_factory.mktemp("hubert"))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    from checkpoints import save_llama

    return save_llama(tmp_path_factory.mktemp("llama"))
