"""The variational autoencoder: its code is a distribution, from which new samples can be drawn."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dlcourse.models.autoencoder import Autoencoder
from dlcourse.noise import normal, uniform
from dlcourse.tasks.base import Batch

HIDDEN = 0.02  # share of the samples whose class is not told, so that the model works without, too


class Encoded(NamedTuple):
    """Logits z (N, outputs), the mean μ and ln σ² of each unit of the code, and the code h itself, (N, code) each."""

    z: Tensor
    mu: Tensor
    log_var: Tensor
    h: Tensor


class VAE(Autoencoder):
    """h = μ(x) + σ(x) ε with ε ~ N(0, I), z = decoder(h); otherwise an `Autoencoder`, with the same arguments.

    Its own loss ``kl`` = β · KL(N(μ, σ²) ‖ N(0, I)) / outputs, KL = ½ Σ (μ² + σ² − ln σ² − 1). With loss=bce,
    outputs · loss is the negative ELBO in nats for β = ``beta`` = 1. Without a batch (export, predictions) h = μ(x).
    With ``classes`` above 0 encoder and decoder are told the sample's class, so that the code need not say it and one
    can ask for samples of a class. It is hidden for one in fifty samples: both work without a class, too.
    Lecture: L4. Kingma and Welling (2014); β: Higgins et al. (2017); classes: Sohn et al. (2015).
    """

    numbers_per_unit = 2

    def __init__(self, *, outputs: int, beta: float = 1.0, classes: int = 0, **parts: Any):
        super().__init__(outputs=outputs, beside=classes, **parts)
        self.beta, self.classes, self.outputs = beta, classes, outputs

    def posterior(self, x: Tensor, told: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """μ and ln σ² of raw inputs x (N, *shape); ``told`` (N, classes): one-hot classes, zeros for no class."""
        mu, log_var = super().encode(x, told).chunk(2, 1)
        return mu, log_var

    def encode(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """The mean codes μ (N, code) of raw inputs x (N, *shape)."""
        return self.posterior(x, beside)[0]

    def forward(self, x: Tensor, epsilon: Tensor | None = None, told: Tensor | None = None) -> Encoded:
        mu, log_var = self.posterior(x, told)
        h = mu if epsilon is None else mu + (log_var / 2).exp() * epsilon
        return Encoded(self.decode(h, told), mu, log_var, h)

    def output_of(self, inputs: Tensor, batch: Batch) -> Any:
        epsilon = normal(batch.seed, batch.epoch, batch.index, self.code, stream=1)
        return self(inputs, epsilon.to(self.std.dtype), self.told(batch))

    def told(self, batch: Batch) -> Tensor | None:
        """The classes that the model is told, one-hot (N, classes), zeros where they are hidden; None: no classes."""
        if not self.classes:
            return None
        shown = uniform(batch.seed, batch.epoch, batch.index, 1, stream=2) >= HIDDEN
        return shown & (batch.y[:, None] == torch.arange(self.classes, device=batch.y.device))

    def auxiliary_losses(self, output: Encoded) -> dict[str, Tensor]:
        kl = (output.mu.square() + output.log_var.exp() - output.log_var - 1).sum(1) / 2
        return {"kl": self.beta * kl.mean() / self.outputs}

    def draw(self, count: int, seed: int, told: Tensor | None = None) -> Tensor:
        """Codes (count, code) of new samples, here of N(0, I); ``told`` (count, classes): one-hot classes, if any."""
        return normal(seed, 0, torch.arange(count, device=self.device), self.code, stream=3).to(self.std.dtype)
