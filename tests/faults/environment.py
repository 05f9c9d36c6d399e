"""F: disks, permissions, concurrent starts, and a W&B server that is not there."""

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from dlcourse.runs.files import read_rows
from tests.faults.process import Done, Fault, fill, start, stunt
from tests.faults.rows import ABSENT, REFUSED, SILENT, SURVIVED, Outcome, Row, compared, judged
from tests.faults.subjects import Subject


def refilled(subject: Subject, folder: Path, fault: Fault, freed: Callable[[], object] = lambda: None) -> Outcome:
    """A write that fails, then a disk with room again: refused clearly, and what was there goes on to the same end."""
    straight, run = subject.straight(dropout=0.2), folder / "run"
    outcome = judged(subject.train(run, fault=fault, dropout=0.2), "run")
    if outcome.kind != REFUSED:
        return outcome
    freed()
    after = compared(subject, subject.resume(run, dropout=0.2), run, straight)
    return outcome if after.kind == SURVIVED else after


def stunted(subject: Subject, folder: Path, *, limit: int) -> Outcome:
    """Files cannot grow any more."""
    return refilled(subject, folder, Fault(14, partial(stunt, limit)))


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Outcome | None]:
    """A disk of its own at ``folder``, in memory; where none can be made, that is the outcome."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        yield Outcome(ABSENT, 0, f"no disk can be mounted here: {error}")
        return
    try:
        yield None
    finally:
        subprocess.run(["umount", folder], check=True)


def full(subject: Subject, folder: Path, *, step: int) -> Outcome:
    """Four megabytes, of which no byte is left after a step."""
    with disk(folder / "disk", "size=4m") as none:
        filler = folder / "disk" / "filler"
        return none or refilled(subject, folder / "disk", Fault(step, partial(fill, filler)), filler.unlink)


def read_only(subject: Subject, folder: Path) -> Outcome:
    """A disk that is mounted for reading: told before a step is taken."""
    with disk(folder / "disk", "ro") as none:
        run = folder / "disk" / "run"
        return none or judged(subject.train(run), folder / "disk", untrained=folder)


def closed(subject: Subject, folder: Path) -> Outcome:
    """A place where no folder can be made, whoever asks."""
    (folder / "file").write_text("")
    return judged(subject.train(folder / "file" / "run"), folder / "file", untrained=folder)


def together(subject: Subject, folder: Path) -> Outcome:
    """Three runs started in the same second, with nothing said about where."""
    words = {"dlcourse": f"paths.runs_dir={folder}/runs"}.get(subject.name, f"hydra.run.dir={folder}/${{run_dir}}")
    runs = []
    for seed in range(3):
        path = "null" if subject.name == "dlcourse" else "runs/${now:%Y-%m-%d}/${now:%H-%M-%S}"
        runs.append(subject.start(Path(path), words, f"seed={seed}", epochs=1))
    ends = [each.end() for each in runs]
    configs = [path.read_text() for path in folder.rglob("config.yaml")]
    seeds = {seed for seed in range(3) for text in configs if f"\nseed: {seed}\n" in f"\n{text}"}
    if any(done.code for done in ends):
        return judged(next(done for done in ends if done.code))
    return Outcome(SURVIVED if len(configs) == len(seeds) == 3 else SILENT, 0, f"{len(configs)} directories for 3 runs")


def live(subject: Subject, folder: Path, *, resume: bool) -> Outcome:
    """A second start into the directory of a run that is going on."""
    run = folder / "run"
    first = subject.start(run, epochs=5000)
    deadline = time.monotonic() + 60
    while not subject.checkpoints(run)[0].exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    second = subject.resume(run, epochs=1) if resume else subject.train(run, epochs=1)
    os.killpg(first.process.pid, 9)
    first.end()
    return judged(second, run)


def recorded(file: Path, kind: str) -> list[dict[str, Any]]:
    """The records of one kind in a .wandb file, read by W&B's own tool."""
    return [row[kind] for row in _records(file, file.stat().st_mtime_ns) if row.get("type") == kind]


@cache
def _records(file: Path, changed: int) -> list[dict[str, Any]]:
    """All that the file holds since it was changed; the tool takes a second."""
    tool = shutil.which("wandb", path=str(Path(sys.executable).parent)) or "wandb"
    done = subprocess.run([tool, "leet", "inspect", "--json", str(file)], capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def logging(subject: Subject) -> str:
    return {"dlcourse": "logger=wandb"}.get(subject.name, "wandb=true")


def no_server(subject: Subject, folder: Path, *, mute: bool) -> Outcome:
    """A key, and nobody who answers: the run goes on, at most two seconds later than offline, in one file.

    A busy machine can hold up either run: where it is more, two other pairs are timed, and the median counts.
    """
    delays = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if mute:  # or there is nobody behind the port
            server.listen()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        env = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": url, "WANDB_MODE": "online"}
        for k in range(3):
            offline = subject.train(folder / f"offline{k}", logging(subject), epochs=1, env={"WANDB_MODE": "offline"})
            done = subject.train(folder / f"run{k}", logging(subject), epochs=1, env=env)
            files = list((folder / f"run{k}").rglob("*.wandb"))
            delays.append(done.seconds - offline.seconds)
            if done.code:
                return judged(done)
            if delays[0] <= 2 or len(files) != 1:
                break
    late = statistics.median(delays)
    kind = SURVIVED if late <= 2 and len(files) == 1 else SILENT
    return Outcome(kind, 0, f"{late:.1f} s later, {len(files)} files")


def logged_until_killed(subject: Subject, folder: Path) -> Outcome:
    """SIGKILL after some seconds of training: W&B's file lacks at most the last one of them."""
    run = folder / "run"
    steps = 300 * subject.epoch
    done = subject.train(run, logging(subject), fault=Fault(steps), epochs=400, env={"WANDB_MODE": "offline"})
    if done.code != -signal.SIGKILL:
        raise RuntimeError(f"it was not killed, but ended with {done.code}: {done.err}")
    (file,) = run.rglob("*.wandb")
    rows = [row["item"] for row in recorded(file, "history")]
    if not rows:
        return Outcome(SILENT, done.code, f"W&B's file holds no row of {steps} steps")
    missing = done.at - rows[-1]["_timestamp"]
    if subject.name == "dlcourse":
        told = [row["step"] for row in read_rows(run / "metrics.jsonl") if "train/loss_step" in row]
        if told != list(range(3, steps, 3)):
            return Outcome(SILENT, done.code, f"metrics.jsonl ends at step {told[-1:]} of {steps}")
    return Outcome(SURVIVED if missing <= 1 else SILENT, done.code, f"{missing:.2f} s of rows are missing")


FAULTY = """
import os, signal
import torch
from lightning.pytorch.callbacks import Callback

class Faulty(Callback):
    def __init__(self, kind):
        self.kind = kind

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == 14 and os.environ.get("FAULT"):
            if self.kind == 1:
                raise RuntimeError("the user's own line")
            if self.kind == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.kind == 3:
                torch.nn.init.constant_(next(module.parameters()), float("inf"))
"""


def swept(subject: Subject, folder: Path) -> Outcome:
    """Of five trials one raises, one is killed, one diverges; the same command again, and once more for the failed."""
    (folder / "faulty.py").write_text(FAULTY)
    straight, trials = subject.straight(), folder / "sweep"
    words = [*subject.sweeping(trials), "+callbacks.x._target_=faulty.Faulty", "+callbacks.x.kind=0,1,2,3,4"]
    words += ["allow=[faulty]"] * (subject.name == "dlcourse")

    def sweep(*more: str, **env: str) -> Done:
        return start(subject.script, [*words, *more], None, PYTHONPATH=str(folder), **env).end()

    def ended(*wanted: int) -> bool:
        done = [k for k in range(5) if subject.has_ended(trials / f"{k:04d}")]
        return done == list(wanted) and all(subject.same(trials / f"{k:04d}", straight) for k in done)

    first = sweep(FAULT="yes")
    if first.code:
        return judged(first)
    said = all(word in first.err for word in ("the user's own line", "killed", "diverged"))
    if not said or not ended(0, 4):
        return Outcome(SILENT, 0, first.err)
    again = sweep()
    if again.code or not ended(0, 2, 4):
        return Outcome(SILENT, again.code, again.err)
    retried = sweep("sweep.retry=failed")
    return Outcome(SURVIVED if ended(0, 1, 2, 3, 4) else SILENT, retried.code, retried.err)


ROWS = [
    *(
        Row(f"F1-{limit}", f"no file can grow beyond {limit} bytes", partial(stunted, limit=limit), REFUSED, 5)
        for limit in (200, 9000)
    ),
    *(
        Row(f"F1-full-{step}", f"no byte is left on the disk after step {step}", partial(full, step=step), REFUSED, 5)
        for step in (14, 21)
    ),
    Row("F2-disk", "a disk mounted for reading", read_only, REFUSED, 5),
    Row("F2-closed", "a place where no folder can be made", closed, REFUSED, 5),
    Row("F3", "three runs started in the same second", together, SURVIVED, 0),
    Row("F4-start", "a second run into a live directory", partial(live, resume=False), REFUSED, 5),
    Row("F4-resume", "a resume of a live run", partial(live, resume=True), REFUSED, 5),
    Row("F5-nobody", "W&B: a key and no server", partial(no_server, mute=False), SURVIVED, 0),
    Row("F5-mute", "W&B: a key and a server that never answers", partial(no_server, mute=True), SURVIVED, 0),
    Row("F5-killed", "SIGKILL of a run that W&B records", logged_until_killed, SURVIVED, -9),
    Row("F6", "a sweep in which one raises, one is killed, one diverges", swept, SURVIVED, 0),
]
