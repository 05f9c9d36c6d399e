"""Latent diffusion: a variational autoencoder whose codes are drawn by a network that removes noise step by step."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dlcourse.models.vae import VAE, Encoded
from dlcourse.noise import normal, uniform
from dlcourse.tasks.base import Batch

FREQUENCIES = 16  # sines and cosines of the time that the denoiser sees


class Denoised(NamedTuple):
    """What the autoencoder puts out, and the mean squared error of the denoiser for each sample, (N,)."""

    z: Tensor
    mu: Tensor
    log_var: Tensor
    h: Tensor
    error: Tensor


class LatentDiffusion(VAE):
    """A `VAE` whose prior is learned: a diffusion in the space of its codes, trained in the same step.

    At time t in [0, 1] a code h is h_t = α h + σ ε, α = cos(πt/2), σ = sin(πt/2), ε ~ N(0, I). The denoiser, dense
    layers of ``width`` units, ``depth`` of them, estimates v = α ε − σ h from h_t, t and the class if it is told. Its
    loss ``prior`` = mean (v̂ − v)² does not reach the encoder. `draw` starts from N(0, I) and takes ``steps`` steps from
    t = 1 to 0 without further noise. Lecture: L4. Ho et al. (2020); v: Salimans and Ho (2022); steps: Song et al.
    (2021); in the space of codes: Rombach et al. (2022).
    """

    def __init__(self, *, width: int = 256, depth: int = 3, steps: int = 50, **parts: Any):
        super().__init__(**parts)
        self.steps = steps
        inputs = self.code + 2 * FREQUENCIES + self.classes
        layers: list[nn.Module] = []
        for k in range(depth):
            layers += [nn.Linear(width if k else inputs, width), nn.SiLU()]
        self.denoiser = nn.Sequential(*layers, nn.Linear(width, self.code))
        parts["init"](self.denoiser)

    def velocity(self, h_t: Tensor, t: Tensor, told: Tensor | None) -> Tensor:
        """v̂ (N, code) of codes with noise h_t (N, code) at times t (N, 1)."""
        angles = t * torch.pi * torch.arange(1, FREQUENCIES + 1, device=t.device, dtype=t.dtype)
        parts = [h_t, angles.sin(), angles.cos()]
        if self.classes:
            parts.append(h_t.new_zeros(len(h_t), self.classes) if told is None else told.to(h_t))
        v: Tensor = self.denoiser(torch.cat(parts, 1))
        return v

    def output_of(self, inputs: Tensor, batch: Batch) -> Denoised:
        encoded: Encoded = super().output_of(inputs, batch)
        h = encoded.h.detach()
        epsilon = normal(batch.seed, batch.epoch, batch.index, self.code, stream=4).to(h)
        t = uniform(batch.seed, batch.epoch, batch.index, 1, stream=5).to(h)
        alpha, sigma = (t * torch.pi / 2).cos(), (t * torch.pi / 2).sin()
        v = self.velocity(alpha * h + sigma * epsilon, t, self.told(batch))
        return Denoised(*encoded, (v - alpha * epsilon + sigma * h).square().mean(1))

    def auxiliary_losses(self, output: Any) -> dict[str, Tensor]:
        own = {"prior": output.error.mean()} if isinstance(output, Denoised) else {}
        return super().auxiliary_losses(output) | own

    def draw(self, count: int, seed: int, told: Tensor | None = None) -> Tensor:
        """Codes (count, code) of new samples, of the one-hot classes that are ``told`` (count, classes) if any."""
        h = super().draw(count, seed)
        times = torch.linspace(1, 0, self.steps + 1, device=h.device, dtype=h.dtype)
        for now, then in zip(times[:-1], times[1:], strict=True):
            v = self.velocity(h, now.expand(count, 1), told)
            alpha, sigma = (now * torch.pi / 2).cos(), (now * torch.pi / 2).sin()
            clean, noise = alpha * h - sigma * v, sigma * h + alpha * v
            h = (then * torch.pi / 2).cos() * clean + (then * torch.pi / 2).sin() * noise
        return h
