"""Trials in parallel processes on one machine; one that dies does not stop the others."""

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

GRACE = 30.0  # seconds to save the state after the sweep's own process has ended

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
METHOD = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
context: Any = get_context(METHOD)


def preload() -> None:
    """Start the imports while the trials are still being planned."""
    if METHOD == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        resource_tracker.ensure_running()  # starting it later would unblock the signals
        context.set_forkserver_preload(["dlcourse.sweeps.preload"])
        # A terminal sends Ctrl-C to the server too: it and its children block signals until they handle them.
        old_handlers = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old_handlers)


def run(sweep: Sweep, parts: Iterable[list[int]], workers: int, task: Callable[[list[list[str]]], int]) -> None:
    """Run trials in processes, ``workers`` at a time; ``task`` gets the overrides of the trials of one process.

    The next part starts when a worker is free. A signal stops all trials after they have saved their state. A task that
    raises Refused stops the sweep with the same refusal.
    """
    free_workers, pending = list(range(workers)), iter(parts)
    running: dict[Any, tuple[Any, list[int], int, Any]] = {}
    refusals: list[tuple[str, int]] = []
    stopped = context.RawValue("i", 0)  # for processes that did not handle signals yet when one came

    def forward_signal(process: Any) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(process.pid, sweep.stopped)

    def stop(signum: int, frame: FrameType | None) -> None:
        sweep.stopped = stopped.value = signum
        for process, *_ in list(running.values()):
            forward_signal(process)

    old_handlers = {signum: signal.signal(signum, stop) for signum in SIGNALS}
    try:
        import dlcourse.report.sweep  # noqa: F401  used at the end; imported while the server is importing too

        while True:
            while free_workers and not sweep.stopped and not refusals and (numbers := next(pending, None)) is not None:
                worker = free_workers.pop(0)
                log = sweep.path(numbers[0]).with_suffix(".log")
                sweep.begin(*numbers)
                receiver, sender = context.Pipe(duplex=False)
                jobs = [sweep.job(number) for number in numbers]
                process = context.Process(target=process_main, args=(task, jobs, log, worker, workers, sender, stopped))
                process.start()
                sender.close()
                running[process.sentinel] = process, numbers, worker, receiver
                if sweep.stopped:  # a signal came while it was being started
                    forward_signal(process)
            if not running:
                break
            for sentinel in connection.wait(list(running), timeout=1):  # wake up to handle signals
                process, numbers, worker, receiver = running.pop(sentinel)
                process.join()
                free_workers.append(worker)
                if receiver.poll():
                    with suppress(EOFError):  # it ended without a refusal
                        refusals.append(receiver.recv())
                        sweep.reset(*numbers)
                        continue
                sweep.end(*numbers, code=process.exitcode)
    finally:
        for signum, handler in old_handlers.items():
            signal.signal(signum, handler)
    if refusals:
        raise Refused(*refusals[0])


def run_one(jobs: list[list[str]]) -> int:
    """Task of a process that runs one trial."""
    return attempt(jobs[0], replace=True)


def process_main(
    task: Callable[[list[list[str]]], int],
    jobs: list[list[str]],
    log: Any,
    worker: int,
    workers: int,
    sender: Any,
    stopped: Any,
) -> None:
    """Main function of a process that runs trials: sets its threads and GPU, redirects output to ``log``, runs them."""
    os.setsid()  # Ctrl-C reaches only the sweep, which forwards it once
    try:
        for signum in SIGNALS:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
        if stopped.value:  # signals were blocked until here
            sys.exit(128 + stopped.value)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        threading.Thread(target=stop_with_parent, daemon=True).start()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(out, stream)
        share_machine(worker, workers)
        code = task(jobs)
    except Refused as refusal:
        sender.send((str(refusal), refusal.code))
        code = refusal.code
    except KeyboardInterrupt:  # where no run handles it: during imports, or while results are written
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # ignore a second signal
        code = 128 + signal.SIGINT
    sys.exit(code)


def stop_with_parent() -> None:
    """Save the state and stop when the sweep's own process has ended."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE)
    os._exit(128 + signal.SIGTERM)


def share_machine(worker: int, workers: int) -> None:
    """Divide the threads among the workers; with several GPUs, use one each."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(k) for k in range(torch.cuda.device_count())]
    if workers > 1 and len(devices) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[worker % len(devices)]
