"""The run directory, which holds all files of a run."""

import json
import platform
import re
import secrets
import subprocess
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcourse.config.compose import Composed
from dlcourse.config.gate import check
from dlcourse.config.groups import CHECKOUT
from dlcourse.config.overrides import Overrides
from dlcourse.config.store import stored
from dlcourse.config.upgrade import needs_upgrade, upgrade
from dlcourse.errors import ENVIRONMENT, Refused
from dlcourse.runs.files import read_rows, write, write_json, write_yaml

PACKAGES = ("dlcourse", "torch", "torchvision", "lightning", "hydra-core", "wandb", "numpy", "scikit-learn")
#: Files left by a run that was killed while it created its directory.
LEFTOVER = re.compile(r"\.lock|checkpoints|overrides\.yaml|\.\w+\.(yaml|json)\.\d+")


class RunDirectory:
    """A directory, created exclusively and locked while the run is alive; other processes only know its path.

    config.yaml overrides.yaml environment.json status.json metrics.jsonl timing.jsonl metrics.json checkpoints/
    report.html
    """

    def __init__(self, path: Path | None):
        self.path: Path = path  # type: ignore[assignment]  # None where the first process has yet to broadcast it
        self.lock: FileLock | None = None
        self.rows_after_checkpoint: list[dict[str, Any]] = []  # of metrics.jsonl; a resumed run logs them again

    @classmethod
    def create(cls, composed: Composed) -> "RunDirectory":
        """Create the directory of a new run; ``run_dir=`` must not contain a run already."""
        cfg, choices = composed.cfg, composed.choices
        now = datetime.now()
        stem = f"{now:%H-%M-%S}_{choices['model']}_{choices['data']}_{secrets.token_hex(3)}"
        path = Path(cfg.run_dir or Path(cfg.paths.runs_dir) / f"{now:%Y-%m-%d}" / stem).expanduser().resolve()
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            run.acquire()
            if (path / "config.yaml").exists():
                raise Refused(f"run_dir={path} holds a run already; continue it with resume={path}")
            if any(not LEFTOVER.fullmatch(file.name) for file in path.iterdir()) or any(path.glob("*/*")):
                raise Refused(f"run_dir={path} holds other files; a run needs a new or an empty directory")
            run.checkpoints.mkdir(exist_ok=True)
            write_yaml(path / "overrides.yaml", composed.overrides.texts)
            # From here on the run can be resumed; without this file nothing is lost.
            write_yaml(path / "config.yaml", stored(composed))
            run.status("running")
        except OSError as error:
            raise Refused(f"cannot write {error.filename or path}: {error.strerror}", ENVIRONMENT) from None
        return run

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def reopen(self, composed: Composed, rows: int, step: int) -> None:
        """Prepare to resume: keep the first ``rows`` of metrics.jsonl, dropping those logged after the checkpoint."""
        (self.path / "metrics.json").unlink(missing_ok=True)
        write_yaml(self.path / "config.yaml", stored(composed))
        write_yaml(self.path / "overrides.yaml", composed.overrides.texts)
        written = read_rows(self.path / "metrics.jsonl")
        self.rows_after_checkpoint = written[rows:]
        timings = [row for row in read_rows(self.path / "timing.jsonl") if row["step"] <= step]
        for name, kept in (("metrics.jsonl", written[:rows]), ("timing.jsonl", timings)):
            write(self.path / name, "".join(json.dumps(row) + "\n" for row in kept))
        self.status("running")

    def acquire(self) -> None:
        """Take the lock; the operating system releases it when the process ends, for whatever reason."""
        self.lock = FileLock(self.path / ".lock")
        try:
            self.lock.acquire(timeout=0.5, poll_interval=0.02)  # is_live() holds it for a moment
        except Timeout:
            raise Refused(f"{self.path} is in use by a run that is still training", ENVIRONMENT) from None

    def release(self) -> None:
        if self.lock is not None:
            self.lock.release()

    def status(self, status: str, code: int | None = None, reason: str | None = None) -> None:
        """Write status.json: ``running``, ``finished``, ``failed`` or ``interrupted``, exit code and reason."""
        write_json(self.path / "status.json", {"status": status, "exit_code": code, "reason": reason})


def open_run(run: str | Path | None, key: str = "run") -> tuple[Path, DictConfig]:
    """The directory and the configuration of a run given by ``run=`` (or another ``key``)."""
    if not run:
        raise Refused("run=: which run directory? (python scripts/runs.py lists them)")
    path = Path(run).expanduser().resolve()
    if not (path / "config.yaml").is_file():
        raise Refused(f"{key}={run} is not a run directory: it has no config.yaml")
    try:
        cfg = OmegaConf.load(path / "config.yaml")
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise Refused(f"{path / 'config.yaml'} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(cfg, DictConfig) or not isinstance(cfg.get("choice"), DictConfig):
        raise Refused(f"{path / 'config.yaml'} is not the configuration of a run")
    cfg.run_dir = str(path)
    return path, cfg


def from_here(path: Path) -> str:
    """A path relative to the working directory, if it is inside it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def is_live(path: Path) -> bool:
    """Whether a process holds the lock of a run directory."""
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):  # or the directory is read-only: believe status.json
        return True
    lock.release()
    return False


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


def _commit(path: Path) -> str:
    """The git commit of the code that wrote a run directory."""
    try:
        return str(json.loads((path / "environment.json").read_text("utf-8"))["git"]["commit"] or "of no commit")
    except (OSError, ValueError, KeyError, TypeError):
        return "of an unknown commit"


def load_checked(run: str | Path | None, overrides: Overrides, key: str = "run") -> tuple[Path, Composed]:
    """A run directory and its configuration, checked as overrides are."""
    path, cfg = open_run(run, key)
    if needs_upgrade(cfg) and key == "resume":
        raise Refused(
            f"{run} was started with older code ({_commit(path)}); only that code can continue it exactly\n"
            f"Check out that commit, or start a new run from its weights: init_from={run}"
        )
    try:
        cfg = upgrade(cfg)
        return path, check(Composed(cfg, dict(cfg.choice), overrides, {}))
    except (OmegaConfBaseException, AttributeError, KeyError, TypeError) as error:
        raise Refused(f"{path / 'config.yaml'} is not the configuration of a run: {error}") from None
