"""Steps for many models at once against torch.optim, model by model, each with numbers of its own."""

import pytest
import torch

from dlcourse.sweeps.optimizer_steps import STEPS

LRS, STEPS_TAKEN = (1e-3, 0.1, 0.03), 40
OPTIMIZERS = {
    torch.optim.SGD: {
        "weight_decay": (0.0, 0.1, 0.01),
        "momentum": (0.0, 0.9, 0.5),
        "dampening": (0.3, 0.2, 0.0),
        "nesterov": False,
    },
    torch.optim.Adagrad: {
        "weight_decay": (0.0, 0.1, 0.01),
        "lr_decay": (0.0, 0.1, 0.01),
        "initial_accumulator_value": (0.0, 0.1, 1.0),
        "eps": (1e-10, 1e-6, 1e-3),
    },
    torch.optim.RMSprop: {
        "weight_decay": (0.0, 0.1, 0.01),
        "alpha": (0.99, 0.9, 0.5),
        "momentum": (0.0, 0.9, 0.5),
        "eps": (1e-8, 1e-6, 1e-3),
        "centered": False,
    },
    torch.optim.Adam: {
        "weight_decay": (0.0, 0.1, 0.01),
        "betas": ((0.9, 0.999), (0.5, 0.9), (0.0, 0.99)),
        "eps": (1e-8, 1e-6, 1e-3),
    },
    torch.optim.AdamW: {
        "weight_decay": (0.0, 0.1, 0.01),
        "betas": ((0.9, 0.999), (0.5, 0.9), (0.0, 0.99)),
        "eps": (1e-8, 1e-6, 1e-3),
    },
}
CASES = [(cls, {}) for cls in OPTIMIZERS]
CASES += [
    (torch.optim.SGD, {"nesterov": True, "dampening": (0.0, 0.0, 0.0), "momentum": (0.1, 0.9, 0.5)}),
    (torch.optim.RMSprop, {"centered": True}),
]


def column(values):
    """A number for each model, or the number of all."""
    if isinstance(values, bool):
        return values
    if isinstance(values[0], tuple):
        return tuple(column(part) for part in zip(*values, strict=True))
    if len(set(values)) == 1:
        return values[0]
    return torch.tensor(values, dtype=torch.float64)[:, None]


def own(values, t):
    return values if isinstance(values, bool) else values[t]


@pytest.mark.parametrize(("cls", "changed"), CASES, ids=lambda case: getattr(case, "__name__", str(case)[:20]))
@pytest.mark.parametrize("decayed", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_a_step_is_torchs(cls, changed, decayed, shared):
    """Rosenbrock-like gradients that depend on the weights: an error in one step would grow in the next."""
    numbers = {**OPTIMIZERS[cls], **changed}
    if shared:
        numbers = {key: values if isinstance(values, bool) else values[1:2] * 3 for key, values in numbers.items()}
    torch.manual_seed(0)
    w = torch.randn(3, 6, dtype=torch.float64)
    targets = torch.randn(STEPS_TAKEN, 3, 6, dtype=torch.float64)
    if not decayed:
        numbers["weight_decay"] = (0.0, 0.0, 0.0)
    alone = []
    for t in range(3):
        p = w[t].clone().requires_grad_()
        optimizer = cls([p], lr=LRS[t], **{key: own(values, t) for key, values in numbers.items()})
        for target in targets[:, t]:
            p.grad = (p.detach() - target) * (1 + p.detach() ** 2)
            optimizer.step()
        alone.append(p.detach())
    columns = {key: column(values) for key, values in numbers.items()}
    columns["weight_decay"] = columns["weight_decay"] if decayed else None
    state = {}
    for target in targets:
        STEPS[cls](w, (w - target) * (1 + w**2), state, lr=column(LRS), **columns)
    assert torch.allclose(w, torch.stack(alone), rtol=1e-12, atol=1e-14)
