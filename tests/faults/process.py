"""Real processes, with real faults: forked from a server that has torch and Lightning loaded."""

import contextlib
import ctypes
import errno
import multiprocessing
import multiprocessing.util
import os
import resource
import runpy
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.faults.preload"])


def send(signum: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), signum)


def stunt(limit: int, signum: int | None = None) -> None:
    """No file can grow beyond ``limit`` bytes: the write fails, or with ``signum=SIGXFSZ`` the process ends there."""
    if signum is not None:
        signal.signal(signum, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def fill(path: Path) -> None:
    """No byte is left on the disk of ``path``, which takes them all."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 9, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def kill_at_rename(number: int) -> None:
    """SIGKILL just before a checkpoint takes its name for the ``number``th time from now."""
    names = count(1)

    def heard(event: str, words: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(words[1]).endswith(".ckpt") and next(names) == number:
            send()

    sys.addaudithook(heard)


@dataclass(frozen=True)
class Fault:
    """What befalls a process once it has taken ``step`` optimizer steps.

    ``validating``: at the next forward pass in evaluation mode.
    """

    step: int
    strike: Callable[[], None] = send
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


@dataclass(frozen=True)
class Done:
    """How a process ended: its exit code (−9: killed), what it printed, its seconds, the time of its end."""

    code: int
    out: str
    err: str
    seconds: float
    at: float


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
        seconds, at = time.monotonic() - self.began, time.time()
        out, err = ((self.folder / name).read_text("utf-8", "replace") for name in ("out", "err"))
        shutil.rmtree(self.folder)
        return Done(self.process.exitcode, out, err, seconds, at)


def start(
    script: Path, words: Sequence[str], fault: Fault | None = None, cwd: Path | None = None, **env: str | None
) -> Running:
    """``python SCRIPT WORDS`` with a fault to come, and with more environment variables; those that are None are unset.

    ``cwd``: where it starts, else in a folder of its own.
    """
    folder = Path(tempfile.mkdtemp(prefix="process-"))
    words = [*map(str, words)]
    process = context.Process(target=_child, args=(str(script), words, str(folder), fault, str(cwd or folder), env))
    process.start()
    return Running(process, folder)


def fork_server(exe: Any, arguments: Sequence[Any], passed: Sequence[int]) -> int:
    """In place of ``util.spawnv_passfds``: a sweep's own server has what this process has imported, too.

    It holds the descriptors that it is passed and no others, as a new Python would: it ends with the sweep because
    nobody else holds the other end of one of them.
    """
    if "multiprocessing.forkserver" not in arguments[-1]:
        return spawn_python(exe, arguments, passed)
    if pid := os.fork():
        return pid
    try:
        forkserver._forkserver._lock = threading.Lock()  # it was held when this process was forked
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd > 2 and fd not in passed:
                with contextlib.suppress(OSError):  # that of the listing itself
                    os.close(fd)
        exec(arguments[-1])
    finally:
        os._exit(0)


spawn_python = multiprocessing.util.spawnv_passfds


def _child(
    script: str, words: list[str], folder: str, fault: Fault | None, cwd: str, env: dict[str, str | None]
) -> None:
    os.setsid()
    # The server's children inherit what it does not hear, where a sweep started it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))
    multiprocessing.set_start_method(None, force=True)  # its data workers start as in any process
    if sys.platform == "linux":
        multiprocessing.util.spawnv_passfds = fork_server
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no process outlives the one that asked for it
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    os.chdir(cwd)
    os.environ.pop("HYDRA_FULL_ERROR", None)  # our own commands set it for themselves
    for name, value in env.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    sys.argv = [script, *words]
    sys.path[:0] = [str(Path(script).parent), *filter(None, (env.get("PYTHONPATH") or "").split(os.pathsep))]
    if fault:
        fault.install()
    runpy.run_path(script, run_name="__main__")
