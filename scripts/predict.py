"""Print a prediction for each row or picture of a file or folder: python scripts/predict.py run=RUN input=FILE

Of a table it prints the numbers of the rows, as a spreadsheet counts them, and what is predicted. A row that cannot be
predicted, because of an unknown word or a missing value, is named with the reason; with strict=true the whole file is
refused. With output=FILE.csv or FILE.parquet it writes the class and the probabilities, or the values, of each row,
after the columns of the table that was read. With output=FOLDER it also writes what can be drawn, a PNG for each:
pictures, masks, pictures with boxes; with output=FILE.npy the predictions as an array: probabilities, values, pictures,
codes. A picture file is converted to the size that the model takes: boxes are in the pixels of the file, turned
upright, all that is drawn is of the converted picture. With normalise=true each file is a photo of one sign, as a digit
on paper: it is cut out and centred as MNIST's were, and marked where it is unlike the training pictures.
"""

import sys
from collections.abc import Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from dlcourse.cli import guarded, parse_script_overrides
from dlcourse.errors import Refused, in_utf8, printable

TABLES = (".csv", ".parquet")


def predict(words: list[str]) -> int:
    given = parse_script_overrides(words, "run", "input", "output", "strict", "normalise")
    if "input" not in given:
        raise Refused("input=: which file or folder? (python scripts/predict.py run=RUN input=FILE)")
    path = Path(str(given.text("input")))
    if not path.exists():
        raise Refused(f"input={path}: there is no such file or folder")
    output = check_output(Path(str(given.text("output"))), path) if "output" in given else None
    import numpy as np
    import torch

    from dlcourse.data.folder_files import SUFFIXES
    from dlcourse.data.picture import pictures_in, upright_size
    from dlcourse.runs.inference import has_light_background, normalised
    from dlcourse.runs.trained import restore
    from dlcourse.tasks.predictions import forward_batches

    _, model, data = restore(given.text("run"), given)
    files = pictures_in(path) if path.is_dir() else [path] * (path.suffix.lower() in SUFFIXES)
    unlike = None
    if given.flag("normalise"):
        if not files:
            raise Refused(f"input={path}: normalise=true takes pictures ({', '.join(SUFFIXES)}), or a folder of them")
        x, unlike = normalised(model, data, files)
        faults: Mapping[int, str] = {}
    else:
        x, faults = data.rows_to_predict(path)
    table: Any = None if files else data.table(path)
    if faults:
        tell_faults(path, faults, len(x), table.first_row, given.flag("strict"))
    if unlike is not None and (count := int(unlike.sum())):
        print(f"{count} of {len(x)} pictures are unlike the training pictures", file=sys.stderr)
    if count := int(has_light_background(model, data, x).sum()):
        print(
            f"{count} of {len(x)} pictures have a much lighter background than the training pictures; "
            "if those are light on dark, invert yours.",
            file=sys.stderr,
        )
    found = forward_batches(model, x)
    columns = model.task.as_columns(found)
    if faults and (columns is None or output is not None and output.suffix not in TABLES):
        raise Refused(f"{path}: such rows have no place in what is made of it; correct them, or write output=FILE.csv")
    if output is not None and output.suffix in TABLES:
        if columns is None:
            kind = type(model.task).__name__
            raise Refused(f"output={output}: {kind} makes no table; write output=FILE.npy or a folder")
        columns |= {} if unlike is None else {"unlike the training pictures": unlike.numpy()}
        return write_predictions(output, columns, table, [file.name for file in files], faults)
    names = [file.name for file in files] if path.is_dir() else None
    if output is not None and output.suffix != ".npy":
        if (drawn := model.task.draw(x, found, float(data.white or x.max()))) is None:
            raise Refused(f"output={output}: {type(model.task).__name__} draws no pictures; write output=FILE.npy")
        write_pictures(output, drawn, names or ([path.name] if len(drawn) == 1 else None))
    if files and x.ndim == 4:
        factors = torch.tensor([upright_size(file) for file in files]) / torch.tensor(x.shape[2:])
        if model.task.of_converted and bool((factors != 1).any()):
            print(model.task.of_converted, file=sys.stderr)
        found = model.task.enlarge(found, factors)
    if output is not None and output.suffix == ".npy":
        np.save(output, found.a.numpy())
    if table is not None and columns is not None:
        return print_rows(columns, faults, table.first_row)
    marks = repeat("") if unlike is None else ["\tunlike the training pictures" * bool(each) for each in unlike]
    printed = [*map(in_utf8, names)] if names else repeat(None)
    for name, line, mark in zip(printed, model.task.format_predictions(found), marks, strict=False):
        print(f"{name}\t{line}{mark}" if name else f"{line}{mark}")
    return 0


def tell_faults(path: Path, faults: Mapping[int, str], others: int, first_row: int, strict: bool) -> None:
    """Say how many rows cannot be predicted, and why the first one. Refused: any if ``strict``; all of them."""
    (position, reason), count = next(iter(faults.items())), len(faults)
    told = f"{count:,} of {count + others:,} rows cannot be predicted; row {position + first_row}: {reason}"
    if strict or not others:
        raise Refused(f"{path}: {told}")
    print(told, file=sys.stderr)


def print_rows(columns: Mapping[str, Any], faults: Mapping[int, str], first_row: int) -> int:
    """A line for each row of a table, separated by tabs: its number, what is predicted, or why nothing is."""
    print("\t".join(["row", *columns, *["error"] * bool(faults)]))
    predicted = zip(*columns.values(), strict=True)
    for position in range(len(next(iter(columns.values()))) + len(faults)):
        cells = [""] * len(columns) if position in faults else map(shown, next(predicted))
        reason = [printable(faults.get(position, ""))] if faults else []
        print("\t".join([str(position + first_row), *cells, *reason]))
    return 0


def shown(value: Any) -> str:
    """A word, or a number to the digits that its type keeps."""
    import numpy as np

    return f"{value:.{np.finfo(value.dtype).precision}g}" if isinstance(value, np.floating) else str(value)


def write_predictions(
    output: Path, columns: Mapping[str, Any], table: Any, names: Sequence[str], faults: Mapping[int, str]
) -> int:
    """The predictions as a table: after the columns of a table, or after the names of pictures or numbers of rows."""
    import numpy as np

    from dlcourse.data.table_output import write_table

    count = len(next(iter(columns.values())))
    first = {"file": np.array([*map(in_utf8, names)], dtype=object)} if names else {"row": np.arange(count)}
    write_table(output, columns if table is not None else {**first, **columns}, table, faults)
    print(f"{count:,} predictions: {output}")
    return 0


def check_output(output: Path, path: Path) -> Path:
    """The place to write to. Refused: it holds the input, is no place for a file or folder, or has no folder."""
    if output.resolve() in (path.resolve(), path.resolve().parent):
        raise Refused(f"output={output} holds the input; choose another name")
    if output.suffix in TABLES and output.exists():
        raise Refused(f"output={output} exists; choose another name, or remove it")
    if output.suffix in (".npy", *TABLES) and not output.parent.is_dir():
        raise Refused(f"output={output}: there is no folder {output.parent}; make it first, or choose another")
    if output.suffix == ".npy" and output.is_dir():
        raise Refused(f"output={output} is a folder; choose the name of a file")
    if output.suffix in TABLES:
        return output
    file = next((place for place in (output, *output.parents) if place.exists() and not place.is_dir()), None)
    if output.suffix != ".npy" and file:
        raise Refused(f"output={output}: {file} is a file where a folder is wanted; for an array write output=FILE.npy")
    return output


def write_pictures(folder: Path, drawn: Sequence[Any], names: Sequence[str] | None) -> None:
    """A PNG for each picture, by the name of its file, or by its number."""
    stems = [Path(name).stem for name in names or map(str, range(len(drawn)))]
    unique = len(set(stems)) == len(stems)
    folder.mkdir(parents=True, exist_ok=True)
    for image, stem, name in zip(drawn, stems, names or stems, strict=True):
        image.save(folder / f"{stem if unique else name}.png")


if __name__ == "__main__":
    sys.exit(guarded(predict))
