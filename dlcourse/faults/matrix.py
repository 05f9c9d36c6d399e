"""All rows, against everybody, as a table; kills at random points; what it costs a run that nothing befalls."""

import cProfile
import pstats
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from tabulate import tabulate

from dlcourse.faults import config, crash, data, environment, security
from dlcourse.faults.process import Fault
from dlcourse.faults.rows import SURVIVED, Outcome, Row
from dlcourse.faults.subjects import Subject

ROWS = [*crash.ROWS, *security.ROWS, *data.ROWS, *config.ROWS, *environment.ROWS]
#: What a run may have when it is killed at random.
RUNS: list[dict[str, Any]] = [
    {"dropout": 0.3, "augment": True},
    {"schedule": "one_cycle", "dropout": 0.2},
    {"schedule": "plateau", "lr": 0.05, "accumulate": 2},
    {"batch_norm": True, "stop_early": 2, "epochs": 5},
]


def kill(seed: int) -> Row:
    """SIGKILL after a step drawn at random, of a run drawn at random."""
    source = random.Random(seed)
    wishes = source.choice(RUNS)
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


#: The functions through which a run pays for being trusted, by the end of their file's path.
PAID = {
    "gate": ("gate.py", ("admit",)),
    "checks of the data": ("data/base.py", ("_check",)),
    "SHA-256": ("data/download.py", ("verify",)),
    "directory, lock, status": ("rundir.py", ("create", "status", "environment")),
    "guards and rows": (
        "callbacks/record.py",
        ("on_train_batch_end", "on_train_epoch_end", "on_validation_end", "check"),
    ),
    "signals": ("callbacks/interrupt.py", ("on_train_batch_end", "on_train_epoch_end")),
    "checkpoints": (
        "callbacks/checkpoints.py",
        ("on_train_batch_end", "on_train_epoch_end", "on_validation_end", "on_train_end"),
    ),
}


def cost(words: list[str]) -> dict[str, float]:
    """Seconds of a healthy run in each of these, under a profiler, and those of its training."""
    from dlcourse.gate import admit
    from dlcourse.training import train

    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as folder:
        profile.enable()
        began = time.perf_counter()
        composed = admit([*words, f"run_dir={folder}/run"])
        result = train(composed, None)
        whole = time.perf_counter() - began
        profile.disable()
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    seconds = {
        name: sum(
            value[3]
            for (file, _, function), value in stats.items()
            if file.endswith(f"dlcourse/{end}") and function in functions
        )
        for name, (end, functions) in PAID.items()
    }
    return {**seconds, "training": result.metrics["seconds"], "whole": whole}
