"""Trials side by side on one machine, each in a process of its own: one that dies is a row, and the others go on."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import connection, get_all_start_methods, get_context, parent_process
from types import FrameType
from typing import Any

from dlcourse.errors import Refused
from dlcourse.sweeps.attempt import attempt
from dlcourse.sweeps.trials import Sweep

GRACE = 30.0  # seconds for the state to be saved, once the sweep itself is gone

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
METHOD = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
context: Any = get_context(METHOD)


def warm() -> None:
    """Begin with the imports, while the trials are still being planned."""
    if METHOD == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        resource_tracker.ensure_running()  # which unblocks them
        context.set_forkserver_preload(["dlcourse.sweeps.preload"])
        # A terminal sends Ctrl-C to the server too: it and its children hear no signal until they listen.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(sweep: Sweep, parts: Iterable[list[int]], workers: int, task: Callable[[list[list[str]]], int]) -> None:
    """Run trials in processes, ``workers`` at a time; ``task`` is given the words of those of one process.

    The next part is asked for when a place is free. A signal stops all, with their state saved. What a task refuses
    to do at all (it raises Refused) is refused here.
    """
    places, ahead = list(range(workers)), iter(parts)
    going: dict[Any, tuple[Any, list[int], int, Any]] = {}
    refusals: list[tuple[str, int]] = []
    stopped = context.RawValue("i", 0)  # read by a process that was not listening yet when the signal came

    def hand_on(process: Any) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(process.pid, sweep.stopped)

    def stop(signum: int, frame: FrameType | None) -> None:
        sweep.stopped = stopped.value = signum
        for process, *_ in list(going.values()):
            hand_on(process)

    before = {signum: signal.signal(signum, stop) for signum in SIGNALS}
    try:
        import dlcourse.report.sweep  # noqa: F401  wanted at the end; now the server is still importing

        while True:
            while places and not sweep.stopped and not refusals and (numbers := next(ahead, None)) is not None:
                place = places.pop(0)
                log = sweep.path(numbers[0]).with_suffix(".log")
                sweep.begin(*numbers)
                theirs, ours = context.Pipe(duplex=False)
                jobs = [sweep.job(number) for number in numbers]
                process = context.Process(target=work, args=(task, jobs, log, place, workers, ours, stopped))
                process.start()
                ours.close()
                going[process.sentinel] = process, numbers, place, theirs
                if sweep.stopped:  # while it was being started
                    hand_on(process)
            if not going:
                break
            for sentinel in connection.wait(list(going), timeout=1):  # a signal is looked at in between
                process, numbers, place, theirs = going.pop(sentinel)
                process.join()
                places.append(place)
                if theirs.poll():
                    with suppress(EOFError):  # it ended, and had nothing to say
                        refusals.append(theirs.recv())
                        sweep.wait(*numbers)
                        continue
                sweep.end(*numbers, code=process.exitcode)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if refusals:
        raise Refused(*refusals[0])


def alone(jobs: list[list[str]]) -> int:
    """The task of a process for one trial."""
    return attempt(jobs[0], replace=True)


def work(
    task: Callable[[list[list[str]]], int],
    jobs: list[list[str]],
    log: Any,
    place: int,
    workers: int,
    ours: Any,
    stopped: Any,
) -> None:
    """A process for trials: its share of the machine, its output in a file; it ends when the sweep does."""
    os.setsid()  # Ctrl-C reaches the sweep, which hands it on once
    try:
        for signum in SIGNALS:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
        if stopped.value:  # the server's children hear nothing until here
            sys.exit(128 + stopped.value)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        threading.Thread(target=follow, daemon=True).start()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(out, stream)
        share(place, workers)
        code = task(jobs)
    except Refused as refusal:
        ours.send((str(refusal), refusal.code))
        code = refusal.code
    except KeyboardInterrupt:  # where no run listens: between imports, or as what was trained is written
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # a second one changes nothing
        code = 128 + signal.SIGINT
    sys.exit(code)


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
