"""A row of the matrix: a fault, what it may lead to, and what it did lead to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.process import Done
from tests.faults.subjects import Subject

SURVIVED, REFUSED, UNCLEAR, SILENT, CRASH = "survived", "refused clearly", "refused unclearly", "silent wrong", "crash"
ABSENT = "–"  # what the row is about is not there


@dataclass(frozen=True)
class Outcome:
    """What came of it: one of the kinds above, the exit code, and what was said."""

    kind: str
    code: int
    said: str = ""


@dataclass(frozen=True)
class Row:
    """``befall(subject, folder)`` brings the fault about; a subject that can be trusted ends in ``outcome``."""

    id: str
    fault: str
    befall: Callable[[Subject, Path], Outcome]
    outcome: str = REFUSED
    code: int = 2

    def __str__(self) -> str:
        return self.id


def judged(done: Done, *named: object, wrong: bool = True, untrained: Path | None = None) -> Outcome:
    """A command that should refuse, naming ``named`` and without a traceback; to go on is wrong unless told else.

    ``untrained``: the run directory in which nothing may have been trained before it refused.
    """
    if done.code == 0:
        return Outcome(SILENT if wrong else SURVIVED, 0, done.err)
    if done.code < 0 or "Traceback" in done.err:
        return Outcome(CRASH, done.code, done.err)
    if untrained is not None and any(path.stat().st_size for path in _traces(untrained)):
        return Outcome(UNCLEAR, done.code, f"it trained first\n{done.err}")
    clear = bool(done.err.strip()) and all(str(n) in done.err for n in named)
    return Outcome(REFUSED if clear else UNCLEAR, done.code, done.err)


def _traces(run: Path) -> list[Path]:
    return [*run.rglob("*.ckpt"), *run.rglob("metrics.*")]


def compared(subject: Subject, done: Done, run: Path, straight: Path) -> Outcome:
    """A command that should end as the run that nothing befell."""
    if done.code:
        return judged(done)
    return Outcome(SURVIVED if subject.same(run, straight) else SILENT, 0, done.err)
