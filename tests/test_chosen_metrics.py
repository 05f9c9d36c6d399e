"""Metrics chosen by a word: the figures of scikit-learn, on any number of processes, monitored, reported, refused."""

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.stats import spearmanr
from sklearn import metrics as reference
from torch import Tensor, distributed

from dlcourse import Refused, run
from dlcourse.chosen_metrics import ChosenMetrics
from dlcourse.config.rules import METRIC_KEYS
from dlcourse.tasks.base import Predictions
from scripts.runs import runs as list_runs
from tests import objects
from tests.composing import checked

ROWS = 200
FORMS = {"binary": "binary", "multiclass": "classification", "multilabel": "multilabel", "values": "regression"}
SHORT = ["callbacks=none", "trainer.max_epochs=1"]


def calibration(a: np.ndarray, y: np.ndarray) -> float:
    """Σ over bins of (rows in it / rows) · |share that is right − mean probability|, as Guo et al. (2017) define it."""
    right, sure = a.argmax(1) == y, a.max(1)
    bins = np.minimum((sure * 15).astype(int), 14)
    return sum(abs(right[bins == k].mean() - sure[bins == k].mean()) * (bins == k).mean() for k in set(bins))


#: Of each choice, the task that it is tried with and the figure of predictions a and targets y.
REFERENCES = {
    "f1": ("multiclass", lambda a, y: reference.f1_score(y, a.argmax(1), average="macro")),
    "precision": ("multilabel", lambda a, y: reference.precision_score(y, a > 0.5, average="macro")),
    "recall": ("binary", lambda a, y: reference.recall_score(y, a > 0.5)),
    "auroc": ("multiclass", lambda a, y: reference.roc_auc_score(y, a, multi_class="ovr", average="macro")),
    "average_precision": ("binary", lambda a, y: reference.average_precision_score(y, a)),
    "top_k": ("multiclass", lambda a, y: reference.top_k_accuracy_score(y, a, k=3)),
    "calibration_error": ("multiclass", calibration),
    "cohen_kappa": ("multiclass", lambda a, y: reference.cohen_kappa_score(y, a.argmax(1))),
    "matthews": ("multiclass", lambda a, y: reference.matthews_corrcoef(y, a.argmax(1))),
    "mape": ("values", lambda a, y: reference.mean_absolute_percentage_error(y, a)),
    "rmse": ("values", lambda a, y: reference.root_mean_squared_error(y, a)),
    "spearman": ("values", lambda a, y: spearmanr(a, y).statistic),
    "psnr": ("pictures", lambda a, y: -10 * np.log10(np.mean((a - y) ** 2))),
}


def answered(form: str) -> tuple[object, Tensor, Tensor]:
    """A task, outputs z and the target as the task prepares it."""
    draw = torch.Generator().manual_seed(3)
    if form == "pictures":
        task = objects.task("reconstruction", 16, shape=[1, 4, 4], white=1.0)
        return task, torch.randn(ROWS, 16, generator=draw), torch.rand(ROWS, 16, generator=draw)
    outputs = {"multiclass": 5, "multilabel": 4}.get(form, 1)
    task = objects.task(FORMS[form], 2 if form == "binary" else outputs)
    z = torch.randn(ROWS, outputs, generator=draw)
    noisy = z + torch.randn(ROWS, outputs, generator=draw)
    target = {"multiclass": noisy.argmax(1), "values": noisy + 10}.get(form, (noisy > 0).float())
    return task, z, target


def read_as(form: str):
    return {"multiclass": lambda z: z.softmax(1), "values": lambda z: z}.get(form, torch.sigmoid)


def chosen(name: str, form: str, task: object) -> ChosenMetrics:
    tree = OmegaConf.create({"task": {"prediction_form": form, "outputs": task.outputs}})
    node = OmegaConf.merge(tree, {"metrics": objects.shipped("metrics", name)}).metrics[name]
    metric = instantiate({key: value for key, value in node.items() if key not in METRIC_KEYS})
    read = read_as(form)
    return ChosenMetrics({name: metric}, task, lambda z: Predictions(z, task.postprocess(read(z)), form != "values"))


def test_each_choice_has_a_reference() -> None:
    elsewhere = {"map", "pair_auc"}  # tests/test_detection.py, tests/test_embedding.py
    assert {path.stem for path in (objects.CONF / "metrics").glob("*.yaml")} == {"none", *elsewhere, *REFERENCES}


@pytest.mark.parametrize("name", REFERENCES)
def test_the_figure_is_the_references(name: str) -> None:
    form, figure = REFERENCES[name]
    task, z, target = answered(form)
    metrics = chosen(name, form, task)
    for a_pass in range(2):  # it starts afresh
        for some_z, some_y in zip(z.split(33), target.split(33), strict=True):
            metrics.update(some_z, some_y)
        a, y = (part.numpy().squeeze() for part in (read_as(form)(z), target))
        assert float(metrics.compute()[name]) == pytest.approx(figure(a, y), abs=1e-6), a_pass


def test_a_number_a_class_is_logged_with_the_mean() -> None:
    """As [0.5, 1] for two classes gives f1 = 0.75, f1/1 = 0.5, f1/2 = 1."""
    task, z, target = answered("multiclass")
    metrics = chosen("f1", "multiclass", task)
    metrics.metrics["f1"] = instantiate(
        {"_target_": "torchmetrics.F1Score", "task": "multiclass", "num_classes": 5, "average": "none"}
    )
    metrics.update(z, target)
    found = metrics.compute()
    each = reference.f1_score(target.numpy(), z.argmax(1).numpy(), average=None)
    assert [float(found[f"f1/{k}"]) for k in range(1, 6)] == pytest.approx(each.tolist())
    assert float(found["f1"]) == pytest.approx(each.mean())


class Constant:
    def update(self, preds: Tensor, target: Tensor) -> None: ...

    def to(self, device: torch.device) -> "Constant":
        return self

    def compute(self) -> Tensor:
        return torch.tensor(float("nan"))

    def reset(self) -> None: ...


def test_what_is_not_finite_is_said_and_not_logged_unless_it_is_monitored() -> None:
    metrics = ChosenMetrics({"odd": Constant()}, None, lambda z: z)
    with pytest.warns(UserWarning, match="metrics.odd is nan: it is not logged"):
        assert metrics.compute() == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(metrics.compute(needed="odd")) == ["odd"]


def one_of_two(rank: int, folder: str) -> None:
    """The first process has 150 rows and then none; the second has 50, its first batch is empty."""
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    found = {}
    for name in ("f1", "auroc", "spearman"):
        form, _ = REFERENCES[name]
        task, z, target = answered(form)
        metrics = chosen(name, form, task)
        mine = [(z[:150], target[:150]), (z[:0], target[:0])], [(z[:0], target[:0]), (z[150:], target[150:])]
        for part in mine[rank]:
            metrics.update(*part)
        found |= metrics.compute()
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_on_two_processes_it_is_the_figure_of_all_rows(tmp_path: Path) -> None:
    multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert one == two
    for name, value in one.items():
        form, figure = REFERENCES[name]
        _, z, target = answered(form)
        assert float(value) == pytest.approx(
            figure(read_as(form)(z).numpy().squeeze(), target.numpy().squeeze()), abs=1e-6
        )


def test_a_run_monitors_it_and_stops_early_by_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["metrics=[f1,auroc]", "monitor=val/f1", "mode=max", "callbacks=early_stopping", "optimizer.lr=0.01"]
    words += [
        "callbacks.early_stopping.patience=1",
        "trainer.max_epochs=30",
        "scheduler=plateau",
        f"run_dir={tmp_path / 'run'}",
    ]
    done = run(*words)
    judged = [row["val/f1"] for row in done.history if "val/f1" in row]
    assert done.metrics["epochs"] < 30, "it stopped early"
    assert done.metrics["best_epoch"] == int(np.argmax(judged)) and done.metrics["val/f1"] == max(judged)
    z = torch.cat([done.model(part.x) for part in [done.data.sets["test"].first(10_000)]])
    y = done.data.sets["test"].y.numpy()
    assert done.metrics["test/f1"] == pytest.approx(
        reference.f1_score(y, z.argmax(1).numpy(), average="macro"), abs=1e-6
    )
    page = (tmp_path / "run" / "report.html").read_text()
    assert "f1 over the steps of training" in page and "auroc over the steps of training" in page
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test/auroc"] > 0.9
    capsys.readouterr()
    assert list_runs([f"paths.runs_dir={tmp_path}", "format=csv"]) == 0
    (listed,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert listed["status"] == "finished" and float(listed["test/f1"]) == done.metrics["test/f1"]
    with pytest.raises(Refused, match="there is no such folder"):
        list_runs(["paths.runs_dir=nowhere"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["metrics=f2"], "no metrics=f2; did you mean f1?"),
        (["metrics=[f1,f2]"], "no metrics=f2; did you mean f1?"),
        (
            ["metrics=f1", "data=diabetes"],
            "metrics=f1 compares binary, multiclass, multilabel; task=regression has values",
        ),
        (["metrics=f1", "monitor=train/f1", "mode=max"], "monitor=train/f1: this run does not log it"),
        (["metrics=f1", "monitor=test/f1", "mode=max"], "a test set selects nothing"),
        (["metrics=f1", "monitor=val/f1"], "mode=min: higher val/f1 is better; set mode=max"),
        (["metrics=f1", "metrics.f1.mode=up"], "metrics.f1.mode=up: expected min or max"),
        (["+metrics.acc._target_=torchmetrics.Accuracy"], "the task logs acc itself"),
        (["+metrics.mine._target_=os.system"], "metrics.mine._target_=os.system may not run"),
        (["+metrics.mine._target_=torchmetrics.MeanMetric", "monitor=val/mine"], "+metrics.mine.mode=max"),
        (["metrics=f1", "sweep.metric=val/f1", "sweep.mode=min"], "sweep.mode=min: higher val/f1 is better"),
        (["model=[mlp,cnn]"], "model takes one choice, not a list"),
    ],
)
def test_refused_before_anything_is_imported(words: list[str], said: str) -> None:
    with pytest.raises(Refused) as refusal:
        checked(words)
    assert refusal.value.code == 2 and said in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["metrics=f1", "+metrics.f1.avrage=micro"], "metrics.f1: Unexpected keyword arguments: `avrage`"),
        (["metrics=top_k", "metrics.top_k.top_k=11"], "metrics.top_k: Expected argument `top_k` to be smaller"),
        (["+metrics.mine._target_=torchmetrics.KLDivergence"], "metrics.mine: Predictions and targets"),
    ],
)
def test_refused_before_the_first_step(words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        run(*words, *SHORT, f"run_dir={tmp_path / 'run'}")
    assert refusal.value.code == 2 and said in str(refusal.value)
    assert not [row for row in (tmp_path / "run").glob("metrics.jsonl") if row.read_text()]


@pytest.mark.parametrize(("data", "loss"), [("digits", "hinge"), ("digits", "perceptron"), ("moons", "hinge")])
def test_a_loss_without_probabilities_is_judged_by_its_scores(data: str, loss: str, tmp_path: Path) -> None:
    """Not by the threshold's zeros and ones: classes are those of test/acc, areas those of z."""
    words = [f"data={data}", f"loss={loss}", "metrics=[f1,auroc]", "trainer.max_epochs=1", "optimizer=sgd"]
    done = run(*words, "report=false", f"run_dir={tmp_path / 'run'}")
    test = done.data.sets["test"]
    with torch.no_grad():
        z = done.model.eval()(test.x).double()
    y = test.y.numpy()
    if data == "moons":
        f1 = reference.f1_score(y, z[:, 0].numpy() > 0)
        auroc = reference.roc_auc_score(y, z[:, 0].numpy())
    else:
        f1 = reference.f1_score(y, z.argmax(1).numpy(), average="macro")
        auroc = reference.roc_auc_score(y, z.softmax(1).numpy(), average="macro", multi_class="ovr")
    assert 0.5 < auroc < 0.9999
    assert done.metrics["test/f1"] == pytest.approx(f1, abs=1e-6)
    assert done.metrics["test/auroc"] == pytest.approx(auroc, abs=1e-6)


def test_loggers_and_metrics_take_several_choices() -> None:
    composed = checked(["logger=[csv,tensorboard]", "metrics=[recall,f1]"])
    assert {"csv", "tensorboard"} <= set(composed.tree["logger"]) and set(composed.tree["metrics"]) == {"recall", "f1"}
    assert composed.choices["logger"] == "csv,tensorboard" and composed.choices["metrics"] == "f1,recall"


def test_trials_that_train_together_have_none() -> None:
    from dlcourse.sweeps.compatibility import check

    with pytest.raises(Refused, match="metrics=f1 is not vectorised"):
        check([checked(["metrics=f1", "callbacks=none"])])
