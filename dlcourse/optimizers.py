"""Optimizers that PyTorch lacks; conf/optimizer/ names PyTorch's own classes directly."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Muon for matrices, AdamW for everything else (biases, convolutions, norms), in one optimizer.

    With gradient g and, for a matrix W of shape (n_out, n_in), step by step:

        B ← μ B + (1 − μ) g              momentum μ
        U ← μ B + (1 − μ) g              with nesterov, else U = B
        W ← (1 − η λ) W                  weight decay λ
        W ← W − η √max(1, n_out/n_in) · orthogonal(U)

    η = ``lr`` for matrices and ``adamw_lr`` for the rest; λ serves both. Parameters come with or without names, as a
    list or in groups. A group that holds both kinds is cut into two, so that a scheduler scales each kind's own rate.
    ValueError for rates and momenta out of range.

    Lecture: beyond L14. Jordan et al. (2024), https://kellerjordan.github.io/posts/muon/; AdamW: Loshchilov and Hutter
    (2019).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        weight_decay: float = 0.01,
        adamw_lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        for key, value in {"lr": lr, "adamw_lr": adamw_lr, "weight_decay": weight_decay, "eps": eps}.items():
            if not value >= 0:
                raise ValueError(f"{key}={value}: must be zero or more")
        for key, value in {"momentum": momentum, "betas[0]": betas[0], "betas[1]": betas[1]}.items():
            if not 0 <= value < 1:
                raise ValueError(f"{key}={value}: must be at least 0 and below 1")
        defaults = dict(lr=lr, momentum=momentum, nesterov=nesterov, ns_steps=ns_steps, weight_decay=weight_decay)
        super().__init__(params, defaults | dict(adamw_lr=adamw_lr, betas=tuple(betas), eps=eps))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        params = param_group["params"]
        kinds: dict[bool, list[Any]] = {True: [], False: []}
        for p in [params] if isinstance(params, Tensor) else params:
            kinds[(p[1] if isinstance(p, tuple) else p).ndim == 2].append(p)
        if kinds[True]:
            super().add_param_group({**param_group, "params": kinds[True], "matrices": True})
        if kinds[False]:
            lr = param_group.get("adamw_lr", self.defaults["adamw_lr"])
            super().add_param_group({**param_group, "params": kinds[False], "matrices": False, "lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._muon if group["matrices"] else self._adamw
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    update(p, p.grad, **group)
        return loss

    def _muon(
        self, w: Tensor, g: Tensor, *, lr: float, momentum: float, nesterov: bool, ns_steps: int, **_: Any
    ) -> None:
        state = self.state[w]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(g)
        b = state["momentum_buffer"].lerp_(g, 1 - momentum)
        u = orthogonal(g.lerp(b, momentum) if nesterov else b, ns_steps)
        n_out, n_in = w.shape
        w.add_(u, alpha=-lr * max(1, n_out / n_in) ** 0.5)

    def _adamw(self, w: Tensor, g: Tensor, *, lr: float, betas: tuple[float, float], eps: float, **_: Any) -> None:
        state = self.state[w]
        if not state:
            state.update(t=0, m=torch.zeros_like(g), v=torch.zeros_like(g))
        state["t"] += 1
        m = state["m"].lerp_(g, 1 - betas[0])
        v = state["v"].lerp_(g * g, 1 - betas[1])
        m_scale, v_scale = (1 - beta ** state["t"] for beta in betas)
        w.addcdiv_(m, (v / v_scale).sqrt_().add_(eps), value=-lr / m_scale)


def orthogonal(m: Tensor, steps: int = 5) -> Tensor:
    """Roughly the nearest orthogonal matrix: with the SVD m = U S Vᵀ, about U Vᵀ (singular values in 0.7 … 1.2).

    X ← m/‖m‖; then ``steps`` times X ← a X + (b X Xᵀ + c (X Xᵀ)²) X, the quintic Newton–Schulz iteration with the
    coefficients of Jordan et al. (2024). In bfloat16, which this tolerates; float64 stays exact, for checks.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = m if m.dtype == torch.float64 else m.bfloat16()
    tall = m.shape[0] > m.shape[1]
    x = x.T if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
