"""Losses on codes z (M, K): rows of one group (M,) shall have similar codes, other rows different ones.

Only the direction of a code counts: similarity is the cosine, and the output function is the identity.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlcourse.losses import Loss, mean_over_rows, weighted_mean


class CodeLoss(Loss):
    """The base of losses on codes; their targets are ``groups``, whole numbers (M,).

    ValueError: z that is not (M, K), or a target that is not whole numbers (M,).
    """

    target_forms = ("groups",)

    def output(self, z: Tensor) -> Tensor:
        return z

    def check(self, z: Tensor, target: Tensor) -> None:
        if z.ndim != 2 or target.shape != z.shape[:1] or target.is_floating_point():
            raise ValueError(
                f"z has shape {tuple(z.shape)}, the target {target.dtype} {tuple(target.shape)}: expected codes (M, K) "
                "and whole numbers (M,)"
            )


class SupervisedContrastive(CodeLoss):
    """Among all other rows of the batch, those of the same class shall be the most similar.

    C = −mean_i mean_{p ∈ P(i)} ln( e^{s_ip/τ} / Σ_{j ≠ i} e^{s_ij/τ} ), s the cosine, P(i) the other rows of i's class
    with a weight, τ = ``temperature``. Rows without one are compared with, but have no cost of their own: the divisor
    is the sum of the weights of the others. A weight counts a row's own cost only. ``compares_rows``: always true. The
    loss belongs to a batch: it grows with the number of rows, like ln M, so it is exact for the batches that there are,
    and is not the mean over a set in any other batches.
    Lecture: L19. Khosla et al. (2020), L_out.
    ValueError: compares_rows=false.
    """

    def __init__(self, temperature: float = 0.1, target_forms: Sequence[str] | None = None, compares_rows: bool = True):
        super().__init__(target_forms)
        if not temperature > 0:
            raise ValueError(f"temperature={temperature}: must be above zero")
        if not compares_rows:
            raise ValueError("loss.compares_rows=false: this loss compares the rows of a batch with each other")
        self.temperature, self.compares_rows = temperature, compares_rows

    def forward(self, z: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, int | Tensor]:
        self.check(z, target)
        unit = F.normalize(z)
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        s = (unit @ unit.T / self.temperature).masked_fill(itself, torch.finfo(z.dtype).min)
        cost = s.logsumexp(1, keepdim=True) - s  # of each pair
        partners = (target[:, None] == target) & ~itself
        if weight is not None:
            partners &= weight > 0  # a row without a label is nobody's partner
        count = partners.sum(1)
        costs = torch.where(partners, cost, 0.0).sum(1) / count.clamp_min(1)
        has_partner = (count > 0).to(z.dtype)
        weight = has_partner if weight is None else weight.to(z.dtype) * has_partner
        return weighted_mean(costs, weight, weight.sum())


class ArcFace(CodeLoss):
    """Each class has a centre, and a code must be nearer to its own by a ``margin`` of the angle.

    C = cross-entropy of the logits s·cos θ_k, with s·cos(θ_y + m) for the row's own class y; θ_k: the angle between
    code and centre k, m = ``margin`` in radians, s = ``scale``. Where θ_y + m would exceed π it is
    s·(cos θ_y − m sin m) instead, as in the authors' code. The ``centres`` (classes, code) are parameters of the loss:
    they are trained and saved with the model, and the network remains an encoder, which any loss on codes can train.
    Each row has a cost of its own. A class without training rows has an untrained centre: the loss of its rows says
    nothing.
    Lecture: L19. Deng et al. (2019).
    """

    def __init__(
        self,
        classes: int,
        code: int,
        scale: float = 16.0,
        margin: float = 0.3,
        target_forms: Sequence[str] | None = None,
    ):
        super().__init__(target_forms)
        if not (scale > 0 and 0 <= margin < math.pi):
            raise ValueError(f"scale={scale} must be above zero, margin={margin} in [0, π)")
        self.scale, self.margin = scale, margin
        self.centres = nn.Parameter(torch.randn(classes, code) / math.sqrt(code))

    def forward(self, z: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, int | Tensor]:
        self.check(z, target)
        cosine = F.normalize(z) @ F.normalize(self.centres).T.to(z.dtype)
        own = cosine.gather(1, target[:, None])
        sine = (1 - own.square()).clamp_min(1e-12).sqrt()
        later = own * math.cos(self.margin) - sine * math.sin(self.margin)  # cos(θ + m)
        beyond = own <= math.cos(math.pi - self.margin)
        own = torch.where(beyond, own - self.margin * math.sin(self.margin), later)
        logits = self.scale * cosine.scatter(1, target[:, None], own)
        return mean_over_rows(F.cross_entropy(logits, target, reduction="none"), weight)
