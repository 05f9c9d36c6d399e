"""Every value that a multirun will try is judged before its first trial."""

import pytest

from tests.composing import checked_multirun
from tests.refusing import refusal


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("model=mlp,ccn", "did you mean cnn?"),
        ("optimizr=adam,sgd", "did you mean optimizer?"),
        ("optimizer.learning_rate=1,2", "optimizer.lr"),
        ("+foo=1,2", "foo"),
        ("model._target_=dlcourse.models.mlp.MLP,os.system", "os.system"),
        ("seed=1,2 run_dir=x", "sweep_dir"),
        ("tags=[a],[{_target_:os.system}]", "os.system"),
        ("metrics=[f1],[f2]", "no metrics=f2; did you mean f1?"),
        ("metrics=f1,[]", "metrics=[]: expected at least one choice; write metrics=none"),
    ],
)
def test_a_multirun_is_judged_before_its_first_trial(words, said):
    assert said in refusal(checked_multirun, words.split())


def test_a_multirun_that_is_in_order():
    checked_multirun(["model=mlp,cnn", "seed=range(3)", "optimizer.lr=0.1,0.2"])
    assert checked_multirun(["metrics=[f1],[f1,auroc],none"]).choices["metrics"] == "f1"


@pytest.mark.parametrize(
    "words", ["model=mlp,autoencoder", "task=classification,reconstruction", "activation=relu,tanh"]
)
def test_over_a_table_of_ones_own(words, tmp_path):
    (tmp_path / "t.csv").write_text("a,b,kind\n" + "".join(f"{k},{k % 7},{'xyz'[k % 3]}\n" for k in range(40)))
    composed = checked_multirun(["data=csv", f"data.path={tmp_path / 't.csv'}", "data.target=kind", words])
    assert composed.choices["task"] == "classification" and composed.tree["data"]["outputs"] == 3
