"""The lock of a run directory: held while the run lives, and not mistaken for that by whoever only looks."""

import json
import os
import threading
import time

import pytest
from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from dlcourse.errors import ENVIRONMENT, Refused
from dlcourse.runs.directory import RunDirectory, is_live
from dlcourse.runs.files import write, write_json, write_yaml


def test_a_live_run_keeps_its_directory(tmp_path):
    run = RunDirectory(tmp_path)
    run.acquire()
    assert is_live(tmp_path)
    with pytest.raises(Refused, match="still training") as refusal:
        RunDirectory(tmp_path).acquire()
    assert refusal.value.code == ENVIRONMENT
    run.release()
    assert not is_live(tmp_path)


def test_who_looks_at_a_directory_keeps_no_run_from_it(tmp_path):
    """A table of all runs takes each lock for a moment; a run that starts in that moment waits for it."""
    glance = FileLock(tmp_path / ".lock", thread_local=False)
    glance.acquire()
    threading.Thread(target=lambda: (time.sleep(0.1), glance.release())).start()
    run = RunDirectory(tmp_path)
    run.acquire()
    run.release()


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_where_nothing_may_be_written_a_run_is_what_it_says(tmp_path, monkeypatch, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert is_live(tmp_path)
    monkeypatch.setattr(FileLock, "acquire", lambda *a, **k: (_ for _ in ()).throw(Timeout("lock")))
    assert is_live(tmp_path)


WORDS = ["1e3", "1e-3", "0x10", "1_000", "on", "null", "~", "", "2020-01-01", "=", "<<", "a\nb ", "\x85", "é😀", ".inf"]
WORDS += ["1:30", "- a", "#", "x" * 500, "no UTF-8: \udcff"]


@pytest.mark.parametrize("text", WORDS, ids=ascii)
def test_a_text_comes_back_as_it_was_written(tmp_path, text):
    """Which text looks like a number differs from YAML's reader to OmegaConf's."""
    write_yaml(tmp_path / "x.yaml", {"a": text, "b": [text, 1e-3, True, None], "c": {"d": text}})
    told = OmegaConf.to_container(OmegaConf.load(tmp_path / "x.yaml"))
    assert told == {"a": text, "b": [text, 1e-3, True, None], "c": {"d": text}}
    write_json(tmp_path / "x.json", {"a": text})
    assert json.loads((tmp_path / "x.json").read_text("utf-8")) == {"a": text}


def test_what_a_full_disk_cuts_off_leaves_no_file_behind(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    (tmp_path / "a.json").write_text("before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "a.json", "after")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "before")]
