"""The variational autoencoder: its code is a distribution, from which new samples can be drawn."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dlcourse.models.autoencoder import Autoencoder
from dlcourse.models.base import BatchLoss
from dlcourse.noise import normal
from dlcourse.tasks.base import Batch


class Encoded(NamedTuple):
    """Logits z (N, outputs), and the mean μ and ln σ² of each unit of the code, (N, code) both."""

    z: Tensor
    mu: Tensor
    log_var: Tensor


class VAE(Autoencoder):
    """h = μ(x) + σ(x) ε with ε ~ N(0, I), z = decoder(h); otherwise an `Autoencoder`, with the same arguments.

    Its own loss ``kl`` = β · KL(N(μ, σ²) ‖ N(0, I)) / outputs, KL = ½ Σ (μ² + σ² − ln σ² − 1). With loss=bce,
    outputs · loss is the negative ELBO in nats for β = ``beta`` = 1. Without a batch (export, predictions) h = μ(x).
    Lecture: L4. Kingma and Welling (2014); β: Higgins et al. (2017).
    """

    numbers_per_unit = 2

    def __init__(self, *, outputs: int, beta: float = 1.0, **parts: Any):
        super().__init__(outputs=outputs, **parts)
        self.beta, self.outputs = beta, outputs

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """μ and ln σ² of raw inputs x (N, *shape)."""
        mu, log_var = super().encode(x).chunk(2, 1)
        return mu, log_var

    def encode(self, x: Tensor) -> Tensor:
        """The mean codes μ (N, code) of raw inputs x (N, *shape)."""
        return self.posterior(x)[0]

    def forward(self, x: Tensor, epsilon: Tensor | None = None) -> Encoded:
        mu, log_var = self.posterior(x)
        h = mu if epsilon is None else mu + (log_var / 2).exp() * epsilon
        return Encoded(self.decode(h), mu, log_var)

    def loss_of(self, batch: Batch, output: Any = None) -> BatchLoss:
        if output is None:
            inputs, _ = self.task.prepare_batch(batch)
            epsilon = normal(batch.seed, batch.epoch, batch.index, self.code)
            output = self(inputs, epsilon.to(self.mean.dtype))
        return super().loss_of(batch, output)

    def auxiliary_losses(self, output: Encoded) -> dict[str, Tensor]:
        kl = (output.mu.square() + output.log_var.exp() - output.log_var - 1).sum(1) / 2
        return {"kl": self.beta * kl.mean() / self.outputs}

    def draw(self, count: int, seed: int) -> Tensor:
        """Codes (count, code) of N(0, I), to be decoded to new samples."""
        return normal(seed, 0, torch.arange(count, device=self.device), self.code).to(self.mean.dtype)
