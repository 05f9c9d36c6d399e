"""Losses on logits: each owns the output function of z, the weighted input of the last layer.

Tasks: ``binary`` z (N, 1), y (N, 1) in {0, 1}; ``classes`` z (N, C), y (N,) whole numbers; ``values`` z and y (N, K).
t is the target in the shape of z: one-hot rows for classes, y itself otherwise. Shapes never broadcast.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OUTPUTS = {"identity": lambda z: z, "sigmoid": torch.sigmoid, "softmax": lambda z: torch.softmax(z, -1)}


class Loss(nn.Module):
    """One scalar C(z, y), the mean over the batch; ``output(z)`` is what the unit puts out.

    ``probabilities`` is true where output(z) of a classifier lies in [0, 1] and fits the probability of each class.
    ValueError: a task that is not among ``tasks``; z and y whose shapes do not belong together.
    """

    probabilities = False

    def __init__(self, task: str, tasks: Sequence[str]):
        super().__init__()
        if task not in tasks:
            raise ValueError(f"{type(self).__name__} fits {' or '.join(tasks)}, not {task}")
        self.task = task

    def output(self, z: Tensor) -> Tensor:
        raise NotImplementedError

    def check(self, z: Tensor, y: Tensor) -> None:
        fits = z.ndim == 2 and y.shape == (z.shape[:1] if self.task == "classes" else z.shape)
        if not fits:
            wanted = "(N, C) and (N,)" if self.task == "classes" else "equal, (N, outputs)"
            raise ValueError(f"z has shape {tuple(z.shape)}, y {tuple(y.shape)}: for {self.task} they must be {wanted}")
        if self.task == "classes" and y.is_floating_point():
            raise ValueError(f"y is {y.dtype}: for classes it holds whole numbers 0 … C−1")

    def target(self, z: Tensor, y: Tensor) -> Tensor:
        """t: one-hot for classes, else y."""
        self.check(z, y)
        if self.task == "classes":
            y = y[:, None] == torch.arange(z.shape[1], device=z.device)
        return y.to(z.dtype)


class Distance(Loss):
    """Compares a = output(z) with t, entry by entry; the mean runs over samples and outputs.

    output: ``identity``, ``sigmoid``, ``softmax`` (classes only); null is identity for values, sigmoid otherwise.
    """

    def __init__(self, task: str, tasks: Sequence[str], output: str | None = None):
        super().__init__(task, tasks)
        name = output or ("identity" if task == "values" else "sigmoid")
        if name not in OUTPUTS:
            raise ValueError(f"output={name}: one of {', '.join(OUTPUTS)}, or null")
        if name == "softmax" and task != "classes":
            raise ValueError(f"output=softmax is for classes; {task} takes identity or sigmoid")
        self._output = name
        self.probabilities = task != "values" and name != "identity"

    def output(self, z: Tensor) -> Tensor:
        return OUTPUTS[self._output](z)


class MSE(Distance):
    """Mean squared error: C = mean (t − a)². On a linear unit its minimum is ordinary least squares. Lecture: L9."""

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(self.output(z), self.target(z, y))


class MAE(Distance):
    """Mean absolute error: C = mean |t − a|; gentler on outliers, its minimum is the median. Lecture: beyond L9."""

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return F.l1_loss(self.output(z), self.target(z, y))


class Huber(Distance):
    """Squared near the target, linear far away, with r = t − a and δ = ``delta``.

    C = mean of r²/2 if |r| < δ else δ(|r| − δ/2).
    Lecture: beyond L9. Huber (1964).
    """

    def __init__(self, task: str, tasks: Sequence[str], output: str | None = None, delta: float = 1.0):
        super().__init__(task, tasks, output)
        if not delta > 0:
            raise ValueError(f"delta={delta}: must be above zero")
        self.delta = delta

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return F.huber_loss(self.output(z), self.target(z, y), delta=self.delta)


class Margin(Loss):
    """Judges m = s·z with s = 2t − 1 in {−1, +1}, one against the rest for classes.

    Costs are summed over outputs and averaged over samples. The output is the threshold unit's, 1 if z > 0 else 0:
    a decision, not a probability.
    """

    def output(self, z: Tensor) -> Tensor:
        return torch.gt(z, 0).to(z.dtype)

    def margin(self, z: Tensor, y: Tensor) -> Tensor:
        return (2 * self.target(z, y) - 1) * z


class Perceptron(Margin):
    """The perceptron criterion: C = mean Σ max(0, −m).

    With SGD, batch 1 and η = 1 its gradient is the learning rule: a mistake adds s·x to w and s to b, anything else
    adds nothing. A tie m = 0 is a mistake too, or weights of zero would never move. Lecture: L1. Rosenblatt (1958).
    """

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        m = self.margin(z, y)
        # relu(−m) has the same values but no gradient at the tie.
        return torch.where(m > 0, torch.zeros_like(m), -m).sum(1).mean()


class Hinge(Margin):
    """The support vector machine's loss: C = mean Σ max(0, 1 − m); right answers too must clear a margin of 1.

    Lecture: beyond L1. Cortes and Vapnik (1995).
    """

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.relu(1 - self.margin(z, y)).sum(1).mean()


class BCE(Loss):
    """Binary cross-entropy: C = −mean [t ln a + (1 − t) ln(1 − a)], a = σ(z), over samples and outputs.

    Computed from z, so it stays finite where a rounds to 0 or 1. Classes are one-hot: one sigmoid a class.
    Lecture: L10.
    """

    probabilities = True

    def output(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(z, self.target(z, y))


class CrossEntropy(Loss):
    """Multi-class cross-entropy: C = −Σ_n v_y ln a_y / Σ_n v_y, a = softmax(z), v = ``class_weights`` (null: all 1).

    ``label_smoothing`` ε in [0, 1): the target becomes (1 − ε)·one-hot + ε/C (Szegedy et al. 2016).
    Computed from z, so it stays finite where a rounds to 0. Lecture: L11.
    """

    probabilities = True
    class_weights: Tensor | None

    def __init__(
        self,
        task: str,
        tasks: Sequence[str],
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
    ):
        super().__init__(task, tasks)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing}: must be at least 0 and below 1")
        if class_weights is not None and not all(v > 0 for v in class_weights):
            raise ValueError(f"class_weights={list(class_weights)}: each must be above zero")
        self.label_smoothing = label_smoothing
        # Not persistent: it is a word of the config, not something learned.
        weights = None if class_weights is None else torch.tensor(list(class_weights), dtype=torch.get_default_dtype())
        self.register_buffer("class_weights", weights, persistent=False)

    def output(self, z: Tensor) -> Tensor:
        return torch.softmax(z, -1)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        self.check(z, y)
        v = self.class_weights
        if v is not None and len(v) != z.shape[1]:
            raise ValueError(f"class_weights has {len(v)} numbers for {z.shape[1]} classes")
        weight = None if v is None else v.to(z.dtype)
        return F.cross_entropy(z, y, weight, label_smoothing=self.label_smoothing)
