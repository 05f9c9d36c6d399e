"""One trial in one process: started or continued, and its end written in its directory."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dlcourse.config.groups import CHECKOUT
from dlcourse.config.overrides import Overrides, word
from dlcourse.runs.files import write_json


def attempt(words: list[str], replace: bool = False) -> int:
    """Run a trial in this process, or continue it; its exit code. What it leaves in its directory says the rest.

    A trial of several processes is a command of its own, since Lightning starts the others by the command line;
    with ``replace`` it takes the place of this process.
    """
    from dlcourse.config.gate import compose_checked
    from dlcourse.errors import exit_code, explain
    from dlcourse.runs.resume import resumed_run

    path, overrides = run_dir(words)
    told = path / "status.json"
    if not (path / "config.yaml").exists():
        told.unlink(missing_ok=True)  # of a trial that was refused before it had anything else
    begun = False
    try:
        overrides = Overrides.parse(words, overrides)
        composed = compose_checked(overrides)
        if "wandb" in composed.cfg.logger and composed.cfg.logger.group is None:
            composed.cfg.logger.group = path.parent.name
            composed = composed.resolved()
            words = [*words, word("logger.group", path.parent.name)]
        if str(composed.tree["trainer"]["strategy"]).startswith(("ddp", "fsdp")):
            command = [sys.executable, str(CHECKOUT / "train.py"), *words, "resume=auto"]
            if replace:
                die_with_parent()
                os.execv(command[0], command)
            return subprocess.run(command).returncode
        also = overrides.only(lambda key: key in ("allow", "run_dir") or key.startswith("callbacks.pruning."))
        found = resumed_run(also.plus("resume=auto"))
        from dlcourse.report import build_report
        from dlcourse.runs.fit import train

        composed, continued = found or (composed, None)
        begun = True
        train(composed, continued, build_report)
    except KeyboardInterrupt:  # before there was anything to save
        return 130
    except BaseException as error:
        known = explain(error)
        code = exit_code(known or error)
        if not begun or not told.exists():
            record_refusal(path, code, known or error)
        if known is None and code == 1:
            raise
        return code
    return 0


def run_dir(words: Sequence[str]) -> tuple[Path, Overrides]:
    """Where a trial with these words lies, and the one override that says so."""
    said = Overrides.parse(each for each in words if each.startswith("run_dir="))
    return Path(str(said.text("run_dir"))), said


def record_refusal(path: Path, code: int, error: BaseException) -> None:
    """Write the status of a trial that was refused before it had a directory of its own."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "status.json", {"status": "failed", "exit_code": code, "reason": str(error)})


def die_with_parent() -> None:
    """On Linux: SIGTERM when the process that made this one ends, also after it has become another program."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
