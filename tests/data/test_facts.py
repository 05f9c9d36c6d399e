import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from dlcourse.config.gate import READERS
from dlcourse.data import folder_facts as folders
from dlcourse.data import table_facts
from dlcourse.data.table_file import read_table
from dlcourse.data.table_target import label
from dlcourse.errors import CONFIG, Refused

CLASS_TASKS = {"two": "binary", "classes": "classification"}
TASKS = {**CLASS_TASKS, "values": "regression"}


NA = {"na_values": ["NA", "NaN", "?"]}


def csv_facts(path, target, task=None):
    return table_facts.table_facts(path, target, TASKS, task, words=NA)


def folder_facts(path, size, channels, task=None):
    return folders.folder_facts(path, size, channels, CLASS_TASKS, task)


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "file.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def number(name):
    return {"name": name, "kind": "number", "vocabulary": None, "form": "."}


COLOUR = {"name": "colour", "kind": "category", "vocabulary": ["blue", "red"], "form": ""}


def test_numbers_and_categories(file):
    path = file("size,colour,kind\n1.5,red,a\n-2e3,blue,b\n3,red,c\n")
    facts = csv_facts(path, "kind")
    assert facts.pop("said") == []
    assert [*facts.pop("fingerprint")] == [path]
    size, colour, kind = facts.pop("described")
    assert size == {
        "column": "size",
        "becomes": "1 input",
        "kind": "number",
        "missing": 0,
        "distinct": 3,
        "values": "-2000 … 3",
    }
    assert (colour["kind"], colour["values"], colour["becomes"]) == ("category", "red, blue", "2 inputs")
    assert (kind["column"], kind["becomes"], kind["values"]) == ("kind", "the target", "a, b, c")
    assert facts == {
        "y": "classes",
        "task": "classification",
        "shape": [3],
        "outputs": 3,
        "classes": ["a", "b", "c"],
        "columns": [number("size"), COLOUR],
    }


@pytest.mark.parametrize(
    ("targets", "task", "expected"),
    [
        ("yes no yes", None, ("binary", 2, ["no", "yes"])),
        ("a b c", None, ("classification", 3, ["a", "b", "c"])),
        ("10 9 2", None, ("classification", 3, ["2", "9", "10"])),
        ("1 0 1.0", None, ("binary", 2, ["0", "1"])),
        ("-1 1 1", None, ("binary", 2, ["-1", "1"])),
        ("1 0 1", "classification", ("classification", 2, ["0", "1"])),
        ("1 0 1", "regression", ("regression", 1, None)),
        ("1.5 0 1", None, ("regression", 1, None)),
        ("1.5 2.5 1.5", "binary", ("binary", 2, ["1.5", "2.5"])),
        ("0 1 3+", "classification", ("classification", 3, ["0", "1", "3+"])),
        (" ".join(map(str, range(20))), None, ("classification", 20, [str(n) for n in range(20)])),
        (" ".join(map(str, range(21))), None, ("regression", 1, None)),
    ],
)
def test_the_task_follows_the_target(file, targets, task, expected):
    facts = csv_facts(file("x,y\n" + "".join(f"{n},{y}\n" for n, y in enumerate(targets.split()))), "y", task)
    assert (facts["task"], facts["outputs"], facts["classes"]) == expected


def test_any_column_may_be_the_target(file):
    assert csv_facts(file("y,x\n0,1\n1,2\n"), "y")["columns"] == [number("x")]


@pytest.mark.parametrize("content", ["a;y\n1;0\n2;1\n", "a\ty\n1\t0\n2\t1\n", "\ufeffa, y\r\n1, 0\r\n\r\n2, 1\r\n"])
def test_separators_and_line_ends(file, content):
    assert read_table(file(content)).names == ["a", "y"] and csv_facts(file(content), "y")["shape"] == [1]


def test_rows_are_numbered_as_in_a_spreadsheet(file):
    found = read_table(path := file('a,y\n"two\nlines",1\n\nb,2\n,3\n'))
    assert found.all("select * from t") == [("two\nlines", "1"), ("b", "2"), (None, "3")]
    with pytest.raises(Refused, match="row 4: column 'a' is missing"):
        csv_facts(path, "y")


def test_labels_of_one_number_are_one_class():
    assert [label(text) for text in ("1", "1.0", "1e0", "1.5", "one", "inf")] == ["1", "1", "1", "1.5", "one", "inf"]


GOOD = "a,b,y\n1,2,0\n3,4,1\n"
MANY = "".join(f"name{n},{n % 2}\n" for n in range(30))


@pytest.mark.parametrize(
    ("content", "target", "task", "words"),
    [
        (GOOD, None, None, "data.target|which column|a, b, y"),
        (GOOD, "yy", None, "no column 'yy'|did you mean 'y'|It has: a, b, y"),
        (GOOD, "y", "class", "data.task=class|binary, classification, regression"),
        (GOOD, "y", "regression", ""),
        (GOOD, "y", "classes", "data.task=classes|binary, classification|classes is called classification"),
        (GOOD, "y", "values", "data.task=values|values is called regression"),
        ("a,b,y\n1,2,0\n3,x,1\n5,6,0\n", "y", None, "row 3|column 'b'|'x'"),
        ("a,b,y\n1,2,0\n3,1_000,1\n5,6,0\n", "y", None, "row 3|column 'b'|'1_000'"),
        ("a,b,y\n1,2,0\n3,4\n", "y", None, "row 3|2 cells|3"),
        ("a,b,y\n1,2,0\n3,4,1,9\n", "y", None, "row 3|4 cells|3"),
        ("a,b,y\n1,,0\n3,4,1\n", "y", None, "row 2|column 'b'|missing|set data.missing=median|remove"),
        ("a,b,y\n1,2,0\n3,NA,1\n", "y", None, "row 3|column 'b'|missing"),
        ("a,b,y\n1,2,0\n3,nan,1\n", "y", None, "row 3|column 'b'|missing"),
        ("a,b,y\n1,red,0\n3,,1\n", "y", None, "row 3|column 'b'|missing"),
        ("a,b,y\n1,2,0\n3,4,\n", "y", None, "row 3|column 'y'|missing"),
        ("a,b,y\n1,2,0\n3,inf,1\n", "y", None, "row 3|column 'b'|inf"),
        ("a,b,y\n1,2,0\n3,1e99,1\n", "y", None, "row 3|column 'b'|1e99"),
        ("a,b,y\n1,2,0.5\n3,4,-inf\n", "y", None, "row 3|column 'y'|inf"),
        ("a,b,y\n1,2,0\n3,4,0\n", "y", None, "column 'y'|'0' in every row"),
        ("a,b,y\n1,2,0.5\n3,4,0.5\n", "y", None, "column 'y'|'0.5' in every row"),
        ("a,b,y\n1,2,0\n", "y", None, "1 rows|at least 2"),
        ("a,b,y\n", "y", None, "0 rows|at least 2"),
        ("", "y", None, "is empty"),
        ("y\n1\n2\n", "y", None, "target column 'y' only"),
        ("a,a,y\n1,2,0\n3,4,1\n", "y", None, "two columns|'a'"),
        (",a,y\n0,2,0\n1,4,1\n", "y", None, "column 1 has no name"),
        ('a,y\n"x"x,0\nb,1\n', "y", None, "row 2|quotes"),
        ("a,y\n1,red\n2,blue\n", "y", "regression", "row 2|column 'y'|'red'"),
        ("a,y\n1,red\n2,blue\n3,green\n", "y", "binary", "data.task=binary needs two classes|3"),
        ("a,y\n" + MANY, "y", None, "column 'a'|different in 30 of 30 rows|data.ignore=[a]"),
        ("a,y\n${oc.env:HOME},1\nb,2\n", "y", None, "refused|${oc.env:HOME}"),
        ("a,y\n1,${seed}\n2,b\n", "y", None, "refused|${seed}"),
        ("${a},y\n1,0\n2,1\n", "y", None, "refused|${a}"),
        ("a,y\n???,0\nb,1\n", "y", None, "refused|???"),
    ],
)
def test_csv_faults(file, content, target, task, words):
    path = file(content)
    if not words:
        csv_facts(path, target, task)
        return
    with pytest.raises(Refused) as refusal:
        csv_facts(path, target, task)
    assert refusal.value.code == CONFIG and str(refusal.value).count("\n") < 3
    assert all(word in str(refusal.value) for word in words.split("|")), str(refusal.value)
    assert task in ("class", "classes", "values") or path in str(refusal.value)


@pytest.mark.parametrize("path", [None, "missing.csv", "."])
def test_no_file(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match="data.path=FILE.csv" if path is None else "cannot be read"):
        csv_facts(path, "y")


@pytest.fixture
def folder(tmp_path):
    def make(*files):
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                (tmp_path / name).mkdir(exist_ok=True)
            elif Path(name).suffix == ".txt":
                (tmp_path / name).touch()
            else:
                Image.new("L", (2, 2)).save(tmp_path / name)
        return str(tmp_path)

    return make


def test_folder(folder):
    path = folder("cat/1.png", "cat/2.JPG", "dog/3.jpeg", "dog/notes.txt", ".hidden/x.png", "readme.txt")
    facts = {"y": "classes", "task": "classification", "shape": [3, 32, 32], "outputs": 2}
    facts |= {"classes": ["cat", "dog"], "white": 255, "ground": "white", "dtype": "uint8"}
    for task, name in ((None, "classification"), ("binary", "binary")):
        found = folder_facts(path, 32, 3, task)
        assert {key: found[key] for key in facts} == {**facts, "task": name}


@pytest.mark.parametrize(
    ("files", "changes", "words"),
    [
        (["1.png", "2.png"], {}, "a folder a class|none"),
        (["cat/1.png"], {}, "at least two|cat"),
        (["cat/1.png", "dog/"], {}, "dog holds no pictures"),
        (["a/1.png", "b/1.png"], {"channels": 2}, "data.channels=2"),
        (["a/1.png", "b/1.png"], {"size": 0}, "data.size=0"),
        (
            ["a/1.png", "b/1.png"],
            {"task": "regression"},
            "data.task=regression must be one of binary, classification, or left out",
        ),
        (["a/1.png", "b/1.png", "c/1.png"], {"task": "binary"}, "needs two classes|3 folders"),
        (["${seed}/1.png", "b/1.png"], {}, "refused"),
    ],
)
def test_folder_faults(folder, files, changes, words):
    with pytest.raises(Refused) as refusal:
        folder_facts(folder(*files), **{"size": 32, "channels": 3, **changes})
    assert all(word in str(refusal.value) for word in words.split("|")), str(refusal.value)


@pytest.mark.parametrize("path", [None, "missing"])
def test_no_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match="data.path"):
        folder_facts(path, 32, 3)


def test_facts_need_neither_torch_nor_pillow():
    readers = ", ".join(READERS)
    code = f"import sys, {readers}; print({{'torch', 'PIL', 'lightning', 'pandas'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
