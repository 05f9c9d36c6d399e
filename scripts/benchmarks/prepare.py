"""The data as every contestant reads them: python -m scripts.benchmarks.prepare FOLDER [mnist] [digits]

A process of its own, so that the one which measures stays small: a process inherits its parent's peak of memory.
"""

import sys
from pathlib import Path

import numpy as np

from dlcourse.config.gate import compose_checked
from dlcourse.config.overrides import Overrides
from dlcourse.data.images import Mnist, to_idx
from dlcourse.runs.building import build


def prepare(folder: Path, *names: str) -> None:
    """MNIST and the digits as every contestant reads them: IDX files, and arrays in .npz files.

    Or what is named: the name of a data set, and after it words that it needs, as ``scenes model=detector``.
    """
    for name, *words in map(str.split, names or ("mnist", "digits")):
        tree = compose_checked(Overrides.parse([f"data={name}", *words])).tree
        data, _ = build(tree)
        train_set, test_set = data.arrays()
        arrays = {"x_train": train_set[0].squeeze(1).numpy(), "y_train": train_set[1].numpy()}
        if test_set is not None:
            arrays |= {"x_test": test_set[0].squeeze(1).numpy(), "y_test": test_set[1].numpy()}
            raw = folder / Mnist.folder
            raw.mkdir(parents=True, exist_ok=True)
            for stage, part in (("train", "train"), ("t10k", "test")) if name == "mnist" else ():
                (raw / f"{stage}-images-idx3-ubyte").write_bytes(to_idx(arrays[f"x_{part}"]))
                (raw / f"{stage}-labels-idx1-ubyte").write_bytes(to_idx(arrays[f"y_{part}"]))
        np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        if name == "digits":  # the same rows in each set, where accuracies are compared
            data.setup()
            split = {f"x_{stage}": rows.x.flatten(1).numpy() for stage, rows in data.sets.items()}
            split |= {f"y_{stage}": rows.y.numpy() for stage, rows in data.sets.items()}
            np.savez(folder / "digits_split.npz", **split)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), *sys.argv[2:])
