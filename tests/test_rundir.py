"""The lock of a run directory: held while the run lives, and not mistaken for that by whoever only looks."""

import threading
import time

import pytest
from filelock import FileLock, Timeout

from dlcourse.errors import ENVIRONMENT, Refused
from dlcourse.rundir import RunDirectory, is_live


def test_a_live_run_keeps_its_directory(tmp_path):
    run = RunDirectory(tmp_path)
    run.acquire()
    assert is_live(tmp_path)
    with pytest.raises(Refused, match="still going") as refusal:
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
