"""D: data that would train, silently wrong."""

import atexit
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from scripts.benchmarks.prepare import prepare
from tests.faults.rows import ABSENT, SURVIVED, Outcome, Row, judged
from tests.faults.subjects import Subject

Arrays = tuple[np.ndarray, np.ndarray]


@cache
def mnist() -> Path:
    """MNIST's four files, uncompressed, in a folder that may be changed by copies only."""
    folder = Path(mkdtemp(prefix="mnist-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    prepare(folder)
    return folder / "MNIST" / "raw"


def digits() -> Arrays:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x.reshape(-1, 1, 8, 8).astype(np.float32), y


def given(
    subject: Subject,
    folder: Path,
    *,
    change: Callable[..., Arrays],
    named: tuple[str, ...] = (),
    fine: bool = False,
    **wishes: Any,
) -> Outcome:
    """A user's own arrays: those of the digits, changed."""
    x, y = change(*digits())
    np.savez(folder / "own.npz", x=x, y=y)
    done = subject.train(folder / "run", data=folder / "own.npz", epochs=1, **wishes)
    return judged(done, *named, wrong=not fine, untrained=None if fine else folder / "run")


def shaped(subject: Subject, folder: Path, *, change: Callable[..., Arrays]) -> Outcome:
    """Inputs of another shape than the one that is declared; the plain script declares none and takes any."""
    if subject.name != "dlcourse":
        return Outcome(ABSENT, 0)
    found = change(*digits())[0].shape
    return given(subject, folder, change=change, named=("(N, 1, 8, 8)", str(found)))


def put(array: str, value: float) -> Callable[..., Arrays]:
    def change(x: np.ndarray, y: np.ndarray) -> Arrays:
        (x[7:8, 0, 2, 3] if array == "x" else y[7:8])[:] = value
        return x, y

    return change


def table(subject: Subject, folder: Path, *, text: str, named: tuple[str, ...], target: str = "y") -> Outcome:
    """A CSV file: forty good rows, and what ``text`` adds to them."""
    path = folder / "own.csv"
    good = "".join(f"{k % 7},{k % 5},{k % 2}\n" for k in range(40))
    path.write_text(text.format(good=good))
    column = {"dlcourse": target}.get(subject.name, -1 if target == "y" else 7)
    done = subject.train(folder / "run", data=path, target=column, epochs=1)
    return judged(done, *named, untrained=folder / "run")


def replaced(subject: Subject, folder: Path, *, change: Callable[[bytes], bytes]) -> Outcome:
    """MNIST's training pictures, changed on the disk."""
    path = folder / "data" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    shutil.copytree(mnist(), path.parent)
    path.write_bytes(change(path.read_bytes()))
    done = subject.train(folder / "run", data="mnist", data_dir=folder / "data", epochs=1)
    return judged(done, "train-images-idx3-ubyte", untrained=folder / "run")


def alone(subject: Subject, folder: Path) -> Outcome:
    """Batch norm, and one row more than a batch in the training set."""
    batch_size = {"dlcourse": 128}.get(subject.name, 125)  # their training sets have 129 and 126 rows
    return given(subject, folder, change=a_few(179), batch_size=batch_size, batch_norm=True, fine=True)


def a_few(n: int) -> Callable[..., Arrays]:
    return lambda x, y: (x[:n], y[:n])


ROWS = [
    *(
        Row(f"D1-{v}", f"{v} in the inputs", partial(given, change=put("x", float(v)), named=("row 7", v)))
        for v in ("nan", "inf")
    ),
    *(
        Row(f"D2-{v}", f"label {v} of ten classes", partial(given, change=put("y", v), named=("row 7", str(v))))
        for v in (10, -1, -100, 200)
    ),
    Row(
        "D3-replaced",
        "MNIST: other pixels in the file",
        partial(replaced, change=lambda b: b[:9999] + b"\x07" * 99 + b[10098:]),
    ),
    Row("D3-truncated", "MNIST: the file cut short", partial(replaced, change=lambda b: b[:-1000])),
    *(
        Row(f"D4-{name}", f"inputs of shape {name}", partial(shaped, change=change))
        for name, change in {
            "NHWC": lambda x, y: (x.transpose(0, 2, 3, 1), y),
            "three-channels": lambda x, y: (x.repeat(3, 1), y),
            "unbatched": lambda x, y: (x[0], y[:1]),
            "smaller": lambda x, y: (x[..., 1:], y),
        }.items()
    ),
    Row("D5-empty", "no rows", partial(given, change=a_few(0), named=("no rows",))),
    Row(
        "D5-batch",
        "a batch larger than the set",
        partial(given, change=a_few(100), batch_size=4096, batch_norm=True, fine=True),
        SURVIVED,
        0,
    ),
    Row("D5-one", "batch norm and a last batch of one", alone, SURVIVED, 0),
    Row(
        "D6-target",
        "CSV: no such target column",
        partial(table, text="a,b,y\n{good}", target="yy", named=("yy", "a, b, y")),
    ),
    Row(
        "D6-text", "CSV: text among numbers", partial(table, text="a,b,y\n{good}3,x,1\n", named=("row 42", "'b'", "x"))
    ),
    Row("D6-ragged", "CSV: a cell too few", partial(table, text="a,b,y\n{good}3,1\n", named=("row 42",))),
    Row("D6-missing", "CSV: a missing value", partial(table, text="a,b,y\n3,,1\n{good}", named=("row 2", "'b'"))),
    Row(
        "D6-one-class",
        "CSV: one class only",
        partial(table, text="a,b,y\n1,2,0\n3,4,0\n5,6,0\n", named=("'y'", "every row")),
    ),
]
