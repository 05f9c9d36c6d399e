"""A fingerprint of a person's own files: what they contained when a run was trained on them.

Imports neither torch nor lightning.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from dlcourse.errors import Refused

#: From so many bytes on the sums of files are kept on disk, by path, size and times of change; fewer take 0.1 s to add.
LARGE = 2**26
KEPT = "sums.sqlite"
DIGITS = 16  # of the SHA-256 that are kept

Files = Mapping[str, Sequence[Path]]  # by what a person calls them: a file, or the folder of a class
State = tuple[str, int, int, int]  # path, size, time of the last change of its content, and of any change


def fingerprint(files: Files, cache: str | Path | None = None) -> dict[str, str]:
    """For each name of ``files`` what it holds: the sum of a file, or the number of a folder's files and one sum.

    ``cache``: the folder in which the sums of large files are kept. Refused: a file that cannot be read.
    """
    sums = sums_of([file for group in files.values() for file in group], cache)
    found = {}
    for name, group in files.items():
        if group == [Path(name)]:
            found[name] = sums[group[0]]
        else:
            lines = "".join(f"{file.name}\0{sums[file]}\n" for file in sorted(group))
            total = hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:DIGITS]
            found[name] = f"{len(group)} files, {total}"
    return found


def sums_of(files: Sequence[Path], cache: str | Path | None = None) -> dict[Path, str]:
    """The sum of each file, which is read once."""
    states = {file: state_of(file) for file in files}
    sums = _sums([*states.values()], cache)
    return {file: sums[state] for file, state in states.items()}


def changes(data: Any) -> list[str]:
    """What has changed in a person's own files since the run was trained on them, in words."""
    try:
        files = data.own_files()
        return [] if data.fingerprint is None else differences(data.fingerprint, fingerprint(files, data.cache))
    except Refused as refusal:
        return [str(refusal)]


def check_unchanged(data: Any) -> str:
    """What has changed in a person's own files, in words. Refused: anything, unless it may have changed."""
    if (changed := "; ".join(changes(data))) and not data.allow_changed:
        raise Refused(
            f"data={data.name} has changed since this run was trained, and perhaps which rows are for testing: "
            f"{changed}\nBring the files back, train anew, or evaluate it with allow_changed=true"
        )
    return changed


def differences(known: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What differs between two fingerprints, in words."""
    words = []
    for name in [*known, *(name for name in found if name not in known)]:
        before, now = (each.get(name, "").partition(" files")[0] for each in (known, found))
        if name not in found:
            words.append(f"{name} is not there any more")
        elif name not in known:
            words.append(f"{name} is new")
        elif known[name] != found[name]:
            counts = f": {now} files, {before} before" if before != now and before.isdigit() and now.isdigit() else ""
            words.append(f"{name} has changed{counts}")
    return words


def state_of(file: Path) -> State:
    """What is another when a file is written, even where its time is set back. Refused: it cannot be read."""
    try:
        stat = file.stat()
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from None
    return str(file.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _sums(states: Sequence[State], cache: str | Path | None) -> dict[State, str]:
    if cache is None or sum(size for _, size, *_ in states) < LARGE:
        return {state: _sum(state) for state in states}
    import sqlite3  # only large files need it

    try:
        Path(cache).mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(Path(cache, KEPT))) as kept, kept:
            kept.execute("create table if not exists states (path primary key, size, written, changed, sum)")
            known = {tuple(state): total for *state, total in kept.execute("select * from states")}
            new = {state: _sum(state) for state in states if state not in known}
            rows = ((*state, total) for state, total in new.items())
            kept.executemany("insert or replace into states values (?, ?, ?, ?, ?)", rows)
    except (OSError, UnicodeError, sqlite3.Error):  # nothing can be kept here, or by such a name; it costs only time
        return {state: _sum(state) for state in states}
    return {state: new.get(state) or known[state] for state in states}


@lru_cache(2**17)
def _sum(state: State) -> str:
    try:
        with open(state[0], "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
    except OSError as error:
        raise Refused(f"{state[0]} cannot be read: {error.strerror}") from None
