"""The loss of a detector: which cells of a map are centres of objects, and the boxes around those."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dlcourse.losses import Loss, mean_over_rows

BOX = 4  # numbers of a box


class Centres(Loss):
    """C = mean over cells of Σ_k focal_k + [the cell is a centre] · (|o − t_o| + λ |s − t_s|), summed over x and y.

    z (M, K + 4) and the target (M, K + 4) hold for each cell the classes, the offset o of the centre in it and the
    size s of the box, in cells. p = σ(z + ln(π/(1 − π))) is the probability of a centre of each class, so that z = 0
    stands for π = ``prior``; the target's heat t is 1 at a centre and less around it:
    focal = −(1 − p)^α ln p where t = 1, else −(1 − t)^β p^α ln(1 − p); α ``alpha``, β ``beta``, λ ``size_weight``.
    The mean is over all cells, where the paper divides by the number of centres: it adds up over any batches, and a
    picture without objects counts like every other.
    Lecture: L7. Zhou, Wang and Krähenbühl (2019); the focal loss and the prior: Lin et al. (2017).
    """

    target_forms = ("centres",)
    probabilities = True

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 4.0,
        size_weight: float = 0.1,
        prior: float = 0.1,
        target_forms: Sequence[str] | None = None,
    ):
        super().__init__(target_forms)
        if not 0 < prior < 1:
            raise ValueError(f"prior={prior}: must be above 0 and below 1")
        self.alpha, self.beta, self.size_weight = alpha, beta, size_weight
        self.shift = float(torch.tensor(prior, dtype=torch.float64).logit())

    def output(self, z: Tensor) -> Tensor:
        """p of each class, then the offset and the size."""
        return torch.cat([torch.sigmoid(z[..., :-BOX] + self.shift), z[..., -BOX:]], -1)

    def forward(self, z: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, int | Tensor]:
        t = self.as_outputs(z, target)
        logit, heat = z[:, :-BOX] + self.shift, t[:, :-BOX]
        p, centre = torch.sigmoid(logit), heat == 1
        at_centres = (1 - p) ** self.alpha * F.softplus(-logit)
        elsewhere = (1 - heat) ** self.beta * p**self.alpha * F.softplus(logit)
        error = (z[:, -BOX:] - t[:, -BOX:]).abs()
        box = error[:, :2].sum(1) + self.size_weight * error[:, 2:].sum(1)
        costs = torch.where(centre, at_centres, elsewhere).sum(1) + centre.any(1) * box
        return mean_over_rows(costs, weight)
