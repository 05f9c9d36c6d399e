"""Real processes, with real faults: forked from a server that has torch and Lightning loaded."""

import ctypes
import multiprocessing
import os
import resource
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

PRELOADED = ["torch", "lightning.pytorch", "hydra", "dlcourse.training", "dlcourse.faults.process"]
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True)
class Fault:
    """What befalls a process once it has taken ``step`` optimizer steps: a signal, or files that may not grow.

    ``limit`` is the size in bytes beyond which no file can be written: with ``signum=SIGXFSZ`` the system ends the
    process at that byte, without, the write fails as on a full disk. ``validating``: at the next forward pass in
    evaluation mode.
    """

    step: int
    signum: int | None = signal.SIGKILL
    limit: int | None = None
    validating: bool = False

    def install(self) -> None:
        """Hooks of PyTorch's own that every optimizer and module calls, whoever wrote the training."""
        from torch.nn.modules.module import register_module_forward_pre_hook
        from torch.optim.optimizer import register_optimizer_step_post_hook

        steps = count(1)
        due = False

        def stepped(*_: Any) -> None:
            nonlocal due
            if next(steps) == self.step:
                due = True
                if not self.validating:
                    self.strike()

        def forward(module: Any, _: Any) -> None:
            if due and self.validating and not module.training:
                self.strike()

        register_optimizer_step_post_hook(stepped)
        register_module_forward_pre_hook(forward)

    def strike(self) -> None:
        if self.limit is not None:
            if self.signum is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, resource.RLIM_INFINITY))
        elif self.signum is not None:
            os.kill(os.getpid(), self.signum)


@dataclass(frozen=True)
class Done:
    """How a process ended: its exit code (−9: killed), what it printed, its seconds."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass
class Running:
    """A process that was started; ``end`` waits for it."""

    process: Any
    folder: Path
    began: float = field(default_factory=time.monotonic)

    def end(self, timeout: float = 120) -> Done:
        self.process.join(timeout)
        if self.process.exitcode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise TimeoutError(
                f"no end after {timeout} s: {(self.folder / 'err').read_text('utf-8', 'replace')[-2000:]}"
            )
        seconds = time.monotonic() - self.began
        out, err = ((self.folder / name).read_text("utf-8", "replace") for name in ("out", "err"))
        return Done(self.process.exitcode, out, err, seconds)


def start(script: Path, words: Sequence[str], fault: Fault | None = None, **env: str) -> Running:
    """``python SCRIPT WORDS`` with a fault to come and with more environment variables."""
    folder = Path(tempfile.mkdtemp(prefix="process-"))
    process = context.Process(target=_child, args=(str(script), [*map(str, words)], str(folder), fault, env))
    process.start()
    return Running(process, folder)


def _child(script: str, words: list[str], folder: str, fault: Fault | None, env: dict[str, str]) -> None:
    os.setsid()
    multiprocessing.set_start_method(None, force=True)  # its data workers start as in any process
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no process outlives the one that asked for it
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    os.chdir(folder)
    os.environ.pop("HYDRA_FULL_ERROR", None)  # our own commands set it for themselves
    os.environ.update(env)
    sys.argv = [script, *words]
    sys.path[:0] = [str(Path(script).parent), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    if fault:
        fault.install()
    runpy.run_path(script, run_name="__main__")
