"""Arrow and Parquet files as Hugging Face's ``datasets`` writes them, read by pyarrow; no code of a data set is run.

Imports neither torch nor lightning.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from dlcourse.data.folder_files import SETS, named
from dlcourse.errors import Refused
from dlcourse.internals import feature_type, saved_files

if TYPE_CHECKING:
    import pyarrow

PARQUET = ".parquet"
PICTURES, CLASSES = "Image", "ClassLabel"  # kinds of columns
SHARD = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}(-\w+)?")  # train-00000-of-00002
AT_ONCE = 64  # rows of a Parquet file


class Feature(NamedTuple):
    """The kind of a column, as ``Image`` or ``ClassLabel``, "" where none is written; the names of its classes."""

    kind: str
    names: list[str] | None


class Split(NamedTuple):
    """A split by the name that the data set gives it, and its files in order; PurePath while they are not here."""

    name: str
    files: Sequence[Any]


class Splits(NamedTuple):
    """The splits that are the sets ``train``, ``val`` and ``test``; other splits and files, which are not read."""

    sets: dict[str, Split]
    left_out: Sequence[Split] = ()
    others: Sequence[Path] = ()


def needs(package: str, what: str) -> None:
    """Refuse what cannot be done without a package of the extra."""
    if find_spec(package) is None:
        raise Refused(f"{what} needs {package}: pip install -e '.[huggingface]'")


def splits_in(path: Path) -> Splits:
    """The splits of a folder that ``save_to_disk`` wrote, of a folder of Parquet files, or of one such file."""
    if path.is_file():
        return Splits({"train": Split("train", [path])})
    if (kept := path / "dataset_dict.json").is_file():
        return chosen({name: _saved(path / name) for name in _written(kept, itemgetter("splits"))}, path)
    if (path / "state.json").is_file():
        return Splits({"train": Split("train", _saved(path))})
    every = sorted(p for p in path.rglob("*") if p.is_file() and not _is_hidden(p.relative_to(path)))
    files = [p for p in every if p.suffix == PARQUET]
    if not files:
        raise Refused(
            f"{path} holds no data set as `datasets` writes it: neither a folder of save_to_disk, nor files *{PARQUET}"
        )
    others = [p for p in every if p.suffix != PARQUET and p.name != "README.md"]
    return chosen(by_split(files, path), path)._replace(others=others)


def by_split(files: Iterable[PurePath], root: PurePath) -> dict[str, list[PurePath]]:
    """Parquet files by their split: the name before -00000-of-00001, else the first word of a set, else a folder's."""
    found: dict[str, list[PurePath]] = {}
    for file in files:
        found.setdefault(_split_of(file.relative_to(root)), []).append(file)
    for name, group in found.items():
        if len(folders := dict.fromkeys(file.parent for file in group)) > 1:
            raise Refused(
                f"{root} holds several data sets, {name or 'a file'} is in {', '.join(map(str, [*folders][:5]))}\n"
                "Set data.path to one of these folders"
            )
    return found


def chosen(found: Mapping[str, Sequence[Any]], where: PurePath) -> Splits:
    """Which splits are the sets. Refused: none is for training, or two are the same set."""
    if len(found) == 1 and not any(map(_set_of, found)):
        (name, files) = next(iter(found.items()))
        return Splits({"train": Split(name or "train", files)})
    sets: dict[str, Split] = {}
    left_out = []
    for name, files in found.items():
        part = _set_of(name)
        if part is None:
            left_out.append(Split(name or named([*map(Path, files)]), files))
        elif part in sets:
            raise Refused(f"{where} has two splits for one set, {sets[part].name} and {name}; set data.path to a file")
        else:
            sets[part] = Split(name, files)
    if "train" not in sets:
        raise Refused(f"{where} has no split train, but {', '.join(found)}; set data.path to the file to train on")
    return Splits({part: sets[part] for part in SETS if part in sets}, left_out)


def rows_in(files: Sequence[Path]) -> int:
    """How many rows files have together."""
    count = 0
    for file in files:
        with _opened(file) as source:
            count += source.metadata.num_rows if file.suffix == PARQUET else sum(batch.num_rows for batch in source)
    return count


def schema_of(file: Path) -> "pyarrow.Schema":
    """The columns of a file."""
    with _opened(file) as source:
        return source.schema_arrow if file.suffix == PARQUET else source.schema


def features(schema: "pyarrow.Schema") -> dict[str, Feature]:
    """What ``datasets`` wrote of each column."""
    try:
        written = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        kinds = {name: feature_type(written.get(name)) for name in schema.names}
        return {
            name: Feature(kind, written[name]["names"] if kind == CLASSES else None) for name, kind in kinds.items()
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return dict.fromkeys(schema.names, Feature("", None))


def column(files: Sequence[Path], name: str) -> "Iterator[pyarrow.Array]":
    """The values of a column, some rows at a time."""
    for file in files:
        with _opened(file) as source:
            if name not in (source.schema_arrow if file.suffix == PARQUET else source.schema).names:
                raise Refused(f"{file} has no column '{name}', which other files of the data set have")
            if file.suffix == PARQUET:
                yield from (batch.column(0) for batch in source.iter_batches(AT_ONCE, columns=[name]))
            else:
                yield from (batch.column(name) for batch in source)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """A Parquet file, or a stream of Arrow batches. Refused: what is wrong with it, also while it is read."""
    needs("pyarrow", str(file))
    import pyarrow
    from pyarrow import ipc, parquet

    try:
        if file.suffix == PARQUET:
            with parquet.ParquetFile(file) as found:
                yield found
        else:
            with pyarrow.memory_map(str(file)) as source, ipc.open_stream(source) as stream:
                yield stream
    except (pyarrow.ArrowException, OSError) as error:
        raise Refused(f"{file} cannot be read ({str(error).splitlines()[0]}); write or fetch it again") from error


def _saved(folder: Path) -> list[Path]:
    """The Arrow files of a folder that ``save_to_disk`` wrote."""
    return [folder / name for name in _written(folder / "state.json", saved_files)]


def _written(file: Path, part: Callable[[Any], list[str]]) -> list[str]:
    """A part of what ``save_to_disk`` wrote of a data set."""
    try:
        return part(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{file} cannot be read ({error}); write the data set again") from error


def _split_of(file: PurePath) -> str:
    if shard := SHARD.fullmatch(file.stem):
        return shard["split"]
    words = (word for name in (file.stem, *reversed(file.parent.parts)) for word in re.split(r"[\W\d_]+", name))
    return next((word for word in words if _set_of(word)), "")


def _set_of(split: str) -> str | None:
    return next((part for part, names in SETS.items() if split.lower() in names), None)


def _is_hidden(path: PurePath) -> bool:
    return any(part.startswith(".") for part in path.parts)
