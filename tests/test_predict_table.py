"""predict.py output=FILE.csv or .parquet: a line for each row of a table, picture or array."""

import csv
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image

import dlcourse
from dlcourse.errors import Refused
from dlcourse.runs.trained import restore
from scripts.predict import predict, write_predictions

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
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split("\t")[:2] == ["row", "predicted"]
    assert [line.split("\t")[0] for line in lines] == [str(n) for n in range(2, 62)]
    given, found = read(table / "own.csv"), read(output)
    for one, other, line in zip(given, found, lines, strict=True):
        assert one.items() <= other.items()
        answer = other["predicted 2"]  # the table has a column of that name
        shown = line.split("\t")[1:]
        if target == "kind":
            assert answer == shown[0] and float(other["probability low"]) == pytest.approx(float(shown[2]), rel=1e-5)
        else:
            assert float(answer) == pytest.approx(float(shown[0]), rel=1e-5)


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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs on a table of every kind of column: one that refuses unknown words, one for which they are unknown."""
    folder = tmp_path_factory.mktemp("rows")
    draw = np.random.default_rng(1)
    with (folder / "own.csv").open("w") as file:
        file.write("colour,a,day,y\n")
        for n in range(60):
            a = float(draw.normal())
            file.write(f"{['red', 'green', 'b{l}ue'][n % 3]},{a:.3f},2024-01-{n % 28 + 1:02d},{int(a > 0)}\n")
    words = ["data=table", f"data.path={folder / 'own.csv'}", "data.target=y"]
    for policy in ("refuse", "unknown"):
        dlcourse.run(*QUIET, *words, f"data.unseen={policy}", f"run_dir={folder / policy}")
    return folder


ROWS = """a,day,colour
1,2024-02-03,red
1,2024-02-03,pink
,2024-02-03,red
x,2024-02-03,red
1,soon,green
-1,2024-02-03,green
"""
FAULTS = {
    3: "'pink' in column 'colour' is unknown; known: b{l}ue, green, red",
    4: "column 'a' is missing",
    5: "'x' in column 'a' is no number",
    6: "'soon' in column 'day' is no date",
}


def test_rows_that_cannot_be_predicted_are_named_and_the_others_are(trained, tmp_path, capsys):
    path, good = tmp_path / "new.csv", tmp_path / "good.csv"
    path.write_text(ROWS)
    lines = ROWS.splitlines()
    good.write_text("\n".join([lines[0], lines[1], lines[6]]) + "\n")
    run = f"run={trained / 'refuse'}"
    assert predict([run, f"input={good}"]) == 0
    alone = [line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()[1:]]
    assert predict([run, f"input={path}"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"4 of 6 rows cannot be predicted; row 3: {FAULTS[3]}\n"
    head, *rows = [line.split("\t") for line in printed.out.splitlines()]
    assert head == ["row", "predicted", "probability 0", "probability 1", "error"]
    assert {int(row[0]): row[-1] for row in rows} == {2: "", **FAULTS, 7: ""}
    assert [rows[0][1:-1], rows[5][1:-1]] == alone
    for name in ("found.csv", "found.parquet"):
        output = tmp_path / name
        assert predict([run, f"input={path}", f"output={output}"]) == 0
        found = duckdb.sql(f"select colour, predicted, \"probability 1\" as p, error from '{output}'").fetchall()
        assert [row[0] for row in found] == ["red", "pink", "red", "red", "green", "green"]
        assert [row[3] for row in found] == [None, *FAULTS.values(), None]
        assert [row[1] is None and row[2] is None for row in found] == [row[3] is not None for row in found]
        assert float(found[5][2]) == pytest.approx(float(alone[1][2]), rel=1e-5)


def test_rows_that_are_written_otherwise_are_named(trained, tmp_path, capsys):
    path = tmp_path / "new.csv"
    path.write_text(
        'a,day,colour\n1.5,2024-02-03,red\n"1,5",2024-02-03,red\n1.5,31.01.2024,red\n1e999,2024-02-03,red\n'
    )
    assert predict([f"run={trained / 'refuse'}", f"input={path}"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[-1] for row in rows] == [
        "",
        "'1,5' in column 'a' is no number with a decimal point",
        "'31.01.2024' in column 'day' is no date as year-month-day",
        "'1e999' in column 'a' is too large",
    ]


def test_strict_refuses_the_whole_file(trained, tmp_path):
    path, output = tmp_path / "new.csv", tmp_path / "found.csv"
    path.write_text(ROWS)
    words = [f"run={trained / 'refuse'}", f"input={path}", f"output={output}"]
    with pytest.raises(Refused, match="4 of 6 rows cannot be predicted; row 3: 'pink'"):
        predict([*words, "strict=true"])
    assert not output.exists()
    path.write_text("a,day,colour\n1,2024-02-03,pink\n")
    with pytest.raises(Refused, match="1 of 1 rows cannot be predicted"):  # none is left
        predict(words)


def test_rows_have_no_place_in_an_array_and_none_at_all_is_refused(trained, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text(ROWS)
    run = f"run={trained / 'refuse'}"
    with pytest.raises(Refused, match="no place in what is made of it"):
        predict([run, f"input={path}", f"output={tmp_path / 'found.npy'}"])
    assert not (tmp_path / "found.npy").exists()
    path.write_text("a,day,colour\n")
    with pytest.raises(Refused, match="has no rows below its header"):
        predict([run, f"input={path}"])


def test_rows_without_a_line_of_names_count_from_one(tmp_path, capsys):
    path, new = tmp_path / "own.csv", tmp_path / "new.csv"
    path.write_text("".join(f"{'uvw'[n % 3]},{n},{n % 2}\n" for n in range(30)))
    new.write_text("u,1\nx,2\n")
    words = ["data=table", f"data.path={path}", "data.header=false", "data.target=column3", "trainer.max_steps=1"]
    dlcourse.run(*QUIET, *words, f"run_dir={tmp_path / 'run'}")
    capsys.readouterr()
    assert predict([f"run={tmp_path / 'run'}", f"input={new}"]) == 0
    printed = capsys.readouterr()
    assert [line.split("\t")[0] for line in printed.out.splitlines()] == ["row", "1", "2"]
    assert printed.err.endswith("row 2: 'x' in column 'column1' is unknown; known: u, v, w\n")


def test_an_unknown_word_is_none_of_the_known_ones_where_that_is_said(trained, tmp_path, capsys):
    path = tmp_path / "new.csv"
    path.write_text("a,day,colour\n1,2024-02-03,pink\n1,2024-02-03,red\n")
    assert predict([f"run={trained / 'unknown'}", f"input={path}"]) == 0
    head, pink, red = capsys.readouterr().out.splitlines()
    assert "error" not in head and pink.split("\t")[2] != red.split("\t")[2]
    _, _, data = restore(trained / "unknown")
    x, faults = data.rows_to_predict(path)
    assert x[:, :3].tolist() == [[0, 0, 0], [0, 0, 1]] and not faults


def test_the_policy_is_one_of_two(trained):
    with pytest.raises(Refused, match="data.unseen=perhaps: expected refuse or unknown"):
        dlcourse.run(*QUIET, "data=table", f"data.path={trained / 'own.csv'}", "data.target=y", "data.unseen=perhaps")


def test_the_name_of_a_file_may_be_any_bytes(tmp_path):
    names = ["M\udcfc.png", "ü.png"]  # Latin 1, UTF-8
    assert write_predictions(tmp_path / "found.csv", {"predicted": np.array([1, 2])}, None, names, {}) == 0
    assert [row["file"] for row in read(tmp_path / "found.csv")] == [r"M\udcfc.png", "ü.png"]
