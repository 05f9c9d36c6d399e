"""The variational autoencoder against its formulas, and as a run (L4)."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from dlcourse import run
from dlcourse.noise import normal
from dlcourse.runs.fit import train
from tests.composing import checked, resumed
from tests.stopping import WORDS, assert_same_run, killed

SMALL = ["model=vae", "model.hidden=[16]", "model.code=2"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    measure = "+callbacks.code._target_=dlcourse.measures.code.ActiveUnits"
    gap = "+callbacks.gap._target_=dlcourse.measures.generalisation.Gap"
    words = [*SMALL, measure, gap, "trainer.max_epochs=15", "optimizer.lr=0.005"]
    return run(*words, f"run_dir={tmp_path_factory.mktemp('vae') / 'run'}")


def test_its_loss_is_the_negative_elbo(done):
    """Against torch's distributions, in float64: BCE summed over pixels at one sample of the code, and KL, a mean."""
    model, test = done.model.double(), done.data.sets["test"]
    x = test.x.double()
    with torch.no_grad():
        mu, log_var = model.posterior(x)
        sigma = (log_var / 2).exp()
        kl = kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum(1).mean()
        h = mu + sigma * normal(done.data.seed, 0, test.index, 2).double()
        cost = F.binary_cross_entropy_with_logits(model.decode(h), x.flatten(1) / 16, reduction="none").sum(1).mean()
    assert done.metrics["test/kl"] == pytest.approx(float(kl) / 64, rel=1e-4)
    assert done.metrics["test/loss"] * 64 == pytest.approx(float(cost + kl), rel=1e-4)
    assert done.metrics["measure/gap"] < 0.05, "a model with several outputs and a loss of its own has a gap too"
    assert 1 < float(kl) < 10 and done.metrics["measure/active"] == 2
    model.float()


def test_the_code_is_used(done):
    """A quarter of a nat a sample and more below the best answer without a code, the mean picture."""
    y = done.data.sets["train"].x.flatten(1).double() / 16
    x = done.data.sets["test"].x.flatten(1).double() / 16
    without = F.binary_cross_entropy(y.mean(0).clamp(1e-4, 1 - 1e-4).expand_as(x), x, reduction="none").sum(1).mean()
    assert done.metrics["test/loss"] * 64 < float(without) - 0.25


def test_the_page_shows_what_the_decoder_draws(done):
    page = (done.run_dir / "report.html").read_text("utf-8")
    for alt in ("Between two test samples", "New samples", "The plane of codes"):
        assert f'alt="{alt}. ' in page
    h = done.model.draw(5, 1)
    assert done.model.decode(h).shape == (5, 64)
    assert torch.equal(h, done.model.draw(5, 1)) and not torch.equal(h, done.model.draw(5, 2))


def test_beta_weighs_the_divergence(tmp_path):
    kl = []
    for beta in (0.1, 10):
        words = [*SMALL, f"model.beta={beta}", "trainer.max_epochs=6", "optimizer.lr=0.005", "report=false"]
        kl.append(run(*words, f"run_dir={tmp_path / str(beta)}").metrics["test/kl"] / beta)
    assert kl[1] < kl[0] / 4


@pytest.mark.parametrize("step", [17, pytest.param(4, marks=pytest.mark.slow)])
def test_resumed_to_the_bit(tmp_path, monkeypatch, step):
    killed(tmp_path / "killed", SMALL, monkeypatch, step)
    train(*resumed([f"resume={tmp_path / 'killed'}"]))
    train(checked([*WORDS, *SMALL, f"run_dir={tmp_path / 'straight'}"]))
    assert_same_run(tmp_path / "killed", tmp_path / "straight")


def test_beta_is_not_negative():
    assert math.isclose(checked([*SMALL, "model.beta=0"]).cfg.model.beta, 0)
