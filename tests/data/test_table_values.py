"""Values that are missing, and those with more digits than float32: from the table to predictions and ONNX."""

import csv
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch

import dlcourse
from dlcourse.data.table_facts import table_facts
from dlcourse.errors import Refused
from dlcourse.runs.export import export_onnx
from dlcourse.runs.trained import restore
from dlcourse.tasks.predictions import forward_batches

ROWS = 80
TASKS = {"two": "binary", "classes": "classification", "values": "regression"}
QUIET = ["logger=none", "callbacks=none", "report=false"]


def gaps(path, **changed):
    """80 rows: a number and a word, each missing in some rows, a number that is always there, and a class by both."""
    draw = np.random.default_rng(0)
    a, b = draw.normal(5, 2, ROWS), draw.normal(size=ROWS)
    rows = [
        {
            "a": "" if n % 7 == 3 else f"{a[n]:.3f}",
            "word": "" if n % 11 == 5 else ("red", "blue", "red")[n % 3],
            "b": f"{b[n]:.3f}",
            "y": "yes" if a[n] > 5 else "no",
        }
        for n in range(ROWS)
    ]
    for (at, name), cell in changed.get("cells", {}).items():
        rows[at][name] = cell
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["a", "word", "b", "y"])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture
def table(load, tmp_path):
    def loaded(missing, **changed):
        data = load("table", path=gaps(tmp_path / "gaps.csv", **changed), target="y", missing=missing)
        data.setup()
        return data

    return loaded


def columns_of(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.parametrize(
    ("missing", "of_numbers"),
    [("median", statistics.median), ("mean", statistics.fmean), ("most_frequent", statistics.mode)],
)
def test_what_stands_for_a_missing_value_is_that_of_the_training_rows(table, tmp_path, missing, of_numbers):
    data = table(missing, cells={(n, "a"): "4.5" for n in range(20, 30)})
    columns = columns_of(tmp_path / "gaps.csv")
    (train, _), rows = data.arrays(), data.sets["train"].index.tolist()
    present = [float(columns["a"][n]) for n in rows if columns["a"][n]]
    words = [columns["word"][n] for n in rows if columns["word"][n]]
    assert data.fill[0] == pytest.approx(of_numbers(present), rel=1e-6)
    assert data.fill[1:3].tolist() == [float(word == statistics.mode(words)) for word in ("blue", "red")]
    assert bool(train[0].isnan().any())
    for rows in data.sets.values():
        assert bool(rows.x.isfinite().all()) and bool((rows.x[:, 1:3].sum(1) == 1).all())


@pytest.mark.parametrize(("missing", "fills"), [("median", True), ("drop_rows", False)])
def test_an_array_to_predict_may_have_gaps_where_they_are_filled(table, tmp_path, missing, fills):
    data = table(missing)
    np.save(path := tmp_path / "x.npy", np.array([[5, np.nan, np.nan, 0.5]][:1], np.float32)[:, : data.shape[0]])
    if fills:
        assert data.read(path).isnan().tolist() == [[False, True, True, False]]
    else:
        with pytest.raises(Refused, match="row 0 is not finite"):
            data.read(path)


def test_an_indicator_says_where_a_value_is_missing(table, tmp_path):
    data = table("indicator")
    assert data.shape == (6,)  # a, a is missing, blue, red, word is missing, b
    columns = columns_of(tmp_path / "gaps.csv")
    x = torch.cat([rows.x for rows in data.sets.values()])
    assert int(x[:, 1].sum()) == columns["a"].count("") and int(x[:, 4].sum()) == columns["word"].count("")
    assert set(x[x[:, 1] == 1, 0].tolist()) == {float(data.fill[0])}
    assert x[x[:, 4] == 1, 2:4].tolist() == [[0.0, 0.0]] * columns["word"].count("")


def test_rows_with_gaps_are_left_out_and_counted(table, tmp_path):
    data = table("drop_rows", cells={(0, "y"): ""})
    columns = columns_of(tmp_path / "gaps.csv")
    whole = sum(all(columns[name][n] for name in columns) for n in range(ROWS))
    assert sum(map(len, data.sets.values())) == whole < ROWS
    assert f"{ROWS - whole} of {ROWS} rows are left out" in data.described
    with pytest.raises(Refused, match=r"row 5: column 'a' is missing; fill it in"):
        data.read(tmp_path / "gaps.csv")


@pytest.mark.parametrize(
    ("missing", "cells", "reported"),
    [
        ("refuse", {}, r"row 5: column 'a' is missing; set data.missing=median \(mean, most_frequent, indicator, drop"),
        ("median", {(3, "y"): ""}, r"row 5: column 'y' is missing; set data.missing=drop_rows, or remove the row"),
        ("zero", {}, "data.missing=zero: expected one of refuse, median"),
        ("drop_rows", {(n, "b"): "" for n in range(0, ROWS, 2)} | {(n, "a"): "" for n in range(1, ROWS, 2)}, "no row"),
    ],
)
def test_missing_values_without_a_policy_are_refused(tmp_path, missing, cells, reported):
    with pytest.raises(Refused, match=reported):
        table_facts(gaps(tmp_path / "gaps.csv", cells=cells), "y", TASKS, words={"missing": missing})


def test_a_run_fills_in_what_is_missing_in_a_table_to_predict_and_in_onnx(tmp_path):
    path = gaps(tmp_path / "gaps.csv")
    words = ["data=table", f"data.path={path}", "data.target=y", "data.missing=median", "trainer.max_epochs=3"]
    done = dlcourse.run(*QUIET, *words, f"run_dir={tmp_path / 'run'}")
    _, model, data = restore(tmp_path / "run")
    x = data.read(path)
    assert bool(x.isnan().any()) and torch.equal(model.fill, done.model.fill)
    filled = torch.where(x.isnan(), done.data.fill, x)
    assert torch.equal(forward_batches(model, x).z, forward_batches(model, filled).z)
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install -e '.[export]')")
    import onnxruntime

    assert export_onnx(model, data, tmp_path / "model.onnx") <= 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert session.run(None, {"x": x.numpy()})[0] == pytest.approx(forward_batches(model, x).a.numpy(), abs=1e-5)


def test_the_report_shows_the_table_with_the_columns_that_are_left_out(tmp_path):
    words = ["data=table", f"data.path={gaps(tmp_path / 'gaps.csv')}", "data.target=y", "data.missing=indicator"]
    words = [*words, "data.ignore=[b]", "trainer.max_epochs=1", "logger=none", "callbacks=none"]
    done = dlcourse.run(*words, "report=true", f"run_dir={tmp_path / 'run'}")
    page = (done.run_dir / "report.html").read_text()
    assert "left out: data.ignore" in page and "1 input, and 1 where missing" in page and "word missing" in page


def test_parts_of_a_date_are_where_it_is_in_each(load, tmp_path):
    path = tmp_path / "dates.csv"
    times = ["2024-01-01 00:00", "2024-01-01 06:00", "2024-01-02 00:00", "2024-01-08 12:00", "", "2024-07-01 18:00"]
    path.write_text("t,y\n" + "".join(f"{time},{n % 2}\n" for n, time in enumerate(times)))
    data = load("table", path=str(path), target="y", missing="median", date_parts=["day", "week", "year"])
    (x, _), _ = data.arrays()
    assert x.shape[1:] == data.shape == (7,)
    start = x[0]  # a Monday, at midnight
    quarter = [torch.atan2(sine, cosine).item() / (2 * torch.pi) for sine, cosine in x[1, 1:].reshape(3, 2)]
    before = [torch.atan2(sine, cosine).item() / (2 * torch.pi) for sine, cosine in start[1:].reshape(3, 2)]
    apart = [(later - earlier) % 1 for later, earlier in zip(quarter, before, strict=True)]
    assert apart == pytest.approx([1 / 4, 1 / 4 / 7, 1 / 4 / 365.2425], abs=1e-4)
    assert torch.allclose(x[2, 1:3], start[1:3], atol=1e-4)  # midnight again
    assert bool(x[4].isnan().all())
    data.setup()
    assert bool(data.sets["train"].x.isfinite().all())
    with pytest.raises(Refused, match="no input is a date"):
        table_facts(gaps(tmp_path / "gaps.csv"), "y", TASKS, words={"missing": "mean", "date_parts": ["week"]})
    with pytest.raises(Refused, match="some of day, week, year"):
        table_facts(str(path), "y", TASKS, words={"missing": "mean", "date_parts": ["month"]})


def test_missing_inputs_without_an_indicator_are_refused_where_it_is_the_policy(table, tmp_path):
    data = table("indicator")
    path = gaps(tmp_path / "more.csv", cells={(2, "b"): ""})
    with pytest.raises(Refused, match="row 4: column 'b' is missing"):
        data.read(path)


# More digits than float32

STARTS = {"seconds since 1970": 1_700_000_000, "metres north": 5_300_000.25, "none": 0}


def sensor(folder, start, target_start=0):
    """120 rows: t, half an hour in seconds, from a start on, and y by it; each row's cells besides t decide its set."""
    path = folder / f"sensor_{start}_{target_start}.csv"
    draw = np.random.default_rng(1)
    t = draw.uniform(0, 1800, 120).round(2)
    y = (np.sin(t / 300) * 50).round(3)
    path.write_text("t,y\n" + "\n".join(f"{a + start:.2f},{b + target_start:.3f}" for a, b in zip(t, y, strict=True)))
    return str(path)


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_an_offset_of_a_column_changes_nothing(load, tmp_path, start):
    """Each row's standardised input is that of the same table without the offset, to the rounding of float32."""
    rows = []
    for each in (start, 0):
        data = load("table", path=sensor(tmp_path, each), target="y", task="regression")
        (x, _), _ = data.arrays()
        rows.append((x - x.double().mean(0)) / x.double().std(0))
        assert x.dtype == (torch.float64 if each else torch.float32)
    assert float((rows[0] - rows[1]).abs().max()) < 1e-6


def test_a_network_learns_and_predicts_beyond_float32(tmp_path):
    """Inputs of 1.7e9 and targets of 1.7e9: after training as exact as without, in the file's own units."""
    start = STARTS["seconds since 1970"]
    found = {}
    for each in (0, start):
        path = sensor(tmp_path, each, each)
        files = [f"data.{key}={path}" for key in ("path", "test_path", "val_path")]  # the same rows for both
        words = ["data=table", *files, "data.target=y", "trainer.max_epochs=40", "optimizer.lr=0.01"]
        found[each] = dlcourse.run(*QUIET, *words, f"run_dir={tmp_path / 'run'}{each or ''}").metrics
    for name in ("test/loss", "test/mae", "test/r2"):
        assert found[start][name] == pytest.approx(found[0][name], rel=1e-2), name
    _, model, data = restore(tmp_path / f"run{start}")
    assert (model.mean.dtype, model.task.y_mean.dtype, model.std.dtype) == (torch.float64, torch.float64, torch.float32)
    answers = forward_batches(model, data.read(path)).a[:, 0]
    y = torch.tensor([float(cell) for cell in columns_of(path)["y"]], dtype=torch.float64)
    assert answers.dtype == torch.float64
    assert float((answers - y).abs().mean()) == pytest.approx(found[start]["test/mae"], rel=1e-5)
    lines = list(model.task.format_predictions(forward_batches(model, data.read(path))))
    assert float(lines[0]) == pytest.approx(float(answers[0]), abs=1e-3)
    for count in (1, 2):  # a prediction does not depend on the other rows of the file
        few = tmp_path / f"few_{count}.csv"
        few.write_text("\n".join(Path(path).read_text().splitlines()[: 1 + count]) + "\n")
        assert torch.allclose(forward_batches(model, data.read(few)).a[:, 0], answers[:count], rtol=0, atol=1e-3)
    np.save(tmp_path / "x.npy", data.read(path).numpy())
    assert torch.equal(data.read(tmp_path / "x.npy"), data.read(path))
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install -e '.[export]')")
    import onnxruntime

    assert export_onnx(model, data, tmp_path / "model.onnx") <= 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert session.get_inputs()[0].type == session.get_outputs()[0].type == "tensor(double)"


def test_trials_of_such_a_table_trained_together_are_as_exact(tmp_path):
    from dlcourse.sweeps.together import compose_trials
    from dlcourse.sweeps.train_together import train_together

    path = sensor(tmp_path, STARTS["seconds since 1970"])
    words = [*QUIET, "data=table", f"data.path={path}", "data.target=y", "trainer.max_epochs=3"]
    trials = [[*words, f"optimizer.lr={lr}", f"run_dir={tmp_path / 'sweep' / str(lr)}"] for lr in (0.01, 0.02)]
    (tmp_path / "sweep").mkdir()
    train_together(compose_trials(trials))
    alone = dlcourse.run(*words, "optimizer.lr=0.02", f"run_dir={tmp_path / 'alone'}")
    _, together, _ = restore(tmp_path / "sweep/0.02")
    for name, w in alone.model.state_dict().items():
        assert w.dtype == together.state_dict()[name].dtype
        assert torch.allclose(w, together.state_dict()[name], rtol=1e-3, atol=1e-5), name


def test_sixteen_bits_are_refused_where_they_cannot_hold_the_data(tmp_path):
    words = ["data=table", f"data.path={sensor(tmp_path, 1_700_000_000)}", "data.target=y"]
    with pytest.raises(Refused, match="more digits than bf16-true keeps; set trainer.precision=bf16-mixed"):
        dlcourse.run(*QUIET, *words, "trainer.precision=bf16-true", f"run_dir={tmp_path / 'run'}")
