import hashlib
import random

import numpy as np
import pytest
import torch

from dlcourse.data.table_file import read_table
from dlcourse.data.table_split import in_test_set
from dlcourse.errors import Refused


@pytest.fixture
def flowers(tmp_path):
    """40 rows: two numbers, a category, and a class."""
    draw = random.Random(0)
    rows = [f"{draw.gauss(0, 1):.3f},{draw.choice(['red', 'blue'])},{n},{'ab'[n % 2]}" for n in range(40)]
    path = tmp_path / "flowers.csv"

    def write(order=None):
        path.write_text("size,colour,count,kind\n" + "\n".join(rows if order is None else order) + "\n")
        return str(path)

    write.rows = rows
    return write


def test_csv_arrays(load, flowers):
    data = load("table", path=flowers(), target="kind")
    assert (data.y, data.shape, data.outputs, data.classes) == ("classes", (4,), 2, ["a", "b"])
    (x, y), test = data.arrays()
    assert (x.dtype, y.dtype, len(x), test) == (torch.float32, torch.int64, 40, None)
    assert x.shape[1] == 4 and y.ndim == 1
    rows = x[x[:, 3].argsort()]
    cells = [row.split(",") for row in flowers.rows]
    assert torch.equal(rows[:, 0], torch.tensor([float(cell[0]) for cell in cells]))
    assert rows[:, 1:3].tolist() == [[cell[1] == "blue", cell[1] == "red"] for cell in cells]
    assert torch.equal(y.flatten(), x[:, 3] % 2)


def test_a_run_of_before_keeps_its_test_rows(tmp_path):
    """By hashlib: where the first eight bytes of SHA-256 of the cells, one after another, are a multiple of five."""
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f" {n} ,a\n" for n in range(10000)))
    found = read_table(tmp_path / "t.csv").array(in_test_set(2))
    digests = [hashlib.sha256(f"{n}\x1fa".encode()).digest() for n in range(10000)]
    assert found.tolist() == [int.from_bytes(digest[:8], "big") % 5 == 0 for digest in digests]
    assert 0.19 < found.mean() < 0.21


def test_small_files_are_not_split(load, flowers):
    data = load("table", path=flowers(flowers.rows[:10]), target="kind")
    assert data.arrays()[1] is None
    data.setup()
    assert all(len(data.sets[stage]) == 10 for stage in ("train", "val", "test"))


@pytest.mark.parametrize(
    ("target", "task", "shape", "dtype"),
    [
        ("colour", None, (), torch.int64),
        ("colour", "classification", (), torch.int64),
        ("size", None, (1,), torch.float32),
    ],
)
def test_targets(load, flowers, target, task, shape, dtype):
    data = load("table", path=flowers(), target=target, task=task)
    (_, y), _ = data.arrays()
    assert y.shape[1:] == shape and y.dtype == dtype
    data.setup()


@pytest.mark.parametrize(
    "content",
    [
        "size,colour,count\n1.5,red,3\n",
        "count,extra,size,colour\n3,?,1.5,red\n",
        "kind;size;colour;count\n;1.5;red;3\n",
    ],
)
def test_new_rows(load, flowers, tmp_path, content):
    data = load("table", path=flowers(), target="kind")
    (tmp_path / "new.csv").write_text(content)
    assert data.read(tmp_path / "new.csv").tolist() == [[1.5, 0, 1, 3]]


def test_new_rows_as_an_array(load, flowers, tmp_path):
    np.save(tmp_path / "new.npy", np.ones((2, 4)))
    assert load("table", path=flowers(), target="kind").read(tmp_path / "new.npy").shape == (2, 4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("size,colour,count\n1.5,green,3\n", "row 2|'green'|column 'colour'|known: blue, red"),
        ("size,colour,count\n1.5,red,3\nx,red,3\n", "row 3|column 'size'|'x'"),
        ("size,colour,count\n,red,3\n", "row 2|column 'size'|missing"),
        ("size,colour,count\n1.5,,3\n", "row 2|column 'colour'|missing"),
        ("size,colour,count\n1.5,red,inf\n", "row 2|column 'count'|inf"),
        ("size,color,count\n1.5,red,3\n", "no column 'colour'|did you mean 'color'"),
        ("size,colour,count\n", "no rows"),
    ],
)
def test_new_rows_that_do_not_fit_are_refused(load, flowers, tmp_path, content, words):
    data = load("table", path=flowers(), target="kind")
    (tmp_path / "new.csv").write_text(content)
    with pytest.raises(Refused) as caught:
        data.read(tmp_path / "new.csv")
    assert all(word in str(caught.value) for word in words.split("|")), str(caught.value)
