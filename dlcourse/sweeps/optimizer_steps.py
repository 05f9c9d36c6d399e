"""Optimizer steps for many models at once: each row of w (T, P) is a model with its own hyperparameters.

torch.optim takes one learning rate for all; here each hyperparameter is a column (T, 1) that broadcasts over the
parameters, or a float shared by all models. The formulas are torch.optim's. w and the state are changed in place; the
state is empty at first.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]
Hyperparameter = Tensor | float


def decayed(w: Tensor, g: Tensor, weight_decay: Tensor | None) -> Tensor:
    """g + λ w, the gradient with the penalty λ ‖w‖²/2; None is λ = 0 for all."""
    return g if weight_decay is None else g + weight_decay * w


def sgd(
    w: Tensor,
    g: Tensor,
    state: State,
    *,
    lr: Tensor,
    weight_decay: Tensor | None,
    momentum: Hyperparameter = 0.0,
    dampening: Hyperparameter = 0.0,
    nesterov: bool = False,
) -> None:
    """b ← μ b + (1 − τ) g (b = g at first), w ← w − η b, or with nesterov w ← w − η (g + μ b).

    μ = 0 is plain SGD, whatever τ. Lecture: L12; Sutskever et al. (2013).
    """
    g = decayed(w, g, weight_decay)
    if "b" not in state:
        state["b"] = g.clone()
    else:
        state["b"].mul_(momentum).add_((1 - dampening * (momentum != 0)) * g)
    w.sub_(lr * (g + momentum * state["b"] if nesterov else state["b"]))


def adagrad(
    w: Tensor,
    g: Tensor,
    state: State,
    *,
    lr: Tensor,
    weight_decay: Tensor | None,
    lr_decay: Hyperparameter,
    initial_accumulator_value: Hyperparameter,
    eps: Hyperparameter,
) -> None:
    """s ← s + g², w ← w − η/(1 + (t − 1) d) · g/(√s + ε). Lecture: L15; Duchi et al. (2011)."""
    if not state:
        state.update(t=0, s=torch.zeros_like(w) + initial_accumulator_value)
    g = decayed(w, g, weight_decay)
    rate = lr / (1 + state["t"] * lr_decay)
    state["t"] += 1
    state["s"].addcmul_(g, g)
    w.sub_(rate * g / state["s"].sqrt().add_(eps))


def rmsprop(
    w: Tensor,
    g: Tensor,
    state: State,
    *,
    lr: Tensor,
    weight_decay: Tensor | None,
    alpha: Hyperparameter,
    momentum: Hyperparameter,
    eps: Hyperparameter,
    centered: bool,
) -> None:
    """s ← α s + (1 − α) g², b ← μ b + g/(√s + ε), w ← w − η b; centered: s minus the square of the mean of g.

    Tieleman and Hinton (2012).
    """
    if not state:
        state.update(s=torch.zeros_like(w), b=torch.zeros_like(w), mean=torch.zeros_like(w) if centered else None)
    g = decayed(w, g, weight_decay)
    s = state["s"].lerp_(g * g, 1 - alpha)
    if centered:
        s = s - state["mean"].lerp_(g, 1 - alpha) ** 2
    state["b"].mul_(momentum).add_(g / s.sqrt().add_(eps))
    w.sub_(lr * state["b"])


def adam(
    w: Tensor,
    g: Tensor,
    state: State,
    *,
    lr: Tensor,
    weight_decay: Tensor | None,
    betas: tuple[Hyperparameter, Hyperparameter],
    eps: Hyperparameter,
) -> None:
    """m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², w ← w − η m̂/(√v̂ + ε). Lecture: L14; Kingma and Ba (2015)."""
    _adam(w, decayed(w, g, weight_decay), state, lr, betas, eps)


def adamw(
    w: Tensor,
    g: Tensor,
    state: State,
    *,
    lr: Tensor,
    weight_decay: Tensor | None,
    betas: tuple[Hyperparameter, Hyperparameter],
    eps: Hyperparameter,
) -> None:
    """Adam after w ← (1 − η λ) w. Loshchilov and Hutter (2019)."""
    if weight_decay is not None:
        w.mul_(1 - lr * weight_decay)
    _adam(w, g, state, lr, betas, eps)


def _adam(
    w: Tensor, g: Tensor, state: State, lr: Tensor, betas: tuple[Hyperparameter, Hyperparameter], eps: Hyperparameter
) -> None:
    if not state:
        state.update(t=0, m=torch.zeros_like(w), v=torch.zeros_like(w))
    state["t"] += 1
    m = state["m"].lerp_(g, 1 - betas[0])
    v = state["v"].lerp_(g * g, 1 - betas[1])
    m_scale, v_scale = 1 - betas[0] ** state["t"], (1 - betas[1] ** state["t"]) ** 0.5
    # m̂ and √v̂ are both scaled by √(1 − β₂ᵗ), which saves a pass over the parameters
    w.addcdiv_(m.mul(lr * v_scale / m_scale), v.sqrt().add_(eps * v_scale), value=-1)


#: The step function of each optimizer.
STEPS: dict[type, Callable[..., None]] = {
    torch.optim.SGD: sgd,
    torch.optim.Adagrad: adagrad,
    torch.optim.RMSprop: rmsprop,
    torch.optim.Adam: adam,
    torch.optim.AdamW: adamw,
}
