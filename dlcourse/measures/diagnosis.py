"""Statistics of a network's layers, and warnings about what they show."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dlcourse.runs.files import series
from dlcourse.tasks.base import Batch
from dlcourse.tasks.predictions import eval_mode

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTED = (nn.Linear, *CONVOLUTIONS)
FLAT_SLOPE = 0.05  # share of the steepest slope below which an activation passes hardly any gradient
FAR_INPUT = 30.0  # a weighted input at which every activation is near its limit
REACH = 8.0  # weighted inputs from −REACH to REACH show whether a function bends
QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
#: Shares and ratios above (VANISHING and FROZEN: below) which there is a warning.
DEAD, SATURATED, VANISHING, FROZEN, LARGE_STEP = 0.3, 0.5, 1e-2, 1e-6, 0.3


def weights_of(network: nn.Module) -> list[Tensor]:
    """The weights w of the layers, in order."""
    return [p.weight for p in network.modules() if isinstance(p, WEIGHTED)]


def gradients(model: Any, batch: Batch) -> dict[str, float]:
    """‖∂C/∂w^l‖ of each layer l = 1, 2, … on a batch, in evaluation mode. Lecture: L8b, L8d."""
    weights = weights_of(model.network)
    trained = [w for w in weights if w.requires_grad]
    with eval_mode(model), torch.inference_mode(False), torch.enable_grad():
        found = iter(torch.autograd.grad(model.loss_of(batch).loss, trained))
    norms = [float(next(found).norm()) if w.requires_grad else 0.0 for w in weights]
    return {f"gradient/{layer}": norm for layer, norm in enumerate(norms, 1)}


def hidden_layers(model: Any, batch: Batch) -> list[tuple[nn.Module, Tensor]]:
    """The activation function f of each hidden layer, and the weighted inputs z that a batch gives it."""
    seen: dict[nn.Module, Tensor] = {}

    def keep(part: nn.Module, inputs: tuple[Any, ...]) -> None:
        if len(inputs) == 1 and isinstance(inputs[0], Tensor) and inputs[0].is_floating_point():
            seen[part] = inputs[0]

    leaves = [part for part in model.network.modules() if not list(part.children())]
    hooks = [part.register_forward_pre_hook(keep) for part in leaves]
    try:
        with eval_mode(model), torch.inference_mode(False), torch.no_grad():
            model(model.task.prepare_batch(batch)[0])
    finally:
        for hook in hooks:
            hook.remove()
    with eval_mode(model), torch.inference_mode(False), torch.no_grad():
        return [(part, z) for part, z in seen.items() if is_activation(part, z)]


def is_activation(f: nn.Module, z: Tensor) -> bool:
    """Whether a module applies one function to each entry of z (N, …), and not a straight line.

    What it does decides, not its class: layers with weights, normalisation and softmax mix entries or are straight
    lines in evaluation mode, as dropout and nn.Identity are; pooling and reshaping change the shape as well.
    """
    shape, n = (1, *z.shape[1:]), z[:1].numel()
    k = torch.arange(n, device=z.device, dtype=torch.float32)
    u = ((k * 0.618034 % 1 * 2 - 1) * REACH).to(z).reshape(shape)
    first = (k * 0.414214 % 1 < 0.5).reshape(shape)
    values = (torch.linspace(-1, 1, 17) ** 3 * REACH).to(z).reshape(-1, *[1] * (z.ndim - 1))  # most of them near 0
    a, other, mixed = f(u.clone()), f(u / 4), f(torch.where(first, u, u / 4))
    if not isinstance(a, Tensor) or a.shape != u.shape or not torch.allclose(mixed, torch.where(first, a, other)):
        return False
    a = f(values.expand(-1, *shape[1:]).clone())
    straight = a[:1] + (a[-1:] - a[:1]) * (values + REACH) / (2 * REACH)
    return bool((a - straight).abs().max() > 4 * torch.finfo(z.dtype).eps * a.abs().max())


def unit_statistics(layers: Sequence[tuple[nn.Module, Tensor]]) -> dict[str, float]:
    """For each hidden layer: quantiles of its activations, and the share that passes no gradient.

    ``saturated``, if f is flat on both sides (sigmoid, tanh): the share of activations whose slope is below a
    twentieth of the steepest. ``dead``, otherwise (ReLU): the share of units (maps of a convolution) whose slope f'(z)
    is 0 for every sample. Lecture: L8b – L8e.
    """
    found: dict[str, float] = {}
    for layer, (f, z) in enumerate(layers, 1):
        a, slope = _slope(f, z)
        quantiles = torch.quantile(subsample(a), torch.tensor([*QUANTILES.values()], device=a.device))
        found |= {f"activation/{name}/{layer}": float(v) for name, v in zip(QUANTILES, quantiles, strict=True)}
        is_flat = [
            bool(_slope(f, z.new_full((1, *z.shape[1:]), at))[1].abs().max() < 1e-3) for at in (-FAR_INPUT, FAR_INPUT)
        ]
        steepest = _slope(f, torch.linspace(-4, 4, 81).to(z).reshape(-1, *[1] * (z.ndim - 1)).expand(81, *z.shape[1:]))
        if all(is_flat):
            flat = slope.abs() < FLAT_SLOPE * float(steepest[1].abs().max())
            found[f"saturated/{layer}"] = float(flat.float().mean())
        else:
            other_dims = [d for d in range(slope.ndim) if d != 1]
            found[f"dead/{layer}"] = float((slope.abs().amax(other_dims) < 1e-6).float().mean())
    return found


def subsample(a: Tensor) -> Tensor:
    """Evenly spaced entries of a tensor, flattened: about 100,000 at most, since torch.quantile limits its input."""
    step = max(1, a.numel() // 100_000)
    while math.gcd(step, a.numel()) > 1:  # otherwise it would pick only some of the units
        step += 1
    return a.flatten()[::step].float()


def _slope(f: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
    """f(z) and f'(z), entry by entry."""
    with torch.inference_mode(False), torch.enable_grad():
        z = z.detach().clone().requires_grad_()
        a = f(z)
        slope = torch.autograd.grad(a.sum(), z, allow_unused=True)[0] if a.requires_grad else None
    return a.detach(), torch.zeros_like(a) if slope is None else slope


def layer_warnings(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Warnings about the diagnostics rows of metrics.jsonl, each with what to try."""
    history = [row for row in rows if "gradient/1" in row]
    if not history:
        return
    norms, last = series(history[0])["gradient"], series(history[-1])
    bottom, top = norms[min(norms)], norms[max(norms)]
    if len(norms) > 2 and bottom < VANISHING * top:
        yield (
            f"the gradient vanishes: before training that of layer 1 is {bottom / top:.1g} of that of layer "
            f"{max(norms)}; use activation=relu with init=he, or fewer layers"
        )
    elif len(norms) > 2 and top < VANISHING * bottom:
        times = f"{bottom / top:.1g} times that of layer {max(norms)}"
        yield f"the gradient explodes: before training that of layer 1 is {times}; use init=xavier or init=he"
    for layer, share in last.get("dead", {}).items():
        if share > DEAD:
            yield (
                f"hidden layer {layer}: {share:.0%} of its units fire for none of the samples checked; "
                "lower the learning rate, or use activation=leaky_relu"
            )
    for layer, share in last.get("saturated", {}).items():
        if share > SATURATED:
            yield (
                f"hidden layer {layer}: {share:.0%} of its activations lie where the function is flat; "
                "use smaller initial weights (init=xavier), or activation=relu"
            )
    for layer, ratio in last.get("update", {}).items():
        if 0 < ratio < FROZEN:
            yield f"layer {layer} hardly changes: a step is {ratio:.1g} of its weights; raise optimizer.lr"
        elif ratio > LARGE_STEP:
            yield f"layer {layer}: a step is still {ratio:.0%} of its weights; lower optimizer.lr"
