"""One trial in one process: begun, or gone on with, and its end left in its directory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from dlcourse.config.groups import CHECKOUT
from dlcourse.config.overrides import parse, word
from dlcourse.runs.files import write_json


def attempt(words: list[str], replace: bool = False) -> int:
    """Run a trial in this process, or go on with it; its exit code. What it leaves in its directory says the rest.

    A trial of several processes is a command of its own, since Lightning starts the others by the command line;
    with ``replace`` it takes the place of this process.
    """
    from dlcourse.config.gate import admit
    from dlcourse.errors import exit_code, explain
    from dlcourse.runs.resume import continuation

    path = run_dir(words)
    told = path / "status.json"
    if not (path / "config.yaml").exists():
        told.unlink(missing_ok=True)  # of a trial that was refused before it had anything else
    begun = False
    try:
        composed = admit(words)
        if "wandb" in composed.cfg.logger and composed.cfg.logger.group is None:
            composed.cfg.logger.group = path.parent.name
            words = [*words, word("logger.group", path.parent.name)]
        if str(composed.cfg.trainer.strategy).startswith(("ddp", "fsdp")):
            command = [sys.executable, str(CHECKOUT / "train.py"), *words, "resume=auto"]
            if replace:
                die_with_parent()
                os.execv(command[0], command)
            return subprocess.run(command).returncode
        also = [each for each in words if each.startswith(("allow=", "+callbacks.pruning."))]
        found = continuation([*also, word("run_dir", path), "resume=auto"])
        from dlcourse.runs.fit import train

        begun = True
        train(*(found or (composed,)))
    except KeyboardInterrupt:  # before there was anything to save
        return 130
    except BaseException as error:
        known = explain(error)
        code = exit_code(known or error)
        if not begun or not told.exists():
            leave(path, code, known or error)
        if known is None and code == 1:
            raise
        return code
    return 0


def run_dir(words: list[str]) -> Path:
    """Where a trial with these words lies."""
    (said,) = parse([each for each in words if each.startswith("run_dir=")])
    return Path(str(said.value()))


def leave(path: Path, code: int, error: BaseException) -> None:
    """The end of a trial that never had a directory of its own."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "status.json", {"status": "failed", "exit_code": code, "reason": str(error)})


def die_with_parent() -> None:
    """On Linux: SIGTERM when the process that made this one ends, also after it has become another program."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
