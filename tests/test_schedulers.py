"""Every scheduler in conf/scheduler: its learning-rate trace against a closed formula or PyTorch's own."""

import io
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

CONF = Path(__file__).parents[1] / "conf" / "scheduler"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "own")
ETA, T = 0.4, 40


def factory(name: str, **options: Any):
    loaded = OmegaConf.create({"mode": "min", "scheduler": OmegaConf.load(CONF / f"{name}.yaml")})
    return instantiate(OmegaConf.merge(loaded, {"scheduler": options}).scheduler)


def optimizer(*rates: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in rates or (ETA,)])


def make(name: str, opt: torch.optim.Optimizer, **options: Any):
    make = factory(name, **options)
    return make(opt, total_steps=T) if "total_steps" in signature(make).parameters else make(opt)


def trace(scheduler, steps: int = T) -> np.ndarray:
    """η at t = 0 … steps, of the first group; plateau is shown a figure that never improves."""
    rates = [scheduler.optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        scheduler.optimizer.step()
        stuck = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
        scheduler.step(1.0) if stuck else scheduler.step()
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
    return np.array(rates)


def half_cosine(s):
    return np.cos(np.pi * s / 2) ** 2


t = np.arange(T + 1)
RISE, FALL = t / 12, (t - 12) / 28  # warm-up 0.3 of 40 steps
FORMULAS = {
    "constant": (0 * t + 1.0, {}),
    "step": (0.1 ** (t // 10), {}),
    "cosine": (half_cosine(t / T), {}),
    "one_cycle": (np.where(t < 12, 0.04 + 0.96 * (1 - half_cosine(RISE)), 4e-6 + (1 - 4e-6) * half_cosine(FALL)), {}),
    "warmup_cosine": (np.where(t < 12, 0.01 + 0.99 * RISE, 0.1 + 0.9 * half_cosine(FALL)), dict(warmup=0.3, final=0.1)),
    "plateau": (0.5 ** (np.maximum(t - 1, 0) // 6), {}),  # the first figure is the best; then every 5 + 1 epochs
}


def test_every_file_has_a_formula():
    assert set(NAMES) == set(FORMULAS)


@pytest.mark.parametrize("name", FORMULAS)
def test_trace(name):
    formula, options = FORMULAS[name]
    np.testing.assert_allclose(trace(make(name, optimizer(), **options)), ETA * formula, rtol=1e-9, atol=1e-12)


def test_as_shipped_the_warm_up_is_a_tenth():
    rates = trace(make("warmup_cosine", optimizer()))
    assert rates.argmax() == T / 10 and rates[0] == pytest.approx(0.01 * ETA) and rates[-1] == pytest.approx(0)


def test_cosine_is_that_of_torch():
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer(), T_max=T, eta_min=0.1 * ETA)
    np.testing.assert_allclose(trace(make("cosine", optimizer(), final=0.1)), trace(theirs), rtol=1e-9)


def test_one_cycle_is_that_of_torch():
    """Theirs puts the peak at pct_start·total − 1 and the end at total − 1: the same curve with T + 1 steps."""
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer(), ETA, total_steps=T + 1, pct_start=(0.3 * T + 1) / (T + 1), div_factor=25, cycle_momentum=False
    )
    np.testing.assert_allclose(trace(make("one_cycle", optimizer())), trace(theirs), rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_groups_keep_the_ratio_of_their_rates(name):
    opt = optimizer(ETA, ETA / 8)
    trace(make(name, opt), 17)
    fast, slow = (group["lr"] for group in opt.param_groups)
    assert fast == pytest.approx(8 * slow)


@pytest.mark.parametrize("name", NAMES)
def test_state_survives_a_checkpoint(name):
    expected = trace(make(name, optimizer()))
    opt = optimizer()
    scheduler = make(name, opt)
    trace(scheduler, 15)
    file = io.BytesIO()
    torch.save({"scheduler": scheduler.state_dict(), "optimizer": opt.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    opt = optimizer()
    scheduler = make(name, opt)
    opt.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    np.testing.assert_array_equal(trace(scheduler, T - 15), expected[15:])


@pytest.mark.parametrize("name", ["cosine", "one_cycle", "warmup_cosine"])
def test_past_the_end_the_rate_stays(name):
    rates = trace(make(name, optimizer()), T + 5)
    assert rates[T] < 1e-5 * ETA and (rates[T:] == rates[T]).all()


@pytest.mark.parametrize("name", ["one_cycle", "warmup_cosine"])
def test_without_warm_up_it_starts_at_the_peak(name):
    assert trace(make(name, optimizer(), warmup=0.0))[0] == ETA


@pytest.mark.parametrize("total", [0, float("inf"), float("nan")])
def test_an_unknown_end_is_refused(total):
    with pytest.raises(Exception, match="Cosine needs to know how long"):
        factory("cosine")(optimizer(), total_steps=total)


def test_a_warm_up_that_is_no_share_is_refused():
    with pytest.raises(Exception, match="warmup=500"):
        make("one_cycle", optimizer(), warmup=500)
