"""The environment of a run: versions, the code's commit, device and threads."""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dlcourse.config.groups import CHECKOUT

PACKAGES = ("dlcourse", "torch", "torchvision", "lightning", "hydra-core", "wandb", "numpy", "scikit-learn")


def environment(device: str, threads: int) -> dict[str, Any]:
    """The contents of environment.json: versions, the code's commit, device, threads and the command."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain"))},
        "device": device,
        "threads": threads,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
