"""The order of samples: a function of seed and epoch, divided among processes, resumable within an epoch."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dlcourse.data.stored import Stored, at
from dlcourse.tasks.base import PART, Batch


class Rows(Dataset):
    """Inputs x, targets y, positions and weights (or None), indexed a whole batch at a time.

    They are in memory, but for x where it is `dlcourse.data.stored.Stored`.
    """

    def __init__(self, x: Tensor, y: Tensor, index: Tensor, weight: Tensor | None = None):
        self.x, self.y, self.index, self.weight = x, y, index, weight

    def __len__(self) -> int:
        return len(self.x)

    @property
    def parts(self) -> list[Tensor]:
        """x, y, positions, and the weights if there are any."""
        return [part for part in (self.x, self.y, self.index, self.weight) if part is not None]

    def at(self, positions: Tensor) -> "Rows":
        return Rows(at(self.x, positions), *(part[positions] for part in self.parts[1:]))

    def to(self, device: torch.device) -> "Rows":
        weight = None if self.weight is None else self.weight.to(device)
        return Rows(self.x.to(device), self.y.to(device), self.index.to(device), weight)

    def __getitem__(self, rows: Tensor) -> Batch:
        rows = rows.to(self.x.device)
        weight = None if self.weight is None else self.weight[rows]
        return Batch(self.x[rows], self.y[rows], self.index[rows], weight)

    def fill_(self, values: Tensor) -> None:
        """Put values (*shape) where inputs are missing (NaN)."""
        for part in self.x.split(PART):
            part.copy_(torch.where(part.isnan(), values.to(part), part))

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel (or column) of x, (C, 1, …); deviation 1 for a constant one.

        The mean is float64 if x is, whose digits go beyond float32's.
        Those of stored whole numbers are exact, in one reading.
        """
        if isinstance(self.x, Stored) and not self.x.is_floating_point():
            return self.x.moments()
        axes = [d for d in range(self.x.ndim) if d != 1]
        n = self.x.numel() / self.x.shape[1]
        parts = self.x.split(PART)  # in float64, but never the whole set at once
        mean = sum((part.double().sum(axes) for part in parts), torch.zeros(())) / n
        wide = mean.reshape(-1, *[1] * (self.x.ndim - 2))
        std = (sum((((part.double() - wide) ** 2).sum(axes) for part in parts), torch.zeros(())) / n).sqrt()
        std = torch.where(std > 0, std, torch.ones_like(std))
        return wide if self.x.dtype == torch.float64 else wide.float(), std.reshape(wide.shape).float()

    def first(self, count: int) -> Batch:
        """The first samples as one batch."""
        weight = None if self.weight is None else self.weight[:count]
        return Batch(self.x[:count], self.y[:count], self.index[:count], weight)


class EpochSampler(Sampler[Tensor]):
    """Batches of sample positions for one of ``world`` processes.

    Training: a permutation drawn from (seed, epoch) (without ``reshuffle`` always the first epoch's), with the same
    number of samples for every process (the few left over change each epoch); a single last sample joins the previous
    batch, since batch norm cannot use it alone. Evaluation: each sample exactly once, and the same number of batches on
    every process, so that collective calls match. The order is drawn on the CPU, the same for every device, and copied
    to ``device`` once an epoch.
    """

    def __init__(
        self,
        rows: int,
        batch_size: int,
        *,
        seed: int = 0,
        train: bool = False,
        reshuffle: bool = True,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ):
        self.rows, self.batch_size, self.seed, self.device = rows, batch_size, seed, device
        self.train, self.reshuffle = train, reshuffle
        self.rank, self.world = rank, world
        self.epoch = 0
        self.done = (0, 0)  # an epoch, and the number of its batches before the checkpoint

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    @property
    def begin(self) -> int:
        """The first batch of this epoch that was not trained before the checkpoint."""
        return self.done[1] if self.done[0] == self.epoch else 0

    def sizes(self) -> list[int]:
        """The sizes of this process's batches."""
        if not self.train:
            samples = len(range(self.rank, self.rows, self.world))
            largest_share = -(-self.rows // self.world)
            batches = -(-largest_share // self.batch_size)
            return [samples // batches + (k < samples % batches) for k in range(batches)]
        full, remainder = divmod(self.rows // self.world, self.batch_size)
        sizes = [self.batch_size] * full
        if remainder == 1 and full:
            sizes[-1] += 1
        elif remainder:
            sizes.append(remainder)
        return sizes

    def __len__(self) -> int:
        return len(self.sizes())

    def __iter__(self) -> Iterator[Tensor]:
        if self.train:
            # Seed and epoch are combined so that neighbouring seeds and epochs give different streams.
            epoch = self.epoch if self.reshuffle else 0
            generator = torch.Generator().manual_seed((self.seed * 0x9E3779B97F4A7C15 + epoch) % 2**63)
            order = torch.randperm(self.rows, generator=generator)[: self.rows // self.world * self.world]
        else:
            order = torch.arange(self.rows)
        batches = order.to(self.device)[self.rank :: self.world].split(self.sizes())
        yield from batches[self.begin :]


class Loader(DataLoader):
    """A DataLoader over `Rows` that can be resumed in the middle of an epoch."""

    def __init__(self, rows: Rows, sampler: EpochSampler, **kwargs: Any):
        # The sampler yields whole batches, so the loader neither batches nor collates. Its own generator keeps the
        # loader's base seed out of the global random numbers.
        super().__init__(
            rows, sampler=sampler, batch_size=None, collate_fn=identity, generator=torch.Generator(), **kwargs
        )
        self.served = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self.served = self.sampler.begin  # type: ignore[attr-defined]
        sampler: EpochSampler = self.sampler  # type: ignore[assignment]
        seed_and_epoch = {"seed": sampler.seed, "epoch": sampler.epoch if sampler.train else 0}
        for batch in super().__iter__():
            self.served += 1
            yield batch._replace(**seed_and_epoch)

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.sampler.epoch, "served": self.served}  # type: ignore[attr-defined]

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.sampler.done = (state["epoch"], state["served"])  # type: ignore[attr-defined]


def identity(batch: Any) -> Any:
    return batch
