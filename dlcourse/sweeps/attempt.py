"""One trial in one process: begun, or gone on with, and its end left in its directory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from dlcourse.config import CHECKOUT
from dlcourse.rundir import write_json


def attempt(words: list[str], replace: bool = False) -> int:
    """Run a trial in this process, or go on with it; its exit code. What it leaves in its directory says the rest.

    A trial of several processes is a command of its own, since Lightning starts the others by the command line;
    with ``replace`` it takes the place of this process.
    """
    from dlcourse.errors import exit_code, explain
    from dlcourse.gate import admit
    from dlcourse.restore import continuation

    path = Path(next(word for word in words if word.startswith("run_dir=")).partition("=")[2])
    told = path / "status.json"
    if not (path / "config.yaml").exists():
        told.unlink(missing_ok=True)  # of a trial that was refused before it had anything else
    begun = False
    try:
        composed = admit(words)
        if "wandb" in composed.cfg.logger and composed.cfg.logger.group is None:
            composed.cfg.logger.group = path.parent.name
            words = [*words, f"logger.group={path.parent.name}"]
        if str(composed.cfg.trainer.strategy).startswith(("ddp", "fsdp")):
            command = [sys.executable, str(CHECKOUT / "train.py"), *words, "resume=auto"]
            if replace:
                die_with_parent()
                os.execv(command[0], command)
            return subprocess.run(command).returncode
        also = [word for word in words if word.startswith(("allow=", "+callbacks.pruning."))]
        found = continuation([*also, f"run_dir={path}", "resume=auto"])
        from dlcourse.training import train

        begun = True
        train(*(found or (composed,)))
    except KeyboardInterrupt:  # before there was anything to save
        return 130
    except BaseException as error:
        known = explain(error)
        code = exit_code(known or error)
        if not begun or not told.exists():
            path.mkdir(parents=True, exist_ok=True)
            write_json(told, {"status": "failed", "exit_code": code, "reason": str(known or error)})
        if known is None and code == 1:
            raise
        return code
    return 0


def die_with_parent() -> None:
    """On Linux: SIGTERM when the process that made this one ends, also after it has become another program."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
