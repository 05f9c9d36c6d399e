"""Every row of the matrix, in real processes with real faults: it ends as it should, with its code, in three lines."""

import pytest

from dlcourse.errors import Refused
from tests.faults import config, crash, data, environment, security
from tests.faults.matrix import kill, outcome
from tests.faults.rows import ABSENT, REFUSED, Row
from tests.faults.subjects import KINDS, Dlcourse

REFUSALS = [*security.ROWS, *data.ROWS, *config.ROWS]
MNIST = [row for row in REFUSALS if row.id.startswith("D3")]  # fetched, where it is not there


@pytest.fixture(scope="module")
def dlcourse() -> Dlcourse:
    return Dlcourse()


def check(row: Row, dlcourse: Dlcourse) -> None:
    found = outcome(row, dlcourse)
    if found.kind == ABSENT and found.said:
        pytest.skip(found.said)
    assert (found.kind, found.code) == (row.outcome, row.code), found.said
    if row.outcome == REFUSED:
        assert 1 <= len(found.said.splitlines()) <= 3, found.said
    assert row.outcome != REFUSED or "Traceback" not in found.said


@pytest.mark.parametrize("row", [row for row in REFUSALS if row not in MNIST], ids=str)
def test_refused(row: Row, dlcourse: Dlcourse) -> None:
    check(row, dlcourse)


@pytest.mark.slow
@pytest.mark.parametrize("row", MNIST, ids=str)
def test_refused_mnist(row: Row, dlcourse: Dlcourse) -> None:
    try:
        data.mnist()
    except Refused as refusal:
        pytest.skip(f"no source of the data answers: {refusal}")
    check(row, dlcourse)


@pytest.mark.slow
@pytest.mark.parametrize("row", [*crash.ROWS, *environment.ROWS], ids=str)
def test_survived(row: Row, dlcourse: Dlcourse) -> None:
    check(row, dlcourse)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [crash.EPOCH + 1, 2 * crash.EPOCH + 5])
def test_each_kind_of_run_is_killed(kind: str, step: int) -> None:
    check(crash.a(f"{kind}-{step}", "SIGKILL", step), KINDS[kind])


@pytest.mark.slow
@pytest.mark.parametrize("row", [kill(k) for k in range(6)], ids=str)
def test_killed_at_random(row: Row, dlcourse: Dlcourse) -> None:
    check(row, dlcourse)
