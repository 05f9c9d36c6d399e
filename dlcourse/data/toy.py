"""Small sets with known answers: logic gates, and points drawn from a formula."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from dlcourse.data.base import Data, Split
from dlcourse.errors import Refused

TRAIN, TEST = 1, 2  # the seeds of generated sets are constants: no choice of seed changes the rows


class Gate(Data):
    """A logic gate: the four inputs 00, 01, 10, 11 and its ``truth`` for each. Lecture: L1."""

    def __init__(self, *, truth: Sequence[int], **facts: Any):
        super().__init__(**facts)
        self.truth = list(truth)

    def arrays(self) -> tuple[Split, None]:
        x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        return (x, torch.tensor(self.truth)), None


class Generated(Data):
    """``n_samples`` rows for training and as many for testing, drawn with two constants."""

    def __init__(self, *, n_samples: int, noise: float, **facts: Any):
        super().__init__(**facts)
        self.n_samples, self.noise = n_samples, noise

    def sample(self, seed: int) -> Split:
        raise NotImplementedError

    def arrays(self) -> tuple[Split, Split]:
        if self.n_samples < 2 or self.noise < 0:
            raise Refused(
                f"data={self.name}: n_samples={self.n_samples} must be 2 or more, noise={self.noise} not below 0"
            )
        return self.sample(TRAIN), self.sample(TEST)

    def _labelled(self, x: Any, y: Any) -> Split:
        return torch.as_tensor(x).float(), torch.as_tensor(y).long()


class Moons(Generated):
    """Two interleaved half circles with Gaussian ``noise``."""

    def sample(self, seed: int) -> Split:
        from sklearn.datasets import make_moons

        return self._labelled(*make_moons(self.n_samples, noise=self.noise, random_state=seed))


class Circles(Generated):
    """A circle (class 1) of radius ``factor`` inside another (class 0) of radius 1, with Gaussian ``noise``."""

    def __init__(self, *, factor: float, **facts: Any):
        super().__init__(**facts)
        self.factor = factor

    def sample(self, seed: int) -> Split:
        from sklearn.datasets import make_circles

        points = make_circles(self.n_samples, noise=self.noise, factor=self.factor, random_state=seed)
        return self._labelled(*points)


class Blobs(Generated):
    """Gaussian clouds of deviation ``std`` around ``centers``, one class each; two far apart are separable."""

    def __init__(self, *, centers: Sequence[Sequence[float]], std: float, **facts: Any):
        super().__init__(noise=std, **facts)
        self.centers = centers

    def sample(self, seed: int) -> Split:
        from sklearn.datasets import make_blobs

        centers = torch.tensor(self.centers).numpy()
        points = make_blobs(self.n_samples, centers=centers, cluster_std=self.noise, random_state=seed)
        return self._labelled(*points[:2])


class Spirals(Generated):
    """Two spirals of ``turns`` turns, r from 0 to 1, φ = 2π · turns · r + π · class, with Gaussian ``noise``."""

    def __init__(self, *, turns: float, **facts: Any):
        super().__init__(**facts)
        self.turns = turns

    def sample(self, seed: int) -> Split:
        source = torch.Generator().manual_seed(seed)
        y = torch.arange(self.n_samples) % 2
        r = torch.rand(self.n_samples, generator=source).sqrt()  # as many points on each piece of the curve
        phi = 2 * math.pi * self.turns * r + math.pi * y
        x = torch.stack((r * phi.cos(), r * phi.sin()), 1)
        return self._labelled(x + self.noise * torch.randn(x.shape, generator=source), y)


class Sine(Generated):
    """y = sin(x) + ``noise`` · ε for x in [−π, π], ε standard normal."""

    def sample(self, seed: int) -> Split:
        source = torch.Generator().manual_seed(seed)
        x = math.pi * (2 * torch.rand(self.n_samples, 1, generator=source) - 1)
        return x, x.sin() + self.noise * torch.randn(x.shape, generator=source)


class Linear(Generated):
    """y = w · x + b + ``noise`` · ε, ε standard normal, x_j normal with deviation ``scales[j]`` (null: 1).

    Its least squares have a closed form; scales far apart make its loss a ravine. Lecture: L9, L12.
    """

    def __init__(self, *, w: Sequence[float], b: float, scales: Sequence[float] | None = None, **facts: Any):
        super().__init__(**facts)
        self.w, self.b = list(w), b
        self.scales = list(scales) if scales is not None else [1.0] * len(self.w)
        if len(self.scales) != len(self.w):
            raise ValueError(f"scales={self.scales}: one for each of w={self.w}")

    def sample(self, seed: int) -> Split:
        source = torch.Generator().manual_seed(seed)
        x = torch.randn(self.n_samples, len(self.w), generator=source) * torch.tensor(self.scales)
        y: Tensor = x @ torch.tensor(self.w) + self.b
        return x, (y + self.noise * torch.randn(y.shape, generator=source)).unsqueeze(1)


class Sparse(Generated):
    """y = w · x + ``noise`` · ε: feature k is 1 in a share 1/(k + 1) of the rows, else 0, and w_k is −1 or 1.

    As words in texts: a few are everywhere, most are rare, and each matters as much. Lecture: L15.
    """

    def sample(self, seed: int) -> Split:
        source = torch.Generator().manual_seed(seed)
        features = self.shape[0]
        w = torch.randint(0, 2, (features,), generator=torch.Generator().manual_seed(TRAIN)) * 2.0 - 1
        shares = 1 / torch.arange(2.0, features + 2)
        x = (torch.rand(self.n_samples, features, generator=source) < shares).float()
        return x, (x @ w + self.noise * torch.randn(self.n_samples, generator=source)).unsqueeze(1)


class Topics(Generated):
    """Documents as counts of shape[0] words.

    Each document is about any number of topics; each topic has its own word frequencies.
    """

    def __init__(self, **facts: Any):
        super().__init__(noise=0.0, **facts)

    def sample(self, seed: int) -> Split:
        x, y = _documents(2 * self.n_samples, self.shape[0], self.outputs)
        rows = slice(None, self.n_samples) if seed == TRAIN else slice(self.n_samples, None)
        return torch.tensor(x[rows]).float(), torch.tensor(y[rows]).long()


@lru_cache(maxsize=1)  # takes seconds: a rare topic is drawn by rejection
def _documents(count: int, words: int, topics: int) -> Any:
    """One draw for both sets: another seed would give topics with other word frequencies."""
    from sklearn.datasets import make_multilabel_classification

    return make_multilabel_classification(n_samples=count, n_features=words, n_classes=topics, random_state=TRAIN)
