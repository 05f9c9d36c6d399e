"""What was found of a person's files, kept in a folder for the next time: pixels, and what the headers say.

Imports neither torch nor lightning. A name in the folder is a hash of what it was made of (the path, size and times of
each file, how they are read), so a changed file is read anew; `clear` deletes what no process is writing.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock

from dlcourse.data.fingerprint import state_of
from dlcourse.errors import ENVIRONMENT, Refused

#: From so many bytes on, of files or of pixels, what was read is kept. Below, reading takes seconds, and the pixels
#: have room in memory: a second copy on the disk would be of no use.
LARGE = 256 * 2**20
MANY = 10_000  # pictures, each of which takes a tenth of a millisecond to open, and longer to read
#: Names of files that are kept, and of those that a killed process left.
OWN = re.compile(r"\.?[0-9a-f]{32}(\.keys)?\.(npy|json|lock)(\.(?P<process>\d+))?|sums\.sqlite(-\w+)?")
CLEAR = "python scripts/inspect_data.py clear=cache"


def is_large(files: Sequence[Path], count: int, each: int = 0) -> bool:
    """Whether what is read of files is kept: ``count`` pictures are many; the files, or pixels of ``each``, large."""
    return count > MANY or max(size_of(files), count * each) > LARGE


def size_of(files: Sequence[Path]) -> int:
    """The bytes of files together."""
    return sum(file.stat().st_size for file in files)


def kept_as(files: Sequence[Path], *how: Any) -> str:
    """The name under which what was read of files is kept: a hash of their paths, sizes and times, and of how."""
    found = blake2b(repr(how).encode(), digest_size=16)
    for file in files:
        found.update(repr(state_of(file)).encode())
    return found.hexdigest()


def recalled(path: Path) -> Any:
    """What a JSON file holds; None if it is not there, or damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def remember(path: Path, found: Any) -> None:
    with written(path) as file:
        file.write(json.dumps(found).encode())


def stored_pixels(
    path: Path, count: int, shape: Sequence[int], dtype: str, pixels: Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, *shape), mapped from a file, and their keys (N,); the file is written first if it is not there."""
    if (found := _mapped(path)) is None:
        with _writable(path), FileLock(path.with_suffix(".lock")):
            if (found := _mapped(path)) is None:  # no other process has written it meanwhile
                _write_pixels(path, count, shape, dtype, pixels)
                found = _mapped(path)
    assert found is not None
    return found


def _mapped(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Pixels and their keys; None if a file lacks or is cut off."""
    try:  # copied on writing: torch warns of a map that cannot be written to
        return np.load(path, mmap_mode="c"), np.load(path.with_suffix(".keys.npy"))
    except (FileNotFoundError, EOFError, ValueError):
        return None


def _write_pixels(path: Path, count: int, shape: Sequence[int], dtype: str, pixels: Iterable[np.ndarray]) -> None:
    size = count * int(np.prod(shape)) * np.dtype(dtype).itemsize
    print(f"{size / 1e9:.2f} GB of pixels are kept in {path}; {CLEAR} deletes them", file=sys.stderr, flush=True)
    keys = np.empty(count, np.int64)
    with written(path, size) as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (count, *shape)})
        for k, values in zip(range(count), pixels, strict=True):
            keys[k] = key_of(values)
            file.write(values.tobytes())
        with written(path.with_suffix(".keys.npy")) as other:
            np.save(other, keys)


def key_of(values: np.ndarray) -> int:
    """A 64-bit number, the same for equal arrays."""
    return int.from_bytes(blake2b(values.tobytes(), digest_size=8).digest(), signed=True)


@contextmanager
def written(path: Path, size: int = 0) -> Iterator[IO[bytes]]:
    """A file to write, that is there at the end, whole, or not at all. Refused (5): the disk is full, or read-only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with _writable(path):
        if size > (free := shutil.disk_usage(path.parent).free):
            raise Refused(f"{path.parent} has {free / 1e9:.2f} GB left; {WAYS}", ENVIRONMENT)
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """The folder of a file is there. Refused (5): it, or what is written to it, fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}; {WAYS}", ENVIRONMENT) from error


WAYS = f"set paths.data_dir to another disk, free some of it ({CLEAR}), or set data.cache=null to read into memory"


def clear(folder: Path) -> tuple[int, int]:
    """Delete what is kept in a folder, and nothing else: how many files, and of how many bytes.

    What a process is writing stays.
    """
    matches = [(file, OWN.fullmatch(file.name)) for file in folder.glob("*")]
    files = [file for file, match in matches if match and not _is_alive(match["process"])]
    size = size_of(files)
    for file in files:
        file.unlink(missing_ok=True)
    return len(files), size


def _is_alive(process: str | None) -> bool:
    try:
        os.kill(int(process or ""), 0)  # sends nothing
    except (ValueError, ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another person's
        return True
    return True
