"""Runs know what a person's files held: what changed since is said, and never trained or tested on by mistake."""

import hashlib
import json
import os
import shutil

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import dlcourse
from dlcourse.data import fingerprint as module
from dlcourse.data.fingerprint import differences, fingerprint
from dlcourse.data.folder_facts import inspect_folder
from dlcourse.errors import CONFIG, Refused
from scripts.evaluate import evaluate
from scripts.export import export
from scripts.predict import predict
from scripts.report import report

QUIET = ["logger=none", "callbacks=none", "report=false", "trainer.max_epochs=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a table of 60 rows, and a run that was trained on it."""
    folder = tmp_path_factory.mktemp("fingerprint")
    draw = np.random.default_rng(0).normal(size=(60, 2))
    lines = [f"{a:.3f},{b:.3f},{'ab'[int(a > b)]}" for a, b in draw]
    (folder / "own.csv").write_text("\n".join(["u,v,kind", *lines]) + "\n")
    words = ["data=table", f"data.path={folder / 'own.csv'}", "data.target=kind", f"run_dir={folder / 'run'}"]
    dlcourse.run(*QUIET, *words)
    return folder


@pytest.fixture
def changed(trained):
    """The run, while its table lacks a row; afterwards the table is whole again."""
    table = trained / "own.csv"
    whole = table.read_text()
    table.write_text(whole.rpartition("\n")[0].rpartition("\n")[0] + "\n")
    yield trained / "run"
    table.write_text(whole)


def test_what_a_fingerprint_says_of_files_and_of_folders(tmp_path):
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (tmp_path / name for name in "abc")
    one = fingerprint({str(a): [a], "group": [b, c]})
    assert one[str(a)] == "6b86b273ff34fce1"  # sha256sum
    assert one == fingerprint({"group": [c, b], str(a): [a]})
    b.unlink()
    assert differences(one, fingerprint({"group": [c], "d": [a]})) == [
        f"{a} is not there any more",
        "group has changed: 1 files, 2 before",
        "d is new",
    ]
    renamed = fingerprint({"group": [c.rename(b)]})
    assert differences(fingerprint({"group": [a]}), renamed) == ["group has changed"]


def test_sums_of_large_files_are_kept_until_the_file_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 1)
    file, read = tmp_path / "large", []
    add = module._sum.__wrapped__
    monkeypatch.setattr(module, "_sum", lambda state: read.append(state) or add(state))
    found = []
    for content in ("1", "1", "2", "2"):
        rewrite(file, content)
        found.append(fingerprint({"large": [file]}, tmp_path / "cache")["large"])
    assert found[0] == found[1] != found[2] == found[3]
    assert len(read) == 2


def test_files_are_read_once_to_be_compared_and_summed(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
        for n in range(3):
            Image.new("L", (4, 4), n).save(tmp_path / name / f"{n}.png")
    read, digest = [], hashlib.file_digest
    monkeypatch.setattr("hashlib.file_digest", lambda file, kind: read.append(file.name) or digest(file, kind))
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: pytest.fail("read again"))
    said = inspect_folder(str(tmp_path), 4, 1, {"two": "binary"}, "binary").values["said"]
    assert "3 files are the same as another, byte by byte" in said
    assert len(read) == len({*read}) == 6


def rewrite(file, content: str) -> None:
    """Other content of the same size, and a time of change that does not tell."""
    if file.exists() and file.read_text() == content:
        return
    before = file.stat().st_ctime_ns if file.exists() else 0
    file.write_text(content)
    os.utime(file, ns=(0, 10**9))
    while file.stat().st_ctime_ns == before:  # the clock of a file system ticks every few milliseconds
        os.utime(file, ns=(0, 10**9))


def test_evaluate_refuses_a_table_that_has_changed(changed, capsys):
    with pytest.raises(Refused, match="own.csv has changed\n.*allow_changed=true") as refusal:
        evaluate([f"run={changed}"])
    assert refusal.value.code == CONFIG
    assert evaluate([f"run={changed}", "allow_changed=true"]) == 0
    assert "own.csv has changed" in capsys.readouterr().out
    with pytest.raises(Refused, match="allow_changed=true or allow_changed=false"):
        evaluate([f"run={changed}", "allow_changed=perhaps"])


def test_naming_the_same_file_as_other_data_does_not_hide_it(changed, trained, tmp_path):
    table = trained / "own.csv"
    words = [f"run={changed}", "data=table", "data.target=kind"]
    with pytest.raises(Refused, match="own.csv has changed"):
        evaluate([*words, f"data.path={table}"])
    assert evaluate([*words, f"data.path={shutil.copy(table, tmp_path / 'other.csv')}"]) == 0


def test_resume_refuses_it_and_leaves_the_run_as_it_was(changed):
    before = {file: file.read_bytes() for file in changed.rglob("*") if file.is_file()}
    with pytest.raises(Refused, match="own.csv has changed"):
        dlcourse.run(f"resume={changed}", "trainer.max_epochs=4")
    assert {file: file.read_bytes() for file in changed.rglob("*") if file.is_file()} == before


def test_resume_goes_on_where_nothing_changed(trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    os.utime(trained / "own.csv")  # another time, the same content
    assert dlcourse.run(f"resume={tmp_path / 'run'}", "trainer.max_epochs=3").metrics["epochs"] == 3


def test_a_report_is_made_of_what_the_run_stored(changed, capsys):
    assert report([f"run={changed}"]) == 0
    page = (changed / "report.html").read_text()
    assert "own.csv has changed" in page and "own.csv has changed" in capsys.readouterr().err


def test_what_needs_no_training_file(trained, tmp_path, capsys):
    table = (trained / "own.csv").rename(trained / "elsewhere.csv")
    try:
        run = f"run={trained / 'run'}"
        assert predict([run, f"input={table}"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 1 + 60
        assert export([run, "format=onnx"]) == 0
        assert "drawn inputs" in capsys.readouterr().out
        exported = onnxruntime.InferenceSession(str(trained / "run" / "model.onnx"))
        assert exported.run(None, {"x": np.zeros((3, 2), np.float32)})[0].shape == (3, 1)
        words = ["data=table", f"data.path={table}", "data.target=kind", f"init_from={trained / 'run'}"]
        new = dlcourse.run(*QUIET, *words, "trainer.max_steps=1", f"run_dir={tmp_path / 'new'}")
        assert new.metrics["epochs"] == 1
        with pytest.raises(Refused, match="own.csv cannot be read: it is not there"):
            evaluate([run])
        assert report([run]) == 0
    finally:
        table.rename(trained / "own.csv")


def test_a_run_without_one_says_so(trained, tmp_path, capsys):
    shutil.copytree(trained / "run", tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    lines = config.read_text().splitlines()
    at = lines.index("  fingerprint:")
    config.write_text("\n".join([*lines[:at], *lines[at + 2 :]]))
    assert evaluate([f"run={tmp_path / 'run'}"]) == 0
    assert "is not known" in capsys.readouterr().err


def test_it_is_of_test_and_validation_files_too(trained, tmp_path):
    shutil.copy(trained / "own.csv", tmp_path / "test.csv")
    words = ["data=table", f"data.path={trained / 'own.csv'}", "data.target=kind", f"run_dir={tmp_path / 'run'}"]
    dlcourse.run(*QUIET, *words, f"data.test_path={tmp_path / 'test.csv'}", "trainer.max_steps=1")
    with (tmp_path / "test.csv").open("a") as file:
        file.write("1,2,a\n")
    with pytest.raises(Refused, match="test.csv has changed"):
        evaluate([f"run={tmp_path / 'run'}"])
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 1


def test_it_is_of_every_picture(tmp_path):
    for kind in ("dark", "light"):
        for n in range(12):
            (tmp_path / "own" / kind).mkdir(parents=True, exist_ok=True)
            pixels = np.full((6, 6), {"dark": 40, "light": 200}[kind] + n, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / kind / f"{n}.png")
    words = ["data=image_folder", f"data.path={tmp_path / 'own'}", "data.size=8", f"run_dir={tmp_path / 'run'}"]
    dlcourse.run(*QUIET, *words, "trainer.max_steps=1")
    assert evaluate([f"run={tmp_path / 'run'}"]) == 0
    (tmp_path / "own" / "dark" / "3.png").unlink()
    with pytest.raises(Refused, match="dark has changed: 11 files, 12 before\n"):
        evaluate([f"run={tmp_path / 'run'}"])


def test_a_file_whose_name_is_no_text_is_summed_too(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 0)
    file = tmp_path / "M\udcfc.png"  # Latin 1
    file.write_bytes(b"x")
    sums = module.sums_of([file], tmp_path / "kept")
    assert sums == {file: hashlib.sha256(b"x").hexdigest()[: module.DIGITS]}
