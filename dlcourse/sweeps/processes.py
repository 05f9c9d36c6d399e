"""Trials side by side on one machine, each in a process of its own: one that dies is a row, and the others go on."""

import os
import signal
import sys
import threading
from collections.abc import Iterable
from multiprocessing import connection, get_all_start_methods, get_context, parent_process
from types import FrameType
from typing import Any

from dlcourse.sweeps.trials import Sweep, attempt

#: Imported once, by the server from which the trials' processes are forked.
IMPORTED = ["dlcourse.training", "dlcourse.callbacks.checkpoints", "dlcourse.models.mlp", "dlcourse.data.images"]
GRACE = 30.0  # seconds for the state to be saved, once the sweep itself is gone


def run(sweep: Sweep, numbers: Iterable[int], workers: int) -> None:
    """Run trials, ``workers`` at a time; each is asked for when a place is free. A signal stops them all, saved."""
    method = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
    context: Any = get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(IMPORTED)
    places, ahead = list(range(workers)), iter(numbers)
    going: dict[Any, tuple[Any, int, int]] = {}

    def stop(signum: int, frame: FrameType | None) -> None:
        sweep.stopped = signum
        for process, _, _ in going.values():
            os.kill(process.pid, signum)

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        while True:
            while places and not sweep.stopped and (number := next(ahead, None)) is not None:
                sweep.begin(number)
                place = places.pop(0)
                log = sweep.path(number).with_suffix(".log")
                process = context.Process(target=work, args=(sweep.job(number), log, place, workers))
                process.start()
                going[process.sentinel] = process, number, place
            if not going:
                return
            for sentinel in connection.wait(list(going), timeout=1):  # a signal is looked at in between
                process, number, place = going.pop(sentinel)
                process.join()
                places.append(place)
                sweep.end(number, process.exitcode)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def work(words: list[str], log: Any, place: int, workers: int) -> None:
    """A trial's process: its share of the machine, its output in a file; it ends when the sweep does."""
    os.setsid()  # Ctrl-C reaches the sweep, which hands it on once
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    threading.Thread(target=follow, daemon=True).start()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    share(place, workers)
    sys.exit(attempt(words, replace=True))


def follow() -> None:
    """Stop, with the state saved, when the sweep's own process is gone."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE)
    os._exit(128 + signal.SIGTERM)


def share(place: int, workers: int) -> None:
    """The machine's threads divided by the workers; of several GPUs one each."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(k) for k in range(torch.cuda.device_count())]
    if workers > 1 and len(devices) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[place % len(devices)]
