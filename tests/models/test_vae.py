"""The variational autoencoder against its formulas, and as a run (L4)."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from dlcourse import run
from dlcourse.errors import Refused
from dlcourse.noise import normal, uniform
from dlcourse.runs.fit import train
from dlcourse.tasks.reconstruction_sections import nearest
from tests.composing import checked, resumed
from tests.stopping import WORDS, assert_same_run, killed

SMALL = ["model=vae", "model.hidden=[16]", "model.code=2"]
DIFFUSION = ["model=latent_diffusion", "model.hidden=[16]", "model.code=2", "model.width=16", "model.classes=10"]


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
        h = mu + sigma * normal(done.data.seed, 0, test.index, 2, stream=1).double()
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


@pytest.mark.parametrize(
    ("words", "step"), [(DIFFUSION, 17), *(pytest.param(w, 4, marks=pytest.mark.slow) for w in (SMALL, DIFFUSION))]
)
def test_resumed_to_the_bit(tmp_path, monkeypatch, words, step):
    killed(tmp_path / "killed", words, monkeypatch, step)
    train(*resumed([f"resume={tmp_path / 'killed'}"]))
    train(checked([*WORDS, *words, f"run_dir={tmp_path / 'straight'}"]))
    assert_same_run(tmp_path / "killed", tmp_path / "straight")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A run whose decoder is told the class, with a learned prior, judged by a classifier."""
    judge = "['data=digits','trainer.max_epochs=15','optimizer.lr=0.003']"
    measure = ["+callbacks.new._target_=dlcourse.measures.generation.Generated", f"+callbacks.new.judge={judge}"]
    words = ["model=latent_diffusion", "model.classes=10", "model.code=8", "model.beta=0.3", *measure]
    more = ["+callbacks.new.count=300", "trainer.max_epochs=20", "optimizer.lr=0.004"]
    return run(*words, *more, f"run_dir={tmp_path_factory.mktemp('told') / 'run'}")


def test_the_decoder_is_told_the_class(told):
    model, data = told.model, told.data
    rows = data.samples("train")
    seen = model.told(rows)
    hidden = seen.sum(1) == 0
    assert 0.01 < float(hidden.float().mean()) < 0.03  # one in fifty
    assert torch.equal(seen[~hidden].int().argmax(1), rows.y[~hidden])
    assert not torch.equal(hidden, model.told(rows._replace(epoch=1)).sum(1) == 0)
    h = torch.zeros(10, 8)
    assert torch.equal(model.decode(h), model.decode(h, torch.zeros(10, 10)))
    assert (model.decode(h, torch.eye(10)) - model.decode(h)).abs().amax(1).min() > 0.1


def test_what_is_generated_is_judged(told):
    """Chance is 0.1 for the class that was asked for; a decoder that draws one digit has the spread of one."""
    found = {name[8:]: value for name, value in told.metrics.items() if name.startswith("measure/")}
    assert found["judge_acc"] > 0.93 and found["as_asked"] > 0.6
    assert 0 <= found["sure"] <= found["real_sure"] + 0.1 and found["least_class"] > 0.03
    assert 0.6 < found["spread"] < 1.2 and 0.3 < found["nearest"] < 1.5
    page = (told.run_dir / "report.html").read_text("utf-8")
    assert 'alt="New samples. Decoded from new codes, a class a column; below each the nearest training' in page


def test_the_prior_is_the_error_of_the_velocity(told):
    """mean (v̂ − v)², v = α ε − σ h at h_t = α h + σ ε, and no part of the encoder's gradient."""
    model, batch = told.model, told.data.samples("val")
    output = model.output_of(model.task.prepare_batch(batch)[0], batch)
    prior = model.auxiliary_losses(output)["prior"]
    with_gradient = {
        name
        for name, p in model.named_parameters()
        if torch.autograd.grad(prior, p, allow_unused=True, retain_graph=True)[0] is not None
    }
    assert with_gradient and all(name.startswith("denoiser.") for name in with_gradient)
    h = output.h.detach()
    epsilon, t = normal(batch.seed, 0, batch.index, 8, stream=4), uniform(batch.seed, 0, batch.index, 1, stream=5)
    alpha, sigma = (t * math.pi / 2).cos(), (t * math.pi / 2).sin()
    with torch.no_grad():
        guess = model.velocity(alpha * h + sigma * epsilon, t, model.told(batch))
    velocity = alpha * epsilon - sigma * h
    assert prior.item() == pytest.approx(float((guess - velocity).square().mean()), rel=1e-5)


def test_draws_of_a_perfect_denoiser_are_its_codes(told, monkeypatch):
    """With the one code h everywhere, v(h_t, t) is known, and the steps end in h."""
    model, h = told.model, torch.linspace(-1, 1, 8)

    def velocity(h_t, t, told):
        alpha, sigma = (t * math.pi / 2).cos(), (t * math.pi / 2).sin()
        return alpha * (h_t - alpha * h) / sigma.clamp_min(1e-6) - sigma * h

    monkeypatch.setattr(model, "velocity", velocity)
    torch.testing.assert_close(model.draw(5, 1), h.expand(5, 8), rtol=0, atol=1e-4)


@pytest.mark.parametrize("words", [["model.classes=3"], ["model.classes=10", "data=diabetes"]])
def test_the_classes_are_those_of_the_data(words):
    with pytest.raises(Refused, match=r"model.classes=\d+: the decoder is told all classes of the data or none"):
        checked(["model=vae", *words])


def test_beta_is_not_negative():
    assert math.isclose(checked([*SMALL, "model.beta=0"]).cfg.model.beta, 0)


def test_the_nearest_training_picture_is_found(monkeypatch):
    monkeypatch.setattr("dlcourse.tasks.reconstruction_sections.PART", 7)
    known = torch.randint(0, 256, (40, 1, 3, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    chosen = torch.tensor([39, 0, 8, 7])
    assert torch.equal(nearest(known[chosen] + 0.4, known), known[chosen].float())
