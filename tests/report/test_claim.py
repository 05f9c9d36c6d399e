"""The plots of a claim show what its expectations compare, for each arm."""

import pytest

from dlcourse.report.claim import claim_plots, compared

EXPECT = [
    "test/mse[model.code=2] <= 0.8 * measure/pca[model.code=2]",
    "max(test/mse[model.code=8]) < min(measure/pca[model.code=8])",
    "test/acc[model=cnn, seed=0] >= 0.9",
]


def test_metrics_that_are_compared_belong_together():
    assert compared(EXPECT) == [
        (["test/mse", "measure/pca"], ["model.code"]),
        (["test/acc"], ["model", "seed"]),
    ]
    assert compared(["a < b", "c < d", "b < c"]) == [(["a", "b", "c", "d"], [])]


def test_a_plot_for_each_group_that_the_trials_have():
    overrides = [{"model.code": code, "seed": seed} for code in ("2", "8", "32") for seed in ("0", "1")]
    rows = [{"test/mse": 1 / int(each["model.code"]), "measure/pca": 0.5} for each in overrides]
    (plot,) = claim_plots(EXPECT, rows, overrides)
    assert plot.alt == "test/mse, measure/pca" and plot.svg and "model.code" in plot.svg
    assert all(text in plot.svg for text in (">2<", ">8<", ">32<"))
    rows[0].pop("test/mse")  # a trial that failed
    (plot,) = claim_plots(EXPECT, rows, overrides)
    assert plot.svg


def test_without_arms_it_is_the_seeds():
    overrides = [{"seed": "0"}, {"seed": "1"}]
    (plot,) = claim_plots(["test/acc >= 0.9"], [{"test/acc": 0.5}, {"test/acc": 0.7}], overrides)
    assert plot.svg and ">seed<" in plot.svg
    assert claim_plots(["test/acc >= 0.9"], [{"test/acc": 0.5}], [{}]) == []


@pytest.mark.parametrize("arms", [["relu", "a_rather_long_name", "another_rather_long_name", "one_more_long_name"]])
def test_long_names_are_turned(arms):
    (plot,) = claim_plots(
        ["x[activation=relu] > x[activation=sigmoid]"],
        [{"x": float(k)} for k in range(4)],
        [{"activation": name} for name in arms],
    )
    assert plot.svg and not plot.problem
