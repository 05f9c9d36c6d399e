"""Checkpoint files: written atomically, verified before they are loaded, tensors and plain values only."""

import os
import pickle
import random
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch.plugins.io import CheckpointIO

from dlcourse.errors import CHECKPOINT, Refused

LAST, PREVIOUS, BEST = "last.ckpt", "last.prev.ckpt", "best.ckpt"


class Checkpoint(NamedTuple):
    """A loaded checkpoint: its file and its contents."""

    path: Path
    state: dict[str, Any]


class AtomicIO(CheckpointIO):
    """Writes a temporary file, flushes it to disk and renames it; the previous ``last.ckpt`` is kept.

    ``loaded``: a checkpoint that was already loaded and verified; it is returned once instead of reading the file.
    """

    def __init__(self, loaded: Checkpoint | None = None):
        self.loaded = loaded

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        temporary = path.with_name(f".{path.name}.part")  # the run's lock admits one writing process
        try:
            with open(temporary, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except Exception as error:
            temporary.unlink(missing_ok=True)  # otherwise a read-only folder would be reported as a missing file
            # On a full disk PyTorch's writer complains about an unexpected position.
            cause = error if isinstance(error, OSError) else error.__context__
            if isinstance(cause, OSError):
                raise OSError(cause.errno, cause.strerror, str(path)) from None
            raise
        if path.name == LAST and path.exists():
            os.replace(path, path.with_name(PREVIOUS))
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # a power failure could otherwise undo the rename
        finally:
            os.close(folder)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        loaded, self.loaded = self.loaded, None
        return loaded.state if loaded is not None and loaded.path == Path(path) else load(Path(path), map_location)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def load(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Load a checkpoint after verifying the checksum of every entry; nothing in it can run code."""
    if re.match(r"\w+:/", str(path)):  # Path turns // into /
        raise Refused(f"{path}: checkpoints must be files, not URLs", CHECKPOINT)
    try:
        with open(path, "rb") as file:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise Refused(f"{path} is damaged (its entry {damaged} fails the checksum)", CHECKPOINT)
            file.seek(0)
            return torch.load(file, map_location=map_location or "cpu", weights_only=True)
    except FileNotFoundError:
        raise Refused(f"{path}: checkpoint not found", CHECKPOINT) from None
    except pickle.UnpicklingError:
        raise Refused(
            f"{path} holds objects other than tensors and plain values; it was not loaded", CHECKPOINT
        ) from None
    except (Refused, PermissionError, MemoryError):
        raise
    except Exception:  # a damaged header can look like anything
        raise Refused(f"{path} is damaged or not a checkpoint", CHECKPOINT) from None


def newest_readable(folder: Path) -> tuple[Checkpoint, list[str]]:
    """The newest checkpoint that can be loaded to resume from, and what is wrong with newer ones."""
    problems: list[str] = []
    for name in (LAST, PREVIOUS):
        try:
            return Checkpoint(folder / name, load(folder / name)), problems
        except Refused as refusal:
            problems.append(str(refusal))
    raise Refused("\n".join(problems), CHECKPOINT)


def has_checkpoint(run: Path) -> bool:
    """Whether a run has a checkpoint to resume from; it may be damaged."""
    return any((run / "checkpoints" / name).exists() for name in (LAST, PREVIOUS))


def random_state() -> dict[str, Any]:
    """The state of every global random number generator, as tensors and plain values."""
    kind, keys, *rest = np.random.get_state()
    version, internal, gauss = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": [version, torch.tensor(internal), gauss],  # a tensor: one object to pickle, not 625
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()  # of this process's device; all processes have the same seed
    return state


def set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(torch.as_tensor(internal).tolist()), gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
