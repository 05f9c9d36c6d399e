"""What an experiment expects: read, judged on figures, and nothing else is run."""

import pytest
from omegaconf import OmegaConf

from dlcourse.config.claims import Expectation, judge, judge_run, table
from dlcourse.config.groups import CONF
from dlcourse.errors import Refused

STUDY = [
    {"words": ["optimizer=sgd", "seed=0"], "test/acc": 0.8, "measure/gradient/1": 1e-6, "steps": 10},
    {"words": ["optimizer=sgd", "seed=1"], "test/acc": 0.9, "measure/gradient/1": 3e-6, "steps": 10},
    {"words": ["optimizer=adam", "seed=0"], "test/acc": 0.95, "measure/gradient/1": 0.5, "steps": 10},
    {"words": ["optimizer=adam", "seed=1"], "test/acc": 0.97, "measure/gradient/1": 0.7, "steps": 10},
]


@pytest.mark.parametrize(
    ("text", "obtained", "met"),
    [
        ("test/acc >= 0.9", "0.905 ≥ 0.9", True),
        ("test/acc[optimizer=sgd] == 0.85", "0.85 = 0.85", True),
        ("test/acc[optimizer=sgd, seed=1] > 0.9", "0.9 > 0.9", False),
        ("test/acc[optimizer=adam] - test/acc[optimizer=sgd] > 0.1", "0.11 > 0.1", True),
        ("min(test/acc[optimizer=adam]) >= max(test/acc[optimizer=sgd])", "0.95 ≥ 0.9", True),
        ("count(test/acc[seed=0]) == 2", "2 = 2", True),
        ("1e5 * measure/gradient/1[optimizer=sgd] < measure/gradient/1[optimizer=adam]", "0.2 < 0.6", True),
        ("-steps <= -(9 + 1.0)", "-10 ≤ -10", True),
        ("test/acc[optimizer=adam] / test/acc[optimizer=sgd] < 1.0", "1.129 < 1", False),
        ("val/loss < 1", "0 of 4 runs have val/loss", False),
        ("test/acc[optimizer=lbfgs] > 0", "0 of 0 runs have test/acc of optimizer=lbfgs", False),
        ("std(test/acc[optimizer=sgd]) < 0.08", "0.07071 < 0.08", True),
    ],
)
def test_judged(text, obtained, met):
    assert Expectation(text).judge(STUDY) == (text, obtained, met)


def test_a_trial_without_the_figure_is_not_left_out():
    """Or a claim would be kept by those that happened to finish."""
    (verdict,) = judge(["test/acc[optimizer=adam] > 0.9"], [*STUDY, {"words": ["optimizer=adam"]}])
    assert not verdict.met and verdict.obtained.startswith("2 of 3 runs have test/acc")


def test_one_run():
    (verdict,) = judge(["test/acc >= 0.97"], [{"test/acc": 0.98}])
    assert verdict.met
    assert "0.98 ≥ 0.97" in table("Networks learn.", [verdict]) and "Networks learn." in table("Networks learn.", [])


@pytest.mark.parametrize(
    "text",
    [
        "test/acc",
        "0.9 < 1",
        "test/acc >= 0.9 >= 0.5",
        "test/acc = 0.9",
        "test/acc != 0.9",
        "__import__('os').system('true') > test/acc",
        "open(test/acc) > 0",
        "min(test/acc, steps) > 0",
        "test/acc ** 2 > 0",
        "test/acc.real > 0",
        "test/acc > 'a'",
        "(lambda: test/acc)() > 0",
        "",
        "test/acc >",
        None,
    ],
)
def test_what_is_no_expectation_is_refused(text):
    with pytest.raises(Refused, match="expect"):
        Expectation(text)


def test_a_quotient_of_differences():
    text = "(test/acc[optimizer=adam] - test/acc[optimizer=sgd]) / (steps - 8) < 0.1"
    assert Expectation(text).judge(STUDY).met


@pytest.mark.parametrize("text", ["test/acc > 1e999", "test/acc / (steps - steps) > 1"])
def test_what_no_figure_can_keep(text):
    assert not Expectation(text).judge(STUDY).met


@pytest.mark.parametrize("text", ["test/acc / 0 + open(steps) > 1", "1 / (2 - 2) < test/acc"])
def test_a_quotient_that_is_none_hides_nothing(text):
    with pytest.raises(Refused, match="expect"):
        Expectation(text)


def test_a_number_that_is_none():
    with pytest.raises(Refused, match="expect"):
        Expectation(f"test/acc > {'9' * 400}")


def test_a_trial_is_named_as_yaml_writes_it():
    """Hydra's sweeper writes true, false and null as Python does."""
    rows = [{"words": ["model.shortcut=True", "model.weights=None"], "test/acc": 0.7}]
    (verdict,) = judge(["test/acc[model.shortcut=true,model.weights=null] >= 0.7"], rows)
    assert verdict.met


def test_experiments_expect_of_trials_that_their_sweep_has():
    """A claim on a trial that is never run could not be met."""
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        file = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        choices = {
            f"{key}={choice.strip()}"
            for key, values in file.get("hydra", {}).get("sweeper", {}).get("params", {}).items()
            for choice in str(values).split(",")
        }
        for text in file.get("expect", []):
            named = [word for _, words in Expectation(text).metrics for word in words]
            assert {*named} <= choices or not choices, f"{path.stem}: {text}"


def test_a_run_is_judged_by_what_one_run_can_meet():
    found = judge_run(["test/acc >= 0.9", "test/acc[seed=0] >= 0.9", "max(steps) == 10"], STUDY[2])
    assert [(each.expected, each.met) for each in found] == [("test/acc >= 0.9", True), ("max(steps) == 10", True)]
