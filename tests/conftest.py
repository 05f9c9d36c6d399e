"""Shared by all tests: one thread, no network, no key, and a place for runs."""

import gc
import os
from pathlib import Path

import pytest

# Before torch is imported, and for the processes that tests start: two of two threads each would wait for one another.
os.environ.update(OMP_NUM_THREADS="1", WANDB_MODE="offline")
for name in ("DLCOURSE_ALLOW", "WANDB_API_KEY"):
    os.environ.pop(name, None)


def pytest_configure() -> None:
    """Before any test module is imported. No test waits for a disk: its files need not outlive a power failure."""
    from tests.read_once import read_files_once

    read_files_once()
    os.fsync = lambda _: None


def pytest_collection_finish() -> None:
    """Imports and thousands of tests stay until the end: no garbage collection need scan them."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Where a test writes its run directories."""
    return tmp_path / "runs"
