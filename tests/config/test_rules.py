"""What fits what: kinds of values, a loss and a task, a monitor and its mode."""

import pytest

from dlcourse.config.groups import groups
from tests.composing import checked
from tests.refusing import refusal


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("checkpoint=3", "checkpoint"),
        ("checkpoint=null", "checkpoint"),
        ("trainer.max_epochs=", "trainer.max_epochs"),
        ("data.y=foo", "whose y holds foo"),
        ("loss.target_forms=null", "loss.target_forms"),
        ("loss.target_forms=3", "loss.target_forms"),
        ("+data.facts=3", "data.facts"),
        ("+data.facts={}", "data.facts"),
        ("~data", "data"),
        ("~model", "model"),
        ("model.activation=${nothing}", "nothing"),
        ("model.activation=3", "model.activation"),
        ("model.activation=[relu,3]", "model.activation"),
        ("++foo=1", "foo"),
        ("=1", "=1"),
        ("task.metrics=null", "task.metrics"),
        ("task.metrics=3", "task.metrics"),
        ("task.takes=[1]", "it takes 1"),
        ("task.takes=null", "task.takes=null".replace("null", "None")),
        ("tags=null", "expected a list, as []"),
        ("metrics=[]", "metrics=[]: expected at least one choice; write metrics=none"),
        ("logger=[]", "logger=[]: expected at least one choice; write logger=none"),
        ("data.classes=[a]", "data.classes has 1 names, data=digits has 10 classes"),
        ("data.white=x", "data.white=x: expected a number in (0"),
        ("data.white=-1", "data.white=-1"),
    ],
)
def test_values_of_a_wrong_kind_are_refused(word, said):
    assert said in refusal(checked, [word])


@pytest.mark.parametrize("takes", ["null", "3"])
def test_a_metric_takes_a_list(takes):
    assert "metrics.f1.takes" in refusal(checked, ["metrics=f1", f"metrics.f1.takes={takes}"])


def test_a_full_batch_optimizer_and_a_number_by_hand():
    assert "optimizer=gd" in refusal(checked, ["optimizer=gd", "data.batch_size=32"])
    assert "optimizer=lbfgs" in refusal(checked, ["optimizer=lbfgs", "data.batch_size=32"])
    assert checked(["optimizer=adam", "data.batch_size=full"]).cfg.data.batch_size == "full"


SERVES = {
    "mse": {"binary", "classes", "values"},
    "mae": {"binary", "classes", "values"},
    "huber": {"binary", "classes", "values"},
    "perceptron": {"binary", "classes"},
    "hinge": {"binary", "classes"},
    "bce": {"binary", "classes"},
    "cross_entropy": {"classes"},
    "centres": {"boxes"},
    "supervised_contrastive": set(),  # of codes: tests/test_embedding.py
    "arcface": set(),
}
OF_TASK = {
    "binary": ("moons", "bce", "binary"),
    "classes": ("digits", "cross_entropy", "classification"),
    "values": ("sine", "mse", "regression"),
    "boxes": ("scenes", "centres", "detection"),
}


def test_every_loss_is_here():
    assert set(SERVES) == set(groups()["loss"]) - {"own"}


@pytest.mark.parametrize("loss", SERVES)
@pytest.mark.parametrize("task", OF_TASK)
def test_every_loss_with_every_task(loss, task):
    data, fitting, of = OF_TASK[task]
    if task in SERVES[loss]:
        assert checked([f"data={data}", f"loss={loss}"]).choices["loss"] == loss
    else:
        message = refusal(checked, [f"data={data}", f"loss={loss}"])
        assert all(part in message for part in (f"loss={loss}", f"data={data} ({of})", f"try loss={fitting}"))


def test_what_a_model_chooses_is_judged_too():
    message = refusal(checked, ["data=sine", "model=perceptron"])
    assert "loss=perceptron cannot fit data=sine (regression); try loss=mse, or huber, mae" in message


@pytest.mark.parametrize(
    "words",
    [
        "monitor=test/loss",
        "monitor=test/acc mode=max",
        "monitor=loss",
        "monitor=val/r2 mode=max",
        "monitor=val/mae",
        "data=sine monitor=val/acc mode=max",
        "monitor=val/loss mode=max",
        "monitor=val/acc",
        "monitor=val/acc mode=min",
        "data=sine monitor=val/r2",
        "data=sine monitor=val/mae mode=max",
        "mode=lowest",
        "monitor=val/foo",
        "monitor=val/",
        "monitor=val/loss/x",
        "callbacks=early_stopping callbacks.early_stopping.mode=max",
        "callbacks=early_stopping callbacks.early_stopping.monitor=test/loss",
        "callbacks=early_stopping callbacks.early_stopping.monitor=val/foo",
        "callbacks=early_stopping callbacks.early_stopping.monitor=val/acc",
        "scheduler=plateau scheduler.mode=max",
    ],
)
def test_a_monitor_or_mode_that_cannot_be_meant_is_refused(words):
    refusal(checked, words.split())


@pytest.mark.parametrize(
    "words",
    [
        "monitor=val/acc mode=max",
        "monitor=train/loss",
        "data=sine monitor=val/r2 mode=max",
        "data=sine monitor=val/mae",
        "callbacks=early_stopping monitor=val/acc mode=max",
        "callbacks=early_stopping callbacks.early_stopping.monitor=val/acc callbacks.early_stopping.mode=max",
        "model=perceptron data=and",
        "scheduler=plateau monitor=val/acc mode=max",
    ],
)
def test_monitors_that_may_be_meant(words):
    checked(words.split())
