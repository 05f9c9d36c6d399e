"""The run directory: everything that a run leaves behind."""

import json
import os
import platform
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper
from omegaconf.errors import OmegaConfBaseException

from dlcourse.config import CHECKOUT, Composed, stored
from dlcourse.errors import ENVIRONMENT, Refused

#: What a run may have left that was killed while its directory was made.
LEFTOVER = re.compile(r"\.lock|checkpoints|overrides\.yaml|\.\w+\.(yaml|json)\.\d+")
PACKAGES = ("dlcourse", "torch", "torchvision", "lightning", "hydra-core", "wandb", "numpy", "scikit-learn")


class Dumper(yaml.CSafeDumper):
    """PyYAML's in C, in a sixth of the time, with OmegaConf's quotes: 1e-3 as text is a number to its reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


Dumper.add_representer(str, get_omega_conf_dumper().str_representer)


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all. What is no Unicode (of a file's name) is escaped, as JSON escapes it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(beside, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def write_json(path: Path, value: Any) -> None:
    write(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_yaml(path: Path, value: Any) -> None:
    try:
        text = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True)
    except UnicodeEncodeError:  # the name of a file that is no UTF-8
        text = OmegaConf.to_yaml(value)
    write(path, text)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file; a last one that was cut short is left out."""
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def series(row: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """Figures whose names end in numbers, as gradient/1, gradient/2, …: by their common name, in order."""
    found: dict[str, dict[int, float]] = {}
    for key, value in row.items():
        name, _, place = key.rpartition("/")
        if place.isdigit() and isinstance(value, int | float):
            found.setdefault(name, {})[int(place)] = float(value)
    return {name: dict(sorted(line.items())) for name, line in found.items()}


class RunDirectory:
    """A directory, created exclusively and locked while its run lives; other processes than the first hold its path.

    config.yaml overrides.yaml environment.json status.json metrics.jsonl timing.jsonl metrics.json checkpoints/
    report.html
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.lock: FileLock | None = None
        self.surplus: list[dict[str, Any]] = []  # rows that an earlier life wrote after its last checkpoint

    @classmethod
    def create(cls, composed: Composed) -> "RunDirectory":
        """A new directory for a run; ``run_dir=`` must not hold one already."""
        run = cls(Path(composed.cfg.run_dir) if composed.cfg.run_dir else None)
        try:
            run._make(composed)
        except OSError as error:
            raise Refused(f"cannot write {error.filename or run.path}: {error.strerror}", ENVIRONMENT) from None
        return run

    def go_on(self, composed: Composed, rows: int, step: int) -> None:
        """Begin again behind the first ``rows`` of metrics.jsonl: what came after the checkpoint will come again."""
        assert self.path is not None
        (self.path / "metrics.json").unlink(missing_ok=True)
        write_yaml(self.path / "config.yaml", stored(composed.cfg, composed.choices))
        write_yaml(self.path / "overrides.yaml", list(composed.words))
        written = read_rows(self.path / "metrics.jsonl")
        self.surplus = written[rows:]
        timed = [row for row in read_rows(self.path / "timing.jsonl") if row["step"] <= step]
        for name, kept in (("metrics.jsonl", written[:rows]), ("timing.jsonl", timed)):
            write(self.path / name, "".join(json.dumps(row) + "\n" for row in kept))
        self.status("running")

    def _make(self, composed: Composed) -> None:
        cfg, choices = composed.cfg, composed.choices
        if self.path is None:
            now = datetime.now()
            stem = f"{now:%H-%M-%S}_{choices['model']}_{choices['data']}_{secrets.token_hex(3)}"
            self.path = Path(cfg.paths.runs_dir) / f"{now:%Y-%m-%d}" / stem
        self.path = self.path.expanduser().resolve()
        self.path.mkdir(parents=True, exist_ok=True)
        self.acquire()
        if (self.path / "config.yaml").exists():
            raise Refused(f"run_dir={self.path} holds a run already; continue it with resume={self.path}")
        if any(not LEFTOVER.fullmatch(file.name) for file in self.path.iterdir()) or any(self.path.glob("*/*")):
            raise Refused(f"run_dir={self.path} holds other files; a run begins in a new or an empty directory")
        (self.path / "checkpoints").mkdir(exist_ok=True)
        write_yaml(self.path / "overrides.yaml", list(composed.words))
        # With it there is a run, that can be gone on with; without it nothing is lost.
        write_yaml(self.path / "config.yaml", stored(cfg, choices))
        self.status("running")

    def acquire(self) -> None:
        """Take the lock, which the operating system gives back when the process ends, however it ends."""
        assert self.path is not None
        self.lock = FileLock(self.path / ".lock")
        try:
            self.lock.acquire(timeout=0.5, poll_interval=0.02)  # whoever only looks at runs holds it for a moment
        except Timeout:
            raise Refused(f"{self.path} belongs to a run that is still going", ENVIRONMENT) from None

    def release(self) -> None:
        if self.lock is not None:
            self.lock.release()

    def status(self, status: str, code: int | None = None, reason: str | None = None) -> None:
        """``running``, ``finished``, ``failed`` or ``interrupted``, with the exit code and the reason."""
        if self.path is not None and self.lock is not None:
            write_json(self.path / "status.json", {"status": status, "exit_code": code, "reason": reason})


def environment(device: str, threads: int) -> dict[str, Any]:
    """What a run ran on: versions, the code's commit, device and threads."""
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


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def open_run(run: str | Path | None, word: str = "run") -> tuple[Path, DictConfig]:
    """The directory and the configuration of a run that a command names by ``run=`` (or another word)."""
    if not run:
        raise Refused("run=: which run directory? (python scripts/runs.py lists them)")
    path = Path(run).expanduser().resolve()
    if not (path / "config.yaml").is_file():
        raise Refused(f"{word}={run} is no run directory: it has no config.yaml")
    try:
        cfg = OmegaConf.load(path / "config.yaml")
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise Refused(f"{path / 'config.yaml'} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(cfg, DictConfig) or not isinstance(cfg.get("choice"), DictConfig):
        raise Refused(f"{path / 'config.yaml'} is not the configuration of a run")
    cfg.run_dir = str(path)
    return path, cfg


def from_here(path: Path) -> str:
    """A path from where the person stands, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def is_live(path: Path) -> bool:
    """Whether a process holds the lock of a run directory."""
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):  # or where nothing may be written: as it says of itself
        return True
    lock.release()
    return False
