"""The run directory: everything that a run leaves behind."""

import json
import re
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcourse.config.compose import Composed
from dlcourse.config.gate import check_targets
from dlcourse.config.overrides import Overrides
from dlcourse.config.rules import check_rules
from dlcourse.config.store import stored
from dlcourse.config.upgrade import needs_upgrade, upgrade
from dlcourse.errors import ENVIRONMENT, Refused
from dlcourse.runs.files import read_rows, write, write_json, write_yaml

#: What a run may have left that was killed while its directory was made.
LEFTOVER = re.compile(r"\.lock|checkpoints|overrides\.yaml|\.\w+\.(yaml|json)\.\d+")


class RunDirectory:
    """A directory, created exclusively and locked while its run lives; other processes than the first hold its path.

    config.yaml overrides.yaml environment.json status.json metrics.jsonl timing.jsonl metrics.json checkpoints/
    report.html
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.lock: FileLock | None = None
        self.surplus: list[dict[str, Any]] = []  # rows logged after the checkpoint that a resume continues from

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
        """Keep the first ``rows`` of metrics.jsonl: what was logged after the checkpoint will be logged again."""
        assert self.path is not None
        (self.path / "metrics.json").unlink(missing_ok=True)
        write_yaml(self.path / "config.yaml", stored(composed))
        write_yaml(self.path / "overrides.yaml", composed.overrides.words)
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
        write_yaml(self.path / "overrides.yaml", composed.overrides.words)
        # With this file there is a run that can be resumed; without it nothing is lost.
        write_yaml(self.path / "config.yaml", stored(composed))
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


def _commit(path: Path) -> str:
    """The commit of the code that wrote a run directory."""
    try:
        return str(json.loads((path / "environment.json").read_text("utf-8"))["git"]["commit"] or "of no commit")
    except (OSError, ValueError, KeyError, TypeError):
        return "of an unknown commit"


def load_checked(run: str | Path | None, overrides: Overrides, word: str = "run") -> tuple[Path, Composed]:
    """A run directory and its configuration, which passes the same checks as overrides do."""
    path, cfg = open_run(run, word)
    if needs_upgrade(cfg):
        if word == "resume":
            raise Refused(
                f"{run} was begun by earlier code ({_commit(path)}), which alone can continue it exactly\n"
                f"Check that commit out, or start a new run from its weights: init_from={run}"
            )
        cfg = upgrade(cfg)
        cfg.run_dir = str(path)
    try:
        composed = Composed(cfg, dict(cfg.choice), overrides, {}).resolved()
        check_targets(composed.tree, overrides.packages)
        check_rules(cfg, composed.choices)
    except (OmegaConfBaseException, AttributeError) as error:
        raise Refused(f"{path / 'config.yaml'} is not the configuration of a run: {error}") from None
    return path, composed
