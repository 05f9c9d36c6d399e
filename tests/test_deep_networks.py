"""L18 on shortened recipes, one seed; the full ones are conf/experiment/18_*.yaml, by scripts/course.py."""

import pytest

from dlcourse import run
from dlcourse.errors import Refused

QUIET = ["trainer=cpu", "callbacks=none", "report=false", "data.val_fraction=0.02"]


@pytest.fixture
def accuracy(tmp_path):
    def of(*words):
        try:
            return run(*QUIET, *words, f"run_dir={tmp_path / 'run'}").metrics["test/acc"]
        except Refused as refusal:
            if "no other source answers" in str(refusal):
                pytest.skip(str(refusal))
            raise

    return of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "low", "high"),
    [(["model=greedy_mlp", "model.epochs_per_layer=3"], 0.55, 1), (["model=mlp"], 0, 0.35)],
    ids=["pre-trained", "not"],
)
def test_ten_sigmoid_layers(accuracy, words, low, high):
    """1,000 labels among 8,000 digits, 60 units a layer, 45 epochs: 0.657 after pre-training, 0.190 without."""
    hidden = f"model.hidden={[60] * 10}".replace(" ", "")
    same = ["activation=sigmoid", "init=xavier", "scheduler=cosine", "optimizer.lr=0.005", "trainer.max_epochs=45"]
    some = ["data=mnist", "data.train_samples=8000", "data.labelled=1000", "data.batch_size=256"]
    assert low <= accuracy(*words, *same, *some, hidden, "monitor=val/acc", "mode=max") <= high


@pytest.mark.slow
def test_a_residual_network_learns_from_photographs(accuracy):
    """Four passes over 4,000 of CIFAR-10, a narrow network: 0.397."""
    words = ["data=cifar10", "data.train_samples=4000", "model=resnet", "model.channels=[8,16,32]"]
    assert accuracy(*words, "optimizer.lr=0.02", "trainer.max_epochs=4") >= 0.33
