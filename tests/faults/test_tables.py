"""Random tables of which every cell is known: read as they are, or refused with the file and the column or row.

DLCOURSE_EXAMPLES: how many (300).
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, event, given, settings

from dlcourse.data.table import OwnTable
from dlcourse.data.table_facts import table_facts
from dlcourse.errors import CONFIG, Refused
from tests import objects
from tests.faults.tables import WORD, Table, tables

EXAMPLES = int(os.environ.get("DLCOURSE_EXAMPLES", 300))
TASKS = {"two": "binary", "classes": "classification", "values": "regression"}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(tables())
def test_a_table_is_read_as_it_is_or_refused(folder: Path, table: Table) -> None:
    path = folder / f"own{table.suffix}"
    path.unlink(missing_ok=True)
    table.write(path, range(len(table.names)), range(table.rows))
    try:
        data = own_table(path, table)
        (x, y), test = data.arrays()
    except Refused as refusal:
        check_refusal(refusal, path)
        assert table.refusals or table.doubts, refusal
        event(f"refused: {[*table.refusals, *table.doubts][0]}")
        return
    assert not table.refusals, table.refusals
    kept = table.complete() if table.words["missing"] == "drop_rows" else range(table.rows)
    wanted = inputs(table, kept)
    assert test is None and x.shape == wanted.shape
    assert np.array_equal(x.numpy(), wanted.astype(x.numpy().dtype), equal_nan=True)
    labels = [table.columns[table.target].values[row] for row in kept]
    if data.classes is None:
        assert y[:, 0].tolist() == torch.tensor(labels, dtype=torch.float64).to(y.dtype).tolist()
    else:
        assert [data.classes[k] for k in y] == [v.strip() if isinstance(v, str) else str(int(v)) for v in labels]
    if table.rows % 2 or table.words.get("header") is False:  # without names the columns would be others
        event(f"read {table.suffix}")
        return
    new, others = folder / f"new{table.suffix}", [at for at in range(len(table.names)) if at != table.target]
    some = [row for row in kept if any(table.columns[at].values[row] is not None for at in others)]  # no empty line
    few = some[: 1 + table.rows % 5]
    table.write(new, others, few)
    try:
        expected = x[[[*kept].index(row) for row in few]].numpy()
        assert np.array_equal(data.read(new).numpy(), expected, equal_nan=True)
        event(f"read {table.suffix}, and rows of it without the target")
    except Refused as refusal:
        check_refusal(refusal, new)
        assert table.doubts, refusal


def own_table(path: Path, table: Table) -> OwnTable:
    names = table.names
    ignore = [names[at] for at in table.ignore]
    facts = table_facts(str(path), names[table.target], TASKS, None, None, ignore, table.words)
    of = objects.task(facts.pop("task"), facts["outputs"], classes=facts["classes"])
    batch = dict(batch_size=8, num_workers=0, seed=0, split_seed=0, val_fraction=0.1)
    rest: dict[str, Any] = dict(standardise=True, reshuffle=True, augment=None)
    return OwnTable(
        path=str(path), target=names[table.target], name="table", task=of, **table.words, **facts, **batch, **rest
    )


def inputs(table: Table, rows: Any) -> np.ndarray:
    """The inputs that these rows must become, NaN where a value is missing."""
    found: list[list[float]] = []
    for at in table.used:
        values = table.columns[at].values
        values = [v.strip(" ") if isinstance(v, str) else v for v in values]
        if table.columns[at].kind == WORD:
            known = sorted({v for v in values if v is not None})
            found += [[np.nan if v is None else float(v == word) for v in values] for word in known]
        else:
            found.append([np.nan if v is None else v for v in values])
        if None in values and table.words["missing"] == "indicator":
            found.append([float(v is None) for v in values])
    return np.array(found)[:, list(rows)].T


def check_refusal(refusal: Refused, path: Path) -> None:
    """It names the file, and a column or row."""
    said = str(refusal)
    assert refusal.code == CONFIG and 1 <= len(said.splitlines()) <= 3
    assert path.name in said and ("column" in said or "row" in said), said
