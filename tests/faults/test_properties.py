"""Random input for the gate, the CSV reader and the checkpoint reader: a result or a refusal, never anything else.

DLCOURSE_EXAMPLES: how many for each (300).
"""

import csv
import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlcourse.data.table import OwnTable
from dlcourse.data.table_facts import table_facts
from dlcourse.errors import CHECKPOINT, CONFIG, Refused
from dlcourse.runs.checkpoint_file import AtomicIO, load
from tests import objects
from tests.composing import checked

EXAMPLES = int(os.environ.get("DLCOURSE_EXAMPLES", 300))
many = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
pytestmark = pytest.mark.slow

NAMES = st.sampled_from(
    [
        "os.system",
        "torch.load",
        "builtins.exec",
        "torch.optim.optimizer.torch.load",
        "torch.nn.functional.relu",
    ]
    + [
        "lightning.pytorch.Trainer.fit",
        "torch.nn",
        "hydra.utils.call",
        "pickle.loads",
        "",
        "a.b",
        "${seed}",
        "torch.nn.ReLU.__call__",
    ]
)
PLACES = st.sampled_from(
    ["model", "optimizer", "data", "loss", "init", "scheduler", "trainer", "+callbacks.x", "+logger.x", "+data.facts"]
)
CELL = st.one_of(
    st.sampled_from(
        [
            "1",
            "-2.5",
            "1e308",
            "1e999",
            "nan",
            "NaN",
            "inf",
            "-inf",
            "",
            " ",
            "NA",
            "x",
            "é",
            "0x1",
            "1_0",
            "${seed}",
            "???",
        ]
    ),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=6),
)


@many
@given(PLACES, NAMES, st.text(max_size=6))
def test_c1_no_target_that_is_not_allowed_passes(place: str, name: str, argument: str) -> None:
    with pytest.raises(Refused) as refusal:
        checked(
            [f"{place}._target_={name}", *([f"++{place.lstrip('+')}.{argument}=1"] if argument.isidentifier() else [])]
        )
    assert refusal.value.code == CONFIG and 1 <= len(str(refusal.value).splitlines()) <= 3


@many
@given(
    st.lists(st.lists(CELL, min_size=1, max_size=4), min_size=0, max_size=8),
    st.sampled_from([",", ";", "\t"]),
    st.booleans(),
)
def test_d6_a_csv_is_read_finite_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list, separator: str, quoted: bool
) -> None:
    path = tmp_path_factory.mktemp("csv") / "own.csv"
    cells = [[f'"{c}"' if quoted and '"' not in c else c for c in row] for row in rows]
    text = "\n".join(separator.join(row) for row in [["a", "b", "y"], *cells])
    path.write_text(text, encoding="utf-8", newline="")
    try:
        (x, y), test = read(path)
    except Refused as refusal:
        assert refusal.code == CONFIG and 1 <= len(str(refusal).splitlines()) <= 3
        return
    for part in (x, y, *(test or ())):
        assert bool(torch.isfinite(part.float()).all())


def read(path: Path) -> tuple:
    kinds = {"two": "binary", "classes": "classification", "values": "regression"}
    facts = table_facts(str(path), "y", kinds)
    of = objects.task(facts.pop("task"), facts["outputs"], classes=facts["classes"])
    batch = dict(batch_size=8, num_workers=0, seed=0, split_seed=0, val_fraction=0.1)
    rest = dict(standardise=True, reshuffle=True, augment=None)
    return OwnTable(path=str(path), target="y", name="table", task=of, **facts, **batch, **rest).arrays()


NUMBER = st.floats(width=32, allow_nan=False, allow_infinity=False)


@many
@given(
    st.lists(st.tuples(NUMBER, NUMBER, st.integers(-9, 9)), min_size=3, max_size=9, unique_by=lambda row: row[2]),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_d6_a_sound_csv_is_read_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, rows: list, separator: str, quoting: int, end: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "own.csv"
    table = [[a, b, k + 0.5] for a, b, k in rows]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
        writer.writerows([["a", "b", "y"], *table])
    (x, y), test = read(path)
    assert test is None
    assert torch.equal(torch.cat([x, y], 1), torch.tensor(table, dtype=torch.float64).float())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "last.ckpt"
    weights = {"w": torch.arange(300.0), "b": torch.ones(3)}
    AtomicIO().save_checkpoint({"state_dict": weights, "global_step": 7, "name": "x", "list": [1, 2.5, None]}, path)
    return path


@many
@given(st.data())
def test_b2_b3_a_damaged_checkpoint_is_refused_or_the_same(checkpoint: Path, data: st.DataObject) -> None:
    content = bytearray(checkpoint.read_bytes())
    whole = load(checkpoint)
    damaged = checkpoint.with_name("damaged.ckpt")
    kind = data.draw(st.sampled_from(["bits", "cut", "insert", "zero", "random"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if kind == "bits":
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        content = content[:at]
    elif kind == "insert":
        content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
    elif kind == "zero":
        content[at : at + 64] = bytes(min(64, len(content) - at))
    else:
        content = bytearray(data.draw(st.binary(max_size=200)))
    damaged.write_bytes(content)
    try:
        read = load(damaged)
    except Refused as refusal:
        assert refusal.code == CHECKPOINT and 1 <= len(str(refusal).splitlines()) <= 3
        assert "weights_only" not in str(refusal)
        return
    assert read["global_step"] == whole["global_step"] and read["list"] == whole["list"]
    assert all(torch.equal(read["state_dict"][name], value) for name, value in whole["state_dict"].items())
