"""predict.py output=FILE.csv or .parquet: a line for each row of a table, picture or array."""

import csv
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image

import dlcourse
from dlcourse.errors import Refused
from scripts.predict import predict

QUIET = ["logger=none", "callbacks=none", "report=false", "trainer.max_epochs=2"]


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """60 rows with a name that must be quoted, a number, a class and a value, and one run for each of the two."""
    folder = tmp_path_factory.mktemp("table")
    draw = np.random.default_rng(0)
    with (folder / "own.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "a", "predicted", "kind", "price"])
        for n in range(60):
            a = float(draw.normal())
            writer.writerow([f'No "{n}", x', f"{a:.3f}", n % 7, "high" if a > 0 else "low", f"{3 * a:.3f}"])
    for target, left_out in (("kind", "price"), ("price", "kind")):
        words = ["data=table", f"data.path={folder / 'own.csv'}", f"data.target={target}"]
        dlcourse.run(*QUIET, *words, f"data.ignore=[name,{left_out}]", f"run_dir={folder / target}")
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("target", ["kind", "price"])
def test_predictions_stand_after_the_columns_of_the_table(table, tmp_path, capsys, target):
    output = tmp_path / "found.csv"
    words = [f"run={table / target}", f"input={table / 'own.csv'}"]
    assert predict([*words, f"output={output}"]) == 0
    assert capsys.readouterr().out == f"60 predictions: {output}\n"
    assert predict(words) == 0
    lines = capsys.readouterr().out.splitlines()
    given, found = read(table / "own.csv"), read(output)
    for one, other, line in zip(given, found, lines, strict=True):
        assert one.items() <= other.items()
        answer = other["predicted 2"]  # the table has a column of that name
        if target == "kind":
            assert answer == line.split("\t")[0] and f"low={float(other['probability low']):.4f}" in line
        else:
            assert float(answer) == pytest.approx(float(line), rel=1e-4)


def test_names_that_differ_in_case_stay(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("a,A,Predicted,y\n" + "".join(f"{n},{n % 5},x,{'ab'[n % 2]}\n" for n in range(30)))
    words = ["data=table", f"data.path={path}", "data.target=y", "data.columns=[a,A]", f"run_dir={tmp_path / 'run'}"]
    dlcourse.run(*QUIET, *words)
    found = [f"run={tmp_path / 'run'}", f"input={path}"]
    assert predict([*found, f"output={tmp_path / 'found.csv'}"]) == 0
    head = (tmp_path / "found.csv").read_text().splitlines()[0]
    assert head == "a,A,Predicted,y,predicted 2,probability a,probability b"
    with pytest.raises(Refused, match="differ in upper and lower case only"):
        predict([*found, f"output={tmp_path / 'found.parquet'}"])


def test_parquet(table, tmp_path):
    output = tmp_path / "found.parquet"
    assert predict([f"run={table / 'kind'}", f"input={table / 'own.csv'}", f"output={output}"]) == 0
    rows = duckdb.sql(f'select count(*), sum("probability low" + "probability high") from \'{output}\'').fetchall()
    assert rows[0][0] == 60 and rows[0][1] == pytest.approx(60, rel=1e-5)


def test_pictures_are_named_and_arrays_numbered(tmp_path):
    run = tmp_path / "run"
    dlcourse.run(*QUIET, "data=digits", f"run_dir={run}")
    (tmp_path / "pictures").mkdir()
    for name in ("b.png", "a.png"):
        Image.new("L", (8, 8)).save(tmp_path / "pictures" / name)
    np.save(tmp_path / "x.npy", np.zeros((3, 1, 8, 8), np.float32))
    for given, key, expected in (("pictures", "file", ["a.png", "b.png"]), ("x.npy", "row", ["0", "1", "2"])):
        output = tmp_path / f"{given}.csv"
        assert predict([f"run={run}", f"input={tmp_path / given}", f"output={output}"]) == 0
        assert [row[key] for row in read(output)] == expected


def test_a_file_that_exists_is_kept(table, tmp_path):
    output = tmp_path / "found.csv"
    output.write_text("mine")
    with pytest.raises(Refused, match="exists; choose another name"):
        predict([f"run={table / 'kind'}", f"input={table / 'own.csv'}", f"output={output}"])
    assert output.read_text() == "mine"
    with pytest.raises(Refused, match="there is no folder"):
        predict([f"run={table / 'kind'}", f"input={table / 'own.csv'}", f"output={tmp_path / 'none/found.csv'}"])
