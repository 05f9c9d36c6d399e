"""All rows, against everybody, as a table; kills at random points; what it costs a run that nothing befalls."""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial, wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tabulate import tabulate

from tests.faults import config, crash, data, environment, security
from tests.faults.process import Fault
from tests.faults.rows import SURVIVED, Outcome, Row
from tests.faults.subjects import Subject

ROWS = [*crash.ROWS, *security.ROWS, *data.ROWS, *config.ROWS, *environment.ROWS]
#: What a run may have when it is killed at random.
RUNS: list[dict[str, Any]] = [
    {"dropout": 0.3, "augment": True},
    {"schedule": "one_cycle", "dropout": 0.2},
    {"schedule": "plateau", "lr": 0.05, "accumulate": 2},
    {"batch_norm": True, "stop_early": 2, "epochs": 5},
]


def kill(seed: int, runs: Sequence[dict[str, Any]] = RUNS) -> Row:
    """SIGKILL after a step drawn at random, of a run drawn at random; each of ``runs`` is its wishes."""
    source = random.Random(seed)
    wishes = source.choice(runs)
    steps = crash.EPOCH * wishes.get("epochs", 3) // wishes.get("accumulate", 1)
    step = source.randint(1, steps - 1)
    name = ", ".join(f"{key}={value}" for key, value in wishes.items())
    return Row(
        f"kill-{seed}",
        f"SIGKILL after step {step}, {name}",
        partial(crash.killed, fault=Fault(step), **wishes),
        SURVIVED,
        0,
    )


def outcome(row: Row, subject: Subject) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return row.befall(subject, Path(folder))


def matrix(rows: Iterable[Row], subjects: list[Subject], tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """What each row led to, for each subject."""
    found = []
    for row in rows:
        ends = {subject.name: outcome(row, subject) for subject in subjects}
        codes = {k: e.code for k, e in ends.items()}
        kinds = {k: e.kind for k, e in ends.items()}
        wanted = {"wanted": row.outcome, "code": row.code}
        found.append({"id": row.id, "fault": row.fault, **wanted, "codes": codes, **kinds})
        tell(f"{row.id}: {', '.join(f'{k}: {e.kind} ({e.code})' for k, e in ends.items())}")
    return found


def table(found: list[dict[str, Any]], subjects: list[Subject]) -> str:
    counts = [
        [kind, *(Counter(row[s.name] for row in found)[kind] for s in subjects)] for kind in _kinds(found, subjects)
    ]
    names = [subject.name for subject in subjects]
    rows = [[row["id"], row["fault"], *(row[name] for name in names)] for row in found]
    return f"{tabulate(rows, ['row', 'fault', *names])}\n\n{tabulate(counts, ['', *names])}"


def _kinds(found: list[dict[str, Any]], subjects: list[Subject]) -> list[str]:
    return sorted({row[s.name] for row in found for s in subjects})


def paid() -> dict[str, list[tuple[Any, str]]]:
    """The functions through which a run pays for being trusted: those of its start, and those of its training."""
    from dlcourse import download
    from dlcourse.config import gate
    from dlcourse.data import base
    from dlcourse.runs import fit
    from dlcourse.runs.checkpoints import Checkpoints
    from dlcourse.runs.directory import RunDirectory
    from dlcourse.runs.interrupt import Interrupt
    from dlcourse.runs.record import Record

    ends = ("on_train_batch_end", "on_train_epoch_end")
    return {
        "start: gate": [
            (gate, "check_overrides"),
            (gate, "check_targets"),
            (gate, "check_rules"),
            (fit, "check_classes"),
        ],
        "start: SHA-256 of the files": [(download, "verify")],
        "start: checks of the data": [(base.Data, "_check")],
        "start: directory, lock, environment": [
            (RunDirectory, "create"),
            (fit, "log_start"),
        ],
        "training: guards and rows": [(Record, name) for name in (*ends, "on_validation_end", "check")],
        "training: signals": [(Interrupt, name) for name in ends],
        "training: checkpoints": [(Checkpoints, name) for name in (*ends, "on_validation_end", "on_train_end")],
    }


def cost(words: list[str]) -> dict[str, float]:
    """Seconds of a healthy run in each of these, and those of its training."""
    from dlcourse.runs.fit import train
    from tests.composing import checked

    seconds: dict[str, float] = {}
    open_ones: list[str] = []

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            open_ones.append(name)
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                open_ones.pop()
                if not open_ones:  # what is called by another one of them is counted there
                    seconds[name] = seconds.get(name, 0) + time.perf_counter() - began

        return call

    with tempfile.TemporaryDirectory() as folder, ExitStack() as patches:
        for name, functions in paid().items():
            for owner, attribute in functions:
                patches.enter_context(patch.object(owner, attribute, timed(name, getattr(owner, attribute))))
        result = train(checked([*words, f"run_dir={folder}/run"]), None)
    return {**seconds, "the training itself": result.metrics["seconds"]}
