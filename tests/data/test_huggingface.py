"""Pictures of data sets as Hugging Face's ``datasets`` writes them, from a folder or a hub in this process."""

import json
import shutil
import subprocess
import sys
import threading
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dlcourse
from dlcourse.data import cache
from dlcourse.data.huggingface_facts import inspect_huggingface
from dlcourse.data.stored import Stored
from dlcourse.errors import ENVIRONMENT, Refused
from scripts.evaluate import evaluate
from scripts.inspect_data import main as inspect_data
from scripts.predict import predict
from scripts.report import report
from tests.composing import checked
from tests.data.test_own_pictures import clear, stripes, wide
from tests.refusing import refusal

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
datasets = pytest.importorskip("datasets")
hub = pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef" * 2 + "01234567"
datasets.disable_progress_bars()
TASKS = {"two": "binary", "classes": "classification"}
NAMES = ["v", "h"]  # not in alphabetical order
SMALL = {"size": 12, "channels": 1}


def rows(count: int = 20, save=Image.fromarray, **columns) -> "datasets.Dataset":
    """Pictures of two classes in turn, with more columns, or other labels."""
    pairs = [pair for pair in zip(*stripes(count // 2).values(), strict=True) for pair in zip(pair, "hv", strict=True)]
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    held = {"image": [save(values) for values, _ in pairs], "label": [NAMES.index(name) for _, name in pairs]}
    more = datasets.Dataset.from_dict({name: values for name, values in columns.items() if name not in held})
    kinds |= more.features
    return datasets.Dataset.from_dict({**held, **columns}, datasets.Features(kinds))


def parquet(folder: Path, **splits: "datasets.Dataset") -> Path:
    """A file a split, as the hub has them."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, each in splits.items():
        each.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return folder


def inspect(path: Path, **words):
    return inspect_huggingface(str(path), 12, 1, TASKS, **words)


def saved(path: Path) -> Path:
    rows().save_to_disk(path, num_shards=3)
    return path


def one_file(path: Path) -> Path:
    rows().to_parquet(path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def two_files(path: Path) -> Path:
    for k in range(2):
        (path / "data").mkdir(parents=True, exist_ok=True)
        rows().shard(2, k, contiguous=True).to_parquet(path / "data" / f"train-0000{k}-of-00002-ab12.parquet")
    return path


def encoded(path: Path) -> Path:
    """From bytes, in another format, in a column without a feature's name."""
    content = []
    for each in rows()["image"]:
        each.save(buffer := BytesIO(), "BMP")
        content.append(buffer.getvalue())
    table = datasets.Dataset.from_dict({"image": content, "label": rows()["label"]})
    path.mkdir()
    table.cast_column("label", datasets.ClassLabel(names=NAMES)).to_parquet(path / "mine.parquet")
    return path


@pytest.mark.parametrize("write", [saved, one_file, two_files, encoded])
def test_pixels_and_rows_are_those_of_the_same_pictures_in_a_folder(load, tmp_path, write):
    words = {"image": "image"} if write is encoded else {}
    data = load("huggingface", path=str(write(tmp_path / "set")), **SMALL, **words)
    for k, row in enumerate(rows()):
        (folder := tmp_path / "folder" / NAMES[row["label"]]).mkdir(parents=True, exist_ok=True)
        row["image"].save(folder / f"{k:02}.png")
    other = load("image_folder", path=str(tmp_path / "folder"), **SMALL)
    assert data.classes == NAMES and other.classes == ["h", "v"]
    (x, y), test = data.arrays()
    assert test is None and torch.equal(x[y == 1], other.arrays()[0][0][:10])
    assert torch.equal(x, torch.from_numpy(np.stack([np.asarray(each)[None] for each in rows()["image"]])))
    for each in (data, other):
        each.setup()
    for name in ("train", "val", "test"):  # the same pictures, whatever their order
        contents = [sorted(map(bytes, each.sets[name].x.numpy())) for each in (data, other)]
        assert contents[0] == contents[1]


@pytest.mark.parametrize("save", ["save_to_disk", "parquet"])
def test_splits_are_the_sets(load, tmp_path, save):
    every = rows(60)
    splits = {"train": every.select(range(40)), "validation": every.select(range(40, 46))}
    splits |= {"test": every.select(range(46, 58)), "unsupervised": every.select(range(58, 60))}
    if save == "parquet":
        parquet(tmp_path / "set", **splits)
    else:
        datasets.DatasetDict(splits).save_to_disk(tmp_path / "set")
    data = load("huggingface", path=str(tmp_path / "set"), **SMALL)
    data.setup()
    assert {name: len(rows) for name, rows in data.sets.items()} == {"train": 40, "val": 6, "test": 12}
    assert np.array_equal(data.sets["test"].x[0, 0], np.asarray(every[46]["image"]))
    assert "the sets are the splits train, validation, test\n" in data.described
    assert "left out, as none of the sets: the split unsupervised, 2 rows" in data.described
    assert "20 train, 3 val, 6 test" in data.described


@pytest.mark.parametrize("label", [-1, None, "no column"])
def test_a_split_without_labels_is_left_out_and_told(load, tmp_path, label):
    test = rows(6, label=[label] * 6) if label != "no column" else rows(6).remove_columns("label")
    data = load("huggingface", path=str(parquet(tmp_path, train=rows(40), test=test)), **SMALL)
    data.setup()
    assert "left out, as without labels: the split test, 6 rows" in data.described and len(data.sets["test"]) == 8


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["train.parquet", "test.parquet"], ["train", "test"]),
        (["my_train_1.parquet", "my_train_2.parquet", "Test.parquet"], ["train", "test"]),
        (["default/train/0000.parquet", "default/test/0000.parquet"], ["train", "test"]),
        (["full-00000-of-00001.parquet"], ["train"]),
        (["1.parquet", "2.parquet"], ["train"]),
    ],
)
def test_files_are_known_by_their_names(tmp_path, files, expected):
    for k, name in enumerate(files):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        rows(20, id=[*range(20 * k, 20 * k + 20)]).to_parquet(tmp_path / "set" / name)
    found = inspect(tmp_path / "set")
    sets = found.described[0]["pictures"]
    assert sets == ("10 train, 10 test" if files[0] == "train.parquet" or "/" in files[0] else sets)
    assert [name for name in ("train", "test") if f" {name}" in str(sets)] == (expected if len(expected) > 1 else [])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a/train.parquet", "b/train.parquet"], "holds several data sets, train is in"),
        (["val-0.parquet", "valid-0.parquet", "train.parquet"], "has two splits for one set, val and valid"),
        (["test.parquet"], "has no split train, but test"),
        (["notes.txt"], "holds no data set as `datasets` writes it"),
    ],
)
def test_files_that_are_no_sets_are_refused(tmp_path, files, said):
    for name in files:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"x")
    assert said in refusal(inspect, tmp_path / "set")


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a"] * 10, ["a", "b"]),
        ([10, 9] * 10, ["9", "10"]),
        ([True, False] * 10, ["False", "True"]),
    ],
)
def test_values_without_names_are_classes_in_their_order(load, tmp_path, values, classes):
    rows(kind=values, text=["x"] * 20).save_to_disk(tmp_path / "set")
    data = load("huggingface", path=str(tmp_path / "set"), target="kind", **SMALL)
    assert data.classes == classes and data.arrays()[0][1].tolist() == [1, 0] * 10
    assert "left out, as other columns: 2 (label, text)" in data.described


def test_columns_that_cannot_be_meant_are_refused_with_those_there_are(tmp_path):
    one = rows(price=[0.5] * 20, more=[1] * 20)
    parquet(tmp_path / "one", train=one)
    parquet(tmp_path / "two", train=one.add_column("mask", one["label"]).map(lambda row: {"mask": row["image"]}))
    parquet(tmp_path / "none", train=one.remove_columns(["image", "label"]))
    listed = "\nIt has: image (Image), label (ClassLabel), price (double), more (int64)"
    assert refusal(inspect, tmp_path / "two").startswith(f"{tmp_path / 'two'} has several columns of Image; set data.")
    assert "has no column of Image; set data.image\nIt has: price" in refusal(inspect, tmp_path / "none")
    for words, said in {
        ("target", "class"): "has no column 'class' (data.target)",
        ("image", "more"): "data.image=more holds no pictures, but int64",
        ("target", "price"): "data.target=price holds double; pictures are learned by class",
        ("target", "image"): "data.target=image holds Image; pictures are learned by class",
    }.items():
        message = refusal(lambda words=words: inspect(tmp_path / "one", **dict([words])))
        assert said in message and message.endswith(listed)
    assert inspect(tmp_path / "two", image="mask").values["image"] == "mask"


def test_every_fault_of_a_row_is_a_problem_with_its_place(tmp_path):
    content = rows().cast_column("image", datasets.Image(decode=False))["image"][:]
    content[3], content[5] = None, {"bytes": None, "path": "a.png"}
    content[7]["bytes"], content[8]["bytes"] = b"hello", content[8]["bytes"][:60]
    damaged = rows(image=content, label=[0, 1] * 9 + [-1, 0])
    pyarrow.parquet.write_table(damaged.data.table, tmp_path / "train.parquet")  # to_parquet would look for a.png
    problems = inspect(tmp_path).problems
    where = f"{tmp_path}: row {{}} (from 0) of train"
    assert [problem.partition("; ")[0].partition(" (PNG")[0] for problem in problems[:4]] == [
        f"{tmp_path}: 1 rows of train have no label, first row 18 (from 0)",
        f"{where.format(3)} holds no picture",
        f"{where.format(5)}, a.png, holds no picture",
        f"{where.format(7)} is no picture that is read",
    ]
    assert problems[4].startswith(f"{where.format(8)} is a picture that is cut off") and len(problems) == 5


def test_sets_with_other_classes_are_a_problem(tmp_path):
    parquet(tmp_path / "words", train=rows(kind=["a", "b"] * 10), test=rows(kind=["a", "c"] * 10))
    (problem,) = inspect(tmp_path / "words", target="kind").problems
    assert "test has the class 'c', which training does not have" in problem
    other = rows().cast_column("label", datasets.ClassLabel(names=["x", "y"]))
    problems = inspect(parquet(tmp_path / "names", train=rows(), test=other)).problems
    assert any("test calls the classes ['x', 'y'], training ['v', 'h']" in problem for problem in problems)


@pytest.mark.parametrize("file", ["data/train-00000-of-00001.parquet", "dataset_info.arrow", "state.json"])
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path, file):
    if file.endswith("parquet"):
        path = parquet(tmp_path, train=rows()) / file
    else:
        rows().save_to_disk(tmp_path)
        path = tmp_path / ("state.json" if file == "state.json" else "data-00000-of-00001.arrow")
    path.write_bytes(path.read_bytes()[:200])
    assert refusal(inspect, tmp_path).startswith(f"{path} cannot be read (")


@pytest.mark.parametrize(
    ("save", "said"),
    [(clear, "48 transparent pictures are laid on white"), (wide, "48 pictures of more than 8 bits keep their values")],
)
def test_pictures_become_pixels_as_those_of_a_folder(load, tmp_path, save, said):
    rows(48, save).save_to_disk(tmp_path / "set")
    for k, row in enumerate(rows(48, save)):
        (folder := tmp_path / "folder" / NAMES[row["label"]]).mkdir(parents=True, exist_ok=True)
        row["image"].save(folder / f"{k:02}.png")
    words = {"size": 8, "channels": 3, "resize": "crop"}
    data = load("huggingface", path=str(tmp_path / "set"), **words)
    (x, y), _ = data.arrays()
    (others, _), _ = load("image_folder", path=str(tmp_path / "folder"), **words).arrays()
    assert said in data.described and torch.equal(torch.cat([x[y == 1], x[y == 0]]), others)


def test_large_pictures_are_decoded_once(load, tmp_path, monkeypatch):
    parquet(tmp_path / "set", train=rows(40), test=rows(10))
    words = {"path": str(tmp_path / "set"), "cache": str(tmp_path / "cache"), **SMALL}
    in_memory = load("huggingface", **words).arrays()
    monkeypatch.setattr(cache, "MANY", 0)
    (x, y), (tested, _) = load("huggingface", **words).arrays()
    assert isinstance(x, Stored) and torch.equal(x[:], in_memory[0][0]) and torch.equal(y, in_memory[0][1])
    assert torch.equal(tested[:], in_memory[1][0])
    monkeypatch.setattr("dlcourse.data.picture_sets.pixels", lambda *_: pytest.fail("decoded again"))
    monkeypatch.setattr("dlcourse.data.picture_file.examine", lambda *_: pytest.fail("opened again"))
    assert torch.equal(load("huggingface", **words).arrays()[0][0][:], x[:])
    assert inspect_data(["clear=cache", f"paths.data_dir={tmp_path}"]) == 0 and not [*(tmp_path / "cache").iterdir()]


def test_a_script_of_a_data_set_is_not_run_and_told(tmp_path):
    script = f"open({str(tmp_path / 'written')!r}, 'w')"
    for name in ("set.py", "data/set.py", "conftest.py", "__init__.py"):
        (parquet(tmp_path / "set", train=rows()) / name).write_text(script)
    found = inspect(tmp_path / "set")
    assert not found.problems and not (tmp_path / "written").exists()
    assert any("left out, as no Parquet files: 4 (set/__init__.py" in each for each in found.values["said"])


def test_a_run_of_it_is_tested_resumed_and_predicts(tmp_path, capsys):
    every = rows(60)
    path = parquet(tmp_path / "set", train=every.select(range(50)), test=every.select(range(50, 60)))
    run = tmp_path / "run"
    words = ["data=huggingface", f"data.path={path}", "data.size=12", "data.channels=1", "optimizer.lr=0.01"]
    assert inspect_data(words) == 0 and "2 output(s) from 1 × 12 × 12 inputs" in capsys.readouterr().out
    quiet = ["logger=none", "callbacks=none", f"run_dir={run}", "trainer.max_epochs=10"]
    assert dlcourse.run(*words, *quiet).metrics["test/acc"] == 1
    assert "the sets are the splits train, test; validation is cut from training" in (run / "report.html").read_text()
    assert evaluate([f"run={run}"]) == 0
    every[0]["image"].save(tmp_path / "h.png")
    capsys.readouterr()
    assert predict([f"run={run}", f"input={tmp_path / 'h.png'}"]) == 0 and capsys.readouterr().out.startswith("h\t")
    assert dlcourse.run(f"resume={run}", "trainer.max_epochs=11").metrics["test/acc"] == 1
    parquet(path, test=every.select(range(40, 60)))
    assert f"{path} (test) has changed" in refusal(evaluate, [f"run={run}"])


class Hub(BaseHTTPRequestHandler):
    """The data set o/n, at one commit."""

    files: dict[str, bytes] = {}
    asked: list[str] = []

    def log_message(self, *_):
        self.asked.append(self.path)

    def do_GET(self):
        path, headers = self.path.partition("?")[0], {}
        body = b""
        if path.startswith("/api/datasets/o/n/tree/"):
            tree = [{"type": "file", "path": name, **self.held(name)} for name in self.files]
            body = json.dumps(tree).encode()
        elif path in ("/api/datasets/o/n", "/api/datasets/o/n/revision/main", f"/api/datasets/o/n/revision/{COMMIT}"):
            files = [{"rfilename": name, **self.held(name)} for name in self.files]
            body = json.dumps({"id": "o/n", "sha": COMMIT, "siblings": files}).encode()
        elif (name := path.removeprefix(f"/datasets/o/n/resolve/{COMMIT}/")) in self.files:
            body = self.sent(self.files[name])
            headers = {"ETag": f'"{sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        else:
            headers = {"X-Error-Code": "RevisionNotFound" if "/o/n/revision/" in path else "RepoNotFound"}
        self.send_response(200 if body else 404)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def sent(self, content: bytes) -> bytes:
        return content

    def held(self, name: str) -> dict:
        content = self.files[name]
        lfs = {"size": len(content), "pointerSize": 1, **dict.fromkeys(("sha256", "oid"), sha256(content).hexdigest())}
        return {"size": len(content), "oid": sha1(content).hexdigest(), "lfs": lfs}


@pytest.fixture
def online(tmp_path, monkeypatch):
    """The words for a run of o/n on a hub in this process, and what it was asked; the home directory is empty."""
    path = parquet(tmp_path / "pushed", train=rows(40), test=rows(10), extra=rows(10))
    files = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*.parquet")}
    monkeypatch.setattr(Hub, "files", {**files, "README.md": b"# n", "n.py": b"raise SystemExit(9)"})
    monkeypatch.setattr(Hub, "asked", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    point_to(address, monkeypatch)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield [
        "data=huggingface",
        "data.path=o/n",
        "data.size=12",
        "data.channels=1",
        f"paths.data_dir={tmp_path / 'data'}",
    ]
    server.shutdown()
    server.server_close()


def point_to(address: str, monkeypatch) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub.constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def gone(monkeypatch) -> None:
    """The hub does not answer any more: a port of nobody."""
    point_to("http://127.0.0.1:9", monkeypatch)


def test_a_name_of_the_hub_is_fetched_once_and_its_commit_kept(online, tmp_path, monkeypatch, capsys):
    cfg = checked(online).cfg
    fetched = tmp_path / "data" / "huggingface" / "o--n" / COMMIT
    assert (cfg.data.path, cfg.data.revision, dict(cfg.data.fingerprint)) == ("o/n", COMMIT, {})
    told = capsys.readouterr().err
    assert f"o/n: 2 files, 0.00 GB, are fetched to {fetched}" in told and "splits extra are left out" in told
    files = sorted(str(file.relative_to(fetched)) for file in fetched.rglob("*") if file.is_file())
    assert files == [f"data/{name}-00000-of-00001.parquet" for name in ("test", "train")]  # no other split, no script
    Hub.asked.clear()
    assert checked([*online, "data.revision=main"]).cfg.data.revision == COMMIT
    assert Hub.asked == ["/api/datasets/o/n/revision/main?blobs=true"]
    gone(monkeypatch)
    assert checked([*online, f"data.revision={COMMIT}"]).cfg.data.outputs == 2


def test_a_run_reads_the_commit_that_it_was_trained_on(online, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    quiet = ["logger=none", "callbacks=none", f"run_dir={run}", "trainer.max_steps=1"]
    tested = dlcourse.run(*online, *quiet).metrics["test/loss"]
    (tmp_path / "here" / "o" / "n").mkdir(parents=True)  # has no say now
    gone(monkeypatch)
    assert evaluate([f"run={run}"]) == 0
    assert dlcourse.run(f"resume={run}", "trainer.max_steps=2").metrics["test/loss"] != tested
    shutil.rmtree(tmp_path / "data" / "huggingface")
    with pytest.raises(Refused, match="data.path=o/n.* does not answer") as caught:
        evaluate([f"run={run}"])
    assert caught.value.code == ENVIRONMENT
    assert report([f"run={run}"]) == 0
    assert (
        f"(o/n at revision {COMMIT} is not in {tmp_path / 'data' / 'huggingface'} any more)" in capsys.readouterr().err
    )


def test_a_hub_that_does_not_answer_is_refused(online, monkeypatch):
    gone(monkeypatch)
    with pytest.raises(Refused) as caught:
        checked(online)
    assert caught.value.code == ENVIRONMENT
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "data.path=o/n: there is no such file or folder here, and the hub of Hugging Face does not answer"
    )
    assert lines[2] == "Set data.path to a folder here" and len(lines) == 3


def test_offline_is_respected_and_what_was_fetched_is_named(online, monkeypatch):
    checked(online)
    Hub.asked.clear()
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Refused, match=f"There is a copy of before: data.revision={COMMIT}") as caught:
        checked(online)
    assert caught.value.code == ENVIRONMENT and not Hub.asked and "HF_HUB_OFFLINE" in str(caught.value)


def test_files_that_came_damaged_are_not_kept(online, tmp_path, monkeypatch):
    monkeypatch.setattr(Hub, "sent", lambda _, content: content[:-1] + b"?")
    with pytest.raises(Refused, match="came damaged; run it again") as caught:
        checked(online)
    assert caught.value.code == ENVIRONMENT
    assert [file.suffix for file in (tmp_path / "data" / "huggingface" / "o--n").iterdir()] == [".lock"]


def test_what_is_cut_off_goes_on(online, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "huggingface" / "o--n"
    with monkeypatch.context() as patch:
        (lost,) = [name for name in Hub.files if "train" in name]
        patch.setattr(Hub, "sent", lambda hub, content: b"" if hub.path.endswith(lost) else content)
        with pytest.raises(Refused, match="run it again to go on") as caught:
            checked(online)
    assert caught.value.code == ENVIRONMENT and not (folder / COMMIT).exists()
    Hub.asked.clear()
    whole = {path.name for path in folder.glob("*.part/data/*.parquet")}  # several are fetched at once
    assert checked(online).cfg.data.outputs == 2 and (folder / COMMIT).is_dir()
    assert not [path for path in Hub.asked if "resolve" in path and Path(path).name in whole]


def test_a_full_disk_is_told_before_anything_is_fetched(online, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: Room)
    with pytest.raises(Refused, match=r"o/n has 0.00 GB, .* 0.00 GB left\nSet paths.data_dir") as caught:
        checked(online)
    assert caught.value.code == ENVIRONMENT and not [path for path in Hub.asked if "resolve" in path]


class Room:
    free = 99


def test_a_folder_of_a_data_set_can_be_named(online, monkeypatch):
    files = {f"{folder}/{name}": held for name, held in Hub.files.items() for folder in ("big", "small")}
    monkeypatch.setattr(Hub, "files", files)
    message = refusal(checked, online)
    assert "o/n holds several data sets, extra is in o/n/big/data, o/n/small/data\n" in message
    assert not [path for path in Hub.asked if "resolve" in path]
    assert checked([*online, "data.path=o/n/big"]).cfg.data.path == "o/n/big"
    assert len([path for path in Hub.asked if "resolve" in path and "small" in path]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.path=[a,b]"], "set data.path=FOLDER, or to a name of the hub"),
        (["data.path=o/other"], "no such data set on the hub"),
        (["data.path=o/n/sub"], "has no Parquet files there, and nothing else of it is fetched or run"),
        (["data.revision=v9"], "data.revision=v9: o/n has no such revision on the hub"),
        (["data.path=./o/n"], "there is no such file or folder, and a name of the hub is as ylecun/mnist"),
        (["data.path=pictures.parquet"], "there is no such file or folder"),
        (["data.path=..", "data.revision=main"], "data.revision=main is of a name of the hub"),
    ],
)
def test_what_is_neither_here_nor_on_the_hub_is_refused(online, words, said):
    assert said in refusal(checked, [*online, *words])


def test_a_folder_here_has_precedence(online, tmp_path):
    parquet(tmp_path / "here" / "o" / "n", train=rows())
    cfg = checked(online).cfg
    assert cfg.data.path == str(tmp_path / "here" / "o" / "n") and cfg.data.revision is None and not Hub.asked


@pytest.mark.parametrize("package", ["pyarrow", "huggingface_hub"])
def test_a_package_that_lacks_is_named(online, tmp_path, monkeypatch, package):
    monkeypatch.setattr("dlcourse.data.huggingface_files.find_spec", lambda name: None if name == package else name)
    words = [] if package == "huggingface_hub" else [f"data.path={parquet(tmp_path / 'set', train=rows())}"]
    assert f"needs {package}: pip install -e '.[huggingface]'" in refusal(checked, [*online, *words])


def test_nothing_is_written_in_the_home_directory_and_torch_not_imported(tmp_path):
    parquet(tmp_path / "set", train=rows())
    code = (
        "import sys; from dlcourse.data.huggingface_facts import huggingface_facts\n"
        f"huggingface_facts({str(tmp_path / 'set')!r}, 8, 3, {TASKS!r})\n"
        "print({'torch', 'lightning', 'datasets', 'huggingface_hub'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"HOME": str(tmp_path / "home")}
    )
    assert done.stdout == "set()\n" and not (tmp_path / "home").exists()
