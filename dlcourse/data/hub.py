"""Data sets of huggingface.co: their Parquet files at a commit, fetched once. Nothing else of them is fetched or run.

Imports neither torch nor lightning.
"""

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from dlcourse.data.huggingface_files import PARQUET, by_split, chosen, needs
from dlcourse.download import WRITABLE, check_writable
from dlcourse.errors import ENVIRONMENT, UNWRITABLE, Refused

NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")  # OWNER/NAME, or a folder in it, OWNER/NAME/FOLDER
COMMIT = re.compile(r"[0-9a-f]{40}")
CONVERTED = "refs/convert/parquet"  # where the hub keeps a copy of each data set as Parquet
TIMEOUT = 5  # seconds to wait for the hub's first answer


def is_hub_name(path: str) -> bool:
    """Whether a path is no file here, and may be the name of a data set of the hub."""
    return NAME.fullmatch(path) is not None and not path.endswith(PARQUET) and not Path(path).exists()


def located(path: str, revision: str | None, below: Path) -> tuple[Path, str | None]:
    """The folder or file of a path; of a name of the hub the folder that it was fetched to, and the commit.

    A folder here has precedence over a name of the hub without a revision.
    """
    if revision is None and Path(path).exists():
        return Path(path), None
    if Path(path).is_absolute() or not NAME.fullmatch(path):
        if revision is not None:
            raise Refused(f"data.revision={revision} is of a name of the hub, and data.path={path} is a path here")
        raise Refused(f"data.path={path}: there is no such file or folder, and a name of the hub is as ylecun/mnist")
    if revision is not None and not isinstance(revision, str):
        raise Refused(
            f"data.revision={revision} must be a branch, a tag or a commit; put it in quotes: '\"{revision}\"'"
        )
    if revision is None or not COMMIT.fullmatch(revision) or not folder_of(path, revision, below).is_dir():
        revision = _fetch(path, revision, below)
    return folder_of(path, revision, below) / PurePosixPath(path).relative_to(_name(path)), revision


def folder_of(path: str, commit: str, below: Path) -> Path:
    """The folder that the Parquet files of a commit are fetched to. It is there when all of them are."""
    return below / path.replace("/", "--") / commit


def _name(path: str) -> str:
    """OWNER/NAME."""
    return "/".join(path.split("/")[:2])


def _fetch(path: str, revision: str | None, below: Path) -> str:
    """Fetch the splits that are sets, and say of which commit. Refused (5): the hub cannot be reached."""
    needs("huggingface_hub", f"data.path={path}: there is no such file or folder here, and fetching it from the hub")
    info = _info(path, revision, below)
    root, name = PurePosixPath(path), _name(path)
    held = {PurePosixPath(name, each.rfilename): each for each in info.siblings}
    files = [file for file in sorted(held) if file.suffix == PARQUET and file.is_relative_to(root)]
    if not files:
        raise Refused(
            f"data.path={path}: the hub has no Parquet files there, and nothing else of it is fetched or run; its own "
            f"copy of many data sets is data.revision={CONVERTED}"
        )
    splits = chosen(by_split(files, root), root)
    wanted = [held[file] for split in splits.sets.values() for file in split.files]
    if splits.left_out:
        print(f"{path}: the splits {', '.join(each.name for each in splits.left_out)} are left out", file=sys.stderr)
    whole = folder_of(path, info.sha, below)
    check_writable(whole.parent)
    with FileLock(whole.with_suffix(".lock")):
        if not whole.is_dir():  # no other process has fetched it meanwhile
            _download(info, wanted, whole, path)
    return str(info.sha)


def _info(path: str, revision: str | None, below: Path) -> Any:
    """The commit and the files of a data set."""
    os.environ.setdefault("HF_XET_CACHE", str(below / "xet"))  # both are read when huggingface_hub is imported
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = _name(path)
    try:
        return HfApi().dataset_info(name, revision=revision, timeout=TIMEOUT, files_metadata=True)
    except GatedRepoError:
        raise Refused(
            f"data.path={path}: its owner wants terms to be accepted on https://huggingface.co/datasets/{name}; do it, "
            "then `hf auth login`"
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise Refused(
            f"data.path={path}: there is no such file or folder here, and no such data set on the hub of Hugging Face "
            "(a private one needs `hf auth login`)"
        ) from None
    except RevisionNotFoundError:
        raise Refused(f"data.revision={revision}: {name} has no such revision on the hub; leave it out") from None
    except Exception as error:  # of httpx, of a proxy, of the hub itself: there is no answer
        raise _unreachable(path, error, folder_of(path, "", below)) from error


def _download(info: Any, files: list[Any], whole: Path, path: str) -> None:
    """Fetch files to a folder, which is there when all of them are, with the SHA-256 that the hub says."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    size, free = sum(file.size or 0 for file in files), shutil.disk_usage(whole.parent).free
    if size > free:
        raise Refused(
            f"{path} has {size / 1e9:.2f} GB, {whole.parent} {free / 1e9:.2f} GB left\n{WRITABLE}", ENVIRONMENT
        )
    print(f"{path}: {len(files)} files, {size / 1e9:.2f} GB, are fetched to {whole}", file=sys.stderr, flush=True)
    part = whole.with_suffix(".part")
    wanted = {"repo_type": "dataset", "revision": info.sha, "allow_patterns": [file.rfilename for file in files]}
    try:
        snapshot_download(info.id, **wanted, local_dir=part, cache_dir=part)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise
        raise _unreachable(path, error, whole.parent, "; run it again to go on") from error
    for file in files:
        with (part / file.rfilename).open("rb") as content:
            if file.lfs and hashlib.file_digest(content, "sha256").hexdigest() != file.lfs.sha256:
                shutil.rmtree(part)
                raise Refused(f"{path}: {file.rfilename} came damaged; run it again", ENVIRONMENT)
    shutil.rmtree(part / ".cache", ignore_errors=True)
    part.rename(whole)


def _unreachable(path: str, error: Exception, folder: Path, again: str = "") -> Refused:
    """``folder``: where commits were fetched to."""
    fetched = sorted(each.name for each in folder.glob("*") if COMMIT.fullmatch(each.name))
    way = f"There is a copy of before: data.revision={fetched[-1]}" if fetched else "Set data.path to a folder here"
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:250]
    return Refused(
        f"data.path={path}: there is no such file or folder here, and the hub of Hugging Face does not answer{again}\n"
        f"({reason})\n{way}",
        ENVIRONMENT,
    )
