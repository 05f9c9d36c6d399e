"""A checkpoint file: written whole or not at all, checked before it is read, tensors and plain values only."""

import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from dlcourse.errors import CHECKPOINT, Refused

LAST, PREVIOUS, BEST = "last.ckpt", "last.prev.ckpt", "best.ckpt"


class Checkpoint(NamedTuple):
    """A checkpoint that was read: its file, and what it holds."""

    path: Path
    state: dict[str, Any]


class AtomicIO(CheckpointIO):
    """Writes beside the target, flushes to the disk, then takes the target's place; the last one but one is kept.

    ``read`` is a checkpoint that was read and checked already; it is handed out once, and the file is not read again.
    """

    def __init__(self, read: Checkpoint | None = None):
        self.read = read

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        beside = path.with_name(f".{path.name}.part")  # the run's lock lets one process write here
        try:
            with open(beside, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except Exception as error:
            beside.unlink(missing_ok=True)  # or a folder that cannot be written would be reported as a missing file
            # PyTorch's writer tells a full disk as a position that it did not expect.
            full = error if isinstance(error, OSError) else error.__context__
            if isinstance(full, OSError):
                raise OSError(full.errno, full.strerror, str(path)) from None
            raise
        if path.name == LAST and path.exists():
            os.replace(path, path.with_name(PREVIOUS))
        os.replace(beside, path)
        sync_folder(path.parent)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        read, self.read = self.read, None
        return read.state if read is not None and read.path == Path(path) else load(Path(path), map_location)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, or a power failure could undo a rename; not every system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def load(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The contents of a checkpoint, after every byte has passed its checksum; nothing in it can run."""
    if re.match(r"\w+:/", str(path)):  # a Path has made one slash of two
        raise Refused(f"{path}: checkpoints are files, not addresses", CHECKPOINT)
    try:
        with open(path, "rb") as file:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise Refused(f"{path} is damaged (its entry {damaged} fails the checksum)", CHECKPOINT)
            file.seek(0)
            return torch.load(file, map_location=map_location or "cpu", weights_only=True)
    except FileNotFoundError:
        raise Refused(f"{path}: there is no such checkpoint", CHECKPOINT) from None
    except pickle.UnpicklingError:
        raise Refused(f"{path} holds more than tensors and plain values; it is not loaded", CHECKPOINT) from None
    except (Refused, PermissionError, MemoryError):
        raise
    except Exception:  # a damaged header can look like anything
        raise Refused(f"{path} is damaged or no checkpoint", CHECKPOINT) from None


def usable(folder: Path) -> tuple[Checkpoint, list[str]]:
    """The newest checkpoint to continue from that can be read, and what was found wrong with those before it."""
    complaints: list[str] = []
    for name in (LAST, PREVIOUS):
        try:
            return Checkpoint(folder / name, load(folder / name)), complaints
        except Refused as refusal:
            complaints.append(str(refusal))
    raise Refused("\n".join(complaints), CHECKPOINT)


def has_checkpoint(run: Path) -> bool:
    """Whether a run was killed after its first checkpoint, in whatever state that is."""
    return any((run / "checkpoints" / name).exists() for name in (LAST, PREVIOUS))
