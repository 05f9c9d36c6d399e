"""The base of all data: checks, splits, standardisation and batches."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from dlcourse.data.fingerprint import check_unchanged
from dlcourse.data.folder_files import SUFFIXES
from dlcourse.data.loading import EpochSampler, Loader, Rows
from dlcourse.data.picture import array, described, dims, picture, pictures_in
from dlcourse.data.picture_file import Conversion
from dlcourse.data.sets import leave_rows_out, split_into_sets
from dlcourse.data.splits import positions
from dlcourse.data.stored import Stored
from dlcourse.data.targets import check_targets
from dlcourse.errors import Refused
from dlcourse.metrics import real
from dlcourse.tasks.base import PART, Batch, Task

Split = tuple[Tensor, Tensor]
EVALUATION_BATCH = 512


class Data(pl.LightningDataModule):
    """Inputs (N, *shape), held in memory or stored in a file, and targets, in three sets: train, val and test.

    A subclass implements ``arrays``. ``y`` is the kind of targets: ``classes`` (N,) of 0 … outputs − 1, ``labels``
    (N, outputs) of 0 and 1, ``values`` (N, outputs), ``masks`` (N, H, W) of the class of each pixel, ``boxes``
    (N, K, 5) of [x1, y1, x2, y2, class], padded with class −1. The task decides what is learned. An official test set
    is kept; without one it is a stratified fifth, drawn with a constant seed. Validation is ``val_fraction`` of the
    rest, stratified, by ``split_seed``; None: the last samples. ``train_samples`` draws so many of the training samples
    in the same way; no other set changes. Batches are `dlcourse.tasks.base.Batch`; the order is a function of
    (seed, epoch), augmentation of (seed, epoch, index). ``white``: the value of white in pictures.
    ``classes_in_training`` names classes: training and validation leave out the rows of all others, the test leaves out
    the rows of these; no row changes its set. ``labelled`` training rows, stratified, by ``split_seed``, have weight 1,
    all others weight 0: a loss does not count them, but a model may learn from their inputs.
    ``folds`` divides the rows, by class, and fold number ``fold`` is the test set.
    """

    name: str
    note: str | None = None
    described: str = ""  # how a person's own files were read
    conversion = Conversion()  # of picture files to pixels
    reorders = False  # whether the arrays are no one else's, so that a large table may be divided where it is
    fills = False  # whether inputs may be missing (NaN)
    fill: Tensor | None = None  # (*shape), what stands for them
    # Of the rows that ``arrays`` returns for training and validation, where the data says so:
    keys: Tensor | None = None  # (N,) whole numbers; rows of one key are in one set
    in_groups = False  # whether keys stand for groups of rows, and not for equal rows
    times: Tensor | None = None  # (N,); later rows validate and test
    weights: Tensor | None = None  # (N,), of training rows in the loss
    val: Split | None = None  # the validation set, if it is given
    # Of a person's own files:
    fingerprint: Mapping[str, str] | None = None  # what they held when the run was trained
    cache: str | Path | None = None  # the folder for what costs time to find out again
    allow_changed = False  # whether they may hold something else now

    def __init__(
        self,
        *,
        task: Task,
        name: str,
        y: str,
        shape: Sequence[int],
        outputs: int,
        classes: Sequence[str] | None = None,
        white: float | None = None,
        batch_size: int | str = 32,
        num_workers: int = 0,
        seed: int = 0,
        split_seed: int | None = 0,
        val_fraction: float = 0.1,
        train_samples: int | None = None,
        classes_in_training: Sequence[Any] | None = None,
        labelled: int | None = None,
        folds: int | None = None,
        fold: int = 0,
        standardise: bool | float | str = True,
        reshuffle: bool = True,
        augment: Callable[[Tensor, int, int, Tensor], Tensor] | None = None,
    ):
        super().__init__()
        self.task, self.name, self.y, self.shape, self.outputs = task, name, y, tuple(shape), outputs
        self.classes = list(classes) if classes else None
        self.white = white
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.split_seed, self.val_fraction, self.train_samples = split_seed, val_fraction, train_samples
        self.standardise, self.reshuffle, self.augment = standardise, reshuffle, augment
        if folds is not None and not 0 <= fold < folds:
            raise ValueError(f"data.fold={fold} must be one of 0 … {folds - 1}, of data.folds={folds}")
        self.labelled, self.folds, self.fold = labelled, folds, fold
        names = self.classes or [str(k) for k in range(outputs)] if y == "classes" else []
        self.classes_in_training = positions(classes_in_training, names)
        self.sets: dict[str, Rows] = {}

    def arrays(self) -> tuple[Split, Split | None]:
        """The samples for training and validation, and the official test set if there is one."""
        raise NotImplementedError

    def prepare_data(self) -> None:
        """Download missing files on the first process, before the others load them."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Load, check and split the data, once."""
        if self.sets:
            return
        changed = check_unchanged(self)
        train, test = self.arrays()
        if self.y == "values":  # they may be whole numbers
            train, test = (split and (split[0], real(split[1])) for split in (train, test))  # type: ignore[assignment]
        for split in (train, test, self.val):
            if split is not None:
                self._check(*split)
        sets, note = leave_rows_out(self, *split_into_sets(self, train, test))
        self.note = "; ".join(filter(None, [changed, note])) or None
        if self.fills:
            self.fill = self.fitted_fill(sets["train"].x)
            for rows in {id(rows): rows for rows in sets.values()}.values():
                rows.fill_(self.fill)
        self.sets = {name: sets[name] for name in ("train", "val", "test")}
        for name, rows in self.sets.items():
            if not len(rows):
                more = f", or raise data.val_fraction={self.val_fraction}" if name == "val" and self.val is None else ""
                raise Refused(f"data={self.name}: the {name} set is empty; add different rows of a class{more}")
            try:
                self.task.check_set(rows.y, rows.index)
            except ValueError as error:
                raise Refused(f"data={self.name}: the {name} set {error}") from None
        of_classes = self.y == "classes" and self.task.classes is not None
        if of_classes and not bool(torch.isin(self.sets["test"].y, self.sets["train"].y).any()):
            raise Refused(
                f"data={self.name}: training has none of the classes of the test set, so no answer can be right; "
                "choose task=embedding, which compares samples of new classes"
            )

    def own_files(self) -> dict[str, list[Path]]:
        """A person's own files by name, each alone or as a folder; none for data that is shipped."""
        return {}

    def fitted_fill(self, x: Tensor) -> Tensor:
        """What stands for missing inputs (*shape), from the training inputs, where data ``fills`` any."""
        raise NotImplementedError

    def _check(self, x: Tensor, y: Tensor) -> None:
        """Refuse data that would train wrongly without an error: shapes, non-finite inputs, targets out of range."""
        if not len(x):
            raise Refused(f"data={self.name} has no rows")
        if tuple(x.shape[1:]) != self.shape:
            hint = ", channels come first (N, C, H, W)" if sorted(x.shape[1:]) == sorted(self.shape) else ""
            raise Refused(f"data={self.name}: expected inputs (N, {dims(self.shape)}), found {tuple(x.shape)}{hint}")
        for k, part in enumerate(x.split(PART) if x.is_floating_point() else ()):
            if bool((wrong := self._wrong(part)).any()):
                row, *place = wrong.nonzero()[0].tolist()
                value = part[(row, *place)].item()
                raise Refused(f"data={self.name}: input {place} of row {k * PART + row} is {value}; remove or fill it")
        try:
            check_targets(y, self.y, self.shape, self.outputs, len(x))
            self.task.check(x, y)
        except ValueError as error:
            raise Refused(f"data={self.name}: {error}") from None

    def _wrong(self, x: Tensor) -> Tensor:
        """Which inputs are not finite, besides missing ones that are filled."""
        return x.isinf() if self.fills else ~x.isfinite()

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        return self.sets["train"].moments()

    @property
    def mean(self) -> Tensor:
        return self._moments[0] if self.standardise is True or self.standardise == "centre" else torch.zeros(())

    @property
    def std(self) -> Tensor:
        """``standardise`` itself, where it is a number; 1 where it is ``centre`` or false."""
        if self.standardise is True:
            return self._moments[1]
        return torch.tensor(1.0 if isinstance(self.standardise, bool | str) else float(self.standardise))

    def _loader(self, name: str) -> Loader:
        rows, train = self.sets[name], name == "train"
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if train and len(rows) < world:
            raise Refused(f"data={self.name}: {len(rows)} training rows for {world} processes; lower trainer.devices")
        batch = EVALUATION_BATCH if not train else len(rows) if self.batch_size == "full" else int(self.batch_size)
        workers = self.num_workers if train else 0  # evaluation reads contiguous memory, so workers would not help
        on_gpu = self.trainer and self.trainer.strategy.root_device.type == "cuda" and not isinstance(rows.x, Stored)
        if on_gpu and not workers:
            rows = rows.to(self.trainer.strategy.root_device)  # type: ignore[union-attr] # once, instead of a copy a step
        order = {"seed": self.seed, "train": train, "reshuffle": self.reshuffle, "device": rows.x.device}
        sampler = EpochSampler(len(rows), batch, **order, rank=rank, world=world)  # type: ignore[arg-type]
        return Loader(rows, sampler, num_workers=workers, persistent_workers=workers > 0)

    def samples(self, stage: str) -> Batch:
        """All samples of train, val or test as one batch, as validation and test see them."""
        rows = self.sets[stage]
        return rows.first(len(rows))._replace(seed=self.seed)

    def train_dataloader(self) -> Loader:
        return self._loader("train")

    def val_dataloader(self) -> Loader:
        return self._loader("val")

    def test_dataloader(self) -> Loader:
        return self._loader("test")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch.to(device)  # a Batch, or the example tensor of Lightning's model summary

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment whole training batches, on their device."""
        if self.augment is None or not self.trainer.training or isinstance(batch, Tensor):  # type: ignore[union-attr]
            return batch
        return batch._replace(x=self.augment(batch.x, batch.seed, batch.epoch, batch.index))

    def table(self, path: str | Path) -> Any:
        """The table in a file, whose columns predictions are written after; None if the data reads none."""
        return None

    def rows_to_predict(self, path: str | Path) -> tuple[Tensor, dict[int, str]]:
        """As ``read``, of the rows that can be predicted; and why others cannot, by their position in the file."""
        return self.read(path), {}

    def read(self, path: str | Path) -> Tensor:
        """Raw inputs (N, *shape) for prediction from a .npy file, a picture or a folder of pictures."""
        path, shape = Path(path), self.task.input_shape or self.shape
        if path.suffix == ".npy":
            return array(path, shape)
        if len(shape) != 3:
            raise Refused(f"{path}: data={self.name} reads .npy files of shape (N, {dims(shape)})")
        files = pictures_in(path) if path.is_dir() else [path]
        if not files or not path.is_dir() and path.suffix.lower() not in SUFFIXES:
            raise Refused(f"{path}: data={self.name} reads pictures ({', '.join(SUFFIXES)}), folders of them, and .npy")
        for file in files:
            if (found := described(file)) != (expected_shape := dims(shape)):
                print(f"{file.name}: {found} was converted to {expected_shape}", file=sys.stderr)
        return torch.stack([picture(file, shape, self.conversion) for file in files]).float()
