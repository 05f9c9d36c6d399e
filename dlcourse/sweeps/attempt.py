"""Run or resume one trial in this process."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dlcourse.config.groups import CHECKOUT
from dlcourse.config.overrides import Overrides
from dlcourse.config.own_text import quoted
from dlcourse.runs.files import write_json


def attempt(words: list[str], replace: bool = False) -> int:
    """Run or resume a trial with these overrides in this process; returns its exit code.

    A trial with several processes is a separate command, since Lightning starts the others by the command line; with
    ``replace`` that command replaces this process.
    """
    from dlcourse.config.gate import compose_checked
    from dlcourse.errors import exit_code, explain
    from dlcourse.runs.resume import resumed_run

    path, overrides = run_dir(words)
    status_file = path / "status.json"
    if not (path / "config.yaml").exists():
        status_file.unlink(missing_ok=True)  # left by an earlier refusal of this trial
    started = False
    try:
        overrides = Overrides.parse(words, overrides)
        composed = compose_checked(overrides)
        if "wandb" in composed.cfg.logger and composed.cfg.logger.group is None:
            composed.cfg.logger.group = path.parent.name
            composed = composed.resolved()
            words = [*words, quoted("logger.group", path.parent.name)]
        if str(composed.tree["trainer"]["strategy"]).startswith(("ddp", "fsdp")):
            command = [sys.executable, str(CHECKOUT / "train.py"), *words, "resume=auto"]
            if replace:
                die_with_parent()
                os.execv(command[0], command)
            return subprocess.run(command).returncode
        kept_overrides = overrides.only(lambda key: key in ("allow", "run_dir") or key.startswith("callbacks.pruning."))
        resumed = resumed_run(kept_overrides.plus("resume=auto"))
        from dlcourse.report import build_report
        from dlcourse.runs.fit import train

        composed, continued = resumed or (composed, None)
        started = True
        train(composed, continued, build_report)
    except KeyboardInterrupt:  # before there was any state to save
        return 130
    except BaseException as error:
        refusal = explain(error)
        code = exit_code(refusal or error)
        if not started or not status_file.exists():
            record_refusal(path, code, refusal or error)
        if refusal is None and code == 1:
            raise
        return code
    return 0


def run_dir(words: Sequence[str]) -> tuple[Path, Overrides]:
    """The directory of a trial with these overrides, and its parsed ``run_dir`` override."""
    overrides = Overrides.parse(each for each in words if each.startswith("run_dir="))
    return Path(str(overrides.text("run_dir"))), overrides


def record_refusal(path: Path, code: int, error: BaseException) -> None:
    """Write the status of a trial that was refused before it created its directory."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "status.json", {"status": "failed", "exit_code": code, "reason": str(error)})


def die_with_parent() -> None:
    """On Linux, send this process SIGTERM when its parent ends, also after exec."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
