"""F: disks, permissions, concurrent starts, and a W&B server that is not there."""

import os
import time
from functools import partial
from pathlib import Path

from dlcourse.faults.process import Fault
from dlcourse.faults.rows import REFUSED, SILENT, SURVIVED, Outcome, Row, compared, judged
from dlcourse.faults.subjects import Subject


def full(subject: Subject, folder: Path, *, limit: int) -> Outcome:
    """Files cannot grow any more, then they can: refused clearly, and what was there goes on to the same end."""
    straight, run = subject.straight(dropout=0.2), folder / "run"
    outcome = judged(subject.train(run, fault=Fault(14, None, limit), dropout=0.2), "run")
    if outcome.kind != REFUSED:
        return outcome
    after = compared(subject, subject.resume(run, dropout=0.2), run, straight)
    return outcome if after.kind == SURVIVED else after


def unwritable(subject: Subject, folder: Path) -> Outcome:
    """A run directory where nothing may be written, told before training."""
    (folder / "file").write_text("")
    began = time.monotonic()
    done = subject.train(folder / "file" / "run")
    return judged(done, folder / "file") if time.monotonic() - began < 60 else Outcome(SILENT, done.code)


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


def silent_server(subject: Subject, folder: Path) -> Outcome:
    """A key, and nobody who answers: the run goes on, at most two seconds later than offline."""
    env = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_MODE": "online"}
    words = {"dlcourse": "logger=wandb"}.get(subject.name, "wandb=true")
    offline = subject.train(folder / "offline", words, epochs=1, env={"WANDB_MODE": "offline"})
    done = subject.train(folder / "run", words, epochs=1, env=env)
    late = done.seconds - offline.seconds
    if done.code:
        return judged(done)
    return Outcome(SURVIVED if late <= 2 else SILENT, 0, f"{late:.1f} s later")


ROWS = [
    *(
        Row(f"F1-{limit}", f"no file can grow beyond {limit} bytes", partial(full, limit=limit), REFUSED, 5)
        for limit in (200, 9000)
    ),
    Row("F2", "a directory where nothing may be written", unwritable, REFUSED, 5),
    Row("F3", "three runs started in the same second", together, SURVIVED, 0),
    Row("F4-start", "a second run into a live directory", partial(live, resume=False), REFUSED, 5),
    Row("F4-resume", "a resume of a live run", partial(live, resume=True), REFUSED, 5),
    Row("F5", "W&B: a key and no server", silent_server, SURVIVED, 0),
]
