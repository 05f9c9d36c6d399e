"""Every file of conf/ composes, and every choice whose hardware and data are here trains a batch."""

import importlib.util
import os
from functools import cache
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from PIL import Image

import dlcourse
from dlcourse.config.compose import Composed
from dlcourse.config.gate import shipped_targets, targets
from dlcourse.config.groups import CONF, groups
from tests.composing import checked

CHOICES = [f"{path.parent.relative_to(CONF)}={path.stem}" for path in sorted(CONF.rglob("*/*.yaml"))]
#: What may have to be left out, and why; what is left out here is asserted below.
NEEDS = {
    "trainer=gpu": "no gpu here",
    "trainer=mps": "no mps here",
    "trainer=ddp": "several processes",
    "sweep=digits_grid": "a sweep, not a run",
    "sweep=digits_random": "a sweep, not a run",
    "sweep=digits_cmaes": "a sweep, not a run",
    "sweep=mnist_tpe": "a sweep, not a run",
    "logger=tensorboard": "pip install -e '.[tensorboard]'",
    "data=mnist": "no MNIST/raw in the data directory",
    "data=fashion_mnist": "no FashionMNIST/raw in the data directory",
    "data=cifar10": "no cifar10 in the data directory",
    "data=faces": "no ORL in the data directory",
    "data=huggingface": "pip install -e '.[huggingface]'",
    "experiment=17_lenet5": "no MNIST/raw in the data directory",
    **dict.fromkeys(
        ("data=scenes", "data=scene_masks", "task=segmentation", "task=detection", "model=unet", "model=detector"),
        "no MNIST/raw in the data directory",
    ),
    "loss=centres": "no MNIST/raw in the data directory",
    "metrics=map": "pip install -e '.[detection]'",
}
NEEDS |= {
    f"experiment={path.stem}": "a sweep, not a run"
    for path in (CONF / "experiment").glob("*.yaml")
    if "sweeper:" in path.read_text()
}
FEW = ["data.n_samples=100", "data.n_test_samples=20"]  # scenes
#: The groups whose choices a report draws in a way of their own.
DRAWN = ("data", "task", "model", "callbacks", "debug")
#: What is trained by model=unet and model=detector, or in tests/test_detection.py.
SAME_RUN = (
    *("data=scenes", "data=scene_masks", "task=segmentation", "task=detection"),
    *("loss=centres", "metrics=map"),
)
#: The groups whose choices say how many runs are run: one run is the same with each.
OF_A_SWEEP = ("sampler", "pruner", "hydra/launcher")
ONE_BATCH = ["trainer.max_epochs=1", *(f"trainer.limit_{stage}_batches=1" for stage in ("train", "val", "test"))]


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> dict[str, list[str]]:
    """A table and a folder of pictures of one's own, as the words that name them."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    rows = [f"{x:.3f},{'north' if x > 0 else 'south'},{k % 3}" for k, x in enumerate(rng.normal(size=60))]
    (folder / "table.csv").write_text("\n".join(["x,side,kind", *rows]))
    for name in ("circle", "square"):
        (folder / "pictures" / name).mkdir(parents=True)
        for k in range(12):
            Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8)).save(
                folder / "pictures" / name / f"{k}.png"
            )
    with duckdb.connect() as connection:  # as datasets would write them
        files = f"read_blob('{folder}/pictures/*/*.png')"
        row = "{'bytes': content, 'path': null::varchar} as image, parse_path(filename)[-2] as shape"
        connection.execute(f"copy (select {row} from {files}) to '{folder}/pictures.parquet'")
    pictures = ["data=image_folder", f"data.path={folder / 'pictures'}"]
    return {
        "data=table": [f"data.path={folder / 'table.csv'}", "data.target=kind"],
        "data=csv": [f"data.path={folder / 'table.csv'}", "data.target=kind"],
        "data=image_folder": pictures[1:],
        "data=huggingface": [f"data.path={folder / 'pictures.parquet'}", "data.target=shape"],
        "model=lenet5": [*pictures, "data.size=28"],
        "model=alexnet": [*pictures, "data.size=32"],
        "activation=own": ["activation._target_=torch.nn.Mish"],
        "init=own": ["init._target_=torch.nn.Identity"],
        "loss=own": ["loss._target_=dlcourse.losses.MAE", "+loss.output=identity"],
        "optimizer=own": ["optimizer._target_=torch.optim.NAdam"],
        "scheduler=own": ["scheduler._target_=torch.optim.lr_scheduler.ExponentialLR", "+scheduler.gamma=0.9"],
        "model=own": ["model._target_=dlcourse.models.mlp.MLP", "+model.hidden=[8]", "+model.activation=${activation}"],
        "data=own": [
            "data._target_=dlcourse.data.tabular.Wine",
            "+data.features=13",
            "data.shape=[13]",
            "data.outputs=3",
        ],
        "task=own": ["task._target_=dlcourse.tasks.supervised.Regression", "data=sine"],
        **{f"metrics={name}": ["data=sine"] for name in ("mape", "rmse", "spearman")},
        "metrics=psnr": ["model=autoencoder"],
        **dict.fromkeys(("data=scenes", "task=detection"), ["data=scenes", "model=detector", *FEW]),
        **dict.fromkeys(("data=scene_masks", "task=segmentation"), ["data=scene_masks", "model=unet", *FEW]),
        **{choice: ["data=scenes", "model=detector", *FEW] for choice in ("loss=centres", "metrics=map")},
        "model=unet": ["data=scene_masks", *FEW],
        "model=detector": ["data=scenes", *FEW],
        "metrics=pair_auc": ["task=embedding"],
        "data=moving_digits": ["data.films=100"],
        "data=topics": ["data.n_samples=100"],
        "task=multilabel": ["data.n_samples=100"],
    }


def words(choice: str, own: dict[str, list[str]]) -> list[str]:
    """The choice, with what it cannot do without; on a small table where pictures do not matter."""
    group, name = choice.split("=")
    fitting = {"task=binary": ["data=moons"], "task=multilabel": ["data=topics"], "task=regression": ["data=sine"]}
    coded = ("loss=supervised_contrastive", "loss=arcface")
    fitting |= dict.fromkeys(coded, ["task=embedding"])
    small = fitting.get(choice, []) + (
        ["data=iris"]
        if group in ("activation", "callbacks", "init", "loss", "optimizer", "scheduler") and choice != "loss=centres"
        else []
    )
    return [f"data.augment={name}" if group == "augment" else choice, *small, *own.get(choice, [])]


def missing(composed: Composed) -> str | None:
    """Why a configuration cannot train here, judged by what it says, not by its name."""
    cfg = composed.cfg
    there = {"gpu": torch.cuda, "mps": torch.backends.mps}.get(cfg.trainer.accelerator)
    if there is not None and not there.is_available():
        return f"no {cfg.trainer.accelerator} here"
    if cfg.trainer.strategy != "auto":
        return "several processes"
    if composed.multirun:
        return "a sweep, not a run"
    named = {target for _, target, _ in targets(composed.tree["logger"])}
    if "map" in cfg.metrics and importlib.util.find_spec("pycocotools") is None:
        return "pip install -e '.[detection]'"
    if any("TensorBoard" in name for name in named) and importlib.util.find_spec("tensorboard") is None:
        return "pip install -e '.[tensorboard]'"
    if "data_dir" in cfg.data:
        folder = getattr(get_class(cfg.data._target_), "folder", cfg.data.name)
        if not (Path(cfg.data.data_dir) / folder).is_dir():
            return f"no {folder} in the data directory"
    return None


@cache
def needed(choice: str) -> str | None:
    """What a choice cannot train without and this machine does not have: hardware, an extra, a download."""
    data_dir = Path(os.environ.get("DLCOURSE_DATA_DIR", CONF.parent / "data"))
    here = {
        "trainer=gpu": torch.cuda.is_available(),
        "trainer=mps": torch.backends.mps.is_available(),
        "logger=tensorboard": importlib.util.find_spec("tensorboard") is not None,
        "data=mnist": (data_dir / "MNIST" / "raw").is_dir(),
        "data=fashion_mnist": (data_dir / "FashionMNIST" / "raw").is_dir(),
        "data=cifar10": (data_dir / "cifar10").is_dir(),
        "data=huggingface": importlib.util.find_spec("pyarrow") is not None,
        "metrics=map": importlib.util.find_spec("pycocotools") is not None and (data_dir / "MNIST" / "raw").is_dir(),
        "data=faces": (data_dir / "ORL").is_dir(),
    }
    here |= {
        choice: (data_dir / "MNIST" / "raw").is_dir()
        for choice, reason in NEEDS.items()
        if reason == "no MNIST/raw in the data directory"
    }
    return None if here.get(choice, False) else NEEDS.get(choice)


def test_every_file_is_found():
    """All below conf/ is a choice of a group, beside the root and what several files share; groups have defaults."""
    files = set(CONF.rglob("*/*.yaml"))
    assert {path.stem for path in CONF.glob("*.yaml")} == {"config", "parts", "batches", "gate", "nielsen"}
    assert len(CHOICES) == len(files) > 80 and not [choice for choice in CHOICES if choice.startswith("hydra=")]
    assert [f"{group}={name}" for group, names in groups().items() for name in names] == CHOICES
    defaults = [entry for entry in OmegaConf.load(CONF / "config.yaml").defaults if not isinstance(entry, str)]
    chosen = {str(key): str(value) for entry in defaults for key, value in entry.items() if "override" not in str(key)}
    known = {name for name in groups() if not name.startswith("hydra/")}
    assert set(chosen) == known - {"augment"}, "augment is named by data.augment"
    assert all(value in groups()[key] for key, value in chosen.items())


@pytest.mark.parametrize("choice", CHOICES)
def test_every_file_says_what_it_is(choice):
    group, name = choice.split("=")
    lines = (CONF / group / f"{name}.yaml").read_text("utf-8").splitlines()
    first = next(line for line in lines if not line.startswith("# @package"))
    assert first.startswith("# ") and len(first) > 10


@cache
def plain() -> dict:
    """The tree of a run for which nothing is chosen."""
    return checked([]).tree


def assert_chosen(choice, cfg, choices):
    """The configuration has the choice, and no target but the shipped ones."""
    group, name = choice.split("=")
    tree = OmegaConf.to_container(cfg, resolve=False)
    assert name == "own" or {target for _, target, _ in targets(tree)} <= shipped_targets()
    if group == "augment":
        assert cfg.data.augment == (OmegaConf.load(CONF / group / f"{name}.yaml") or None)
    elif not group.startswith("hydra/"):  # how many runs are run is no choice of a run
        assert choices[group] == name


def trained(choice: str) -> bool:
    return not needed(choice) and choice.split("=")[0] not in OF_A_SWEEP and choice not in SAME_RUN


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if not trained(choice)])
def test_what_cannot_train_here_composes(choice, own):
    if choice == "data=huggingface":
        pytest.skip(needed(choice))  # without what reads it, its classes are not known
    composed = checked(words(choice, own))
    assert_chosen(choice, composed.cfg, composed.choices)
    assert missing(composed) == needed(choice)
    if choice.split("=")[0] in OF_A_SWEEP:
        assert composed.tree == plain()


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if trained(choice)])
def test_every_other_choice_trains_a_batch(choice, own, runs):
    drawn = choice.split("=")[0] in DRAWN
    quiet = [] if drawn else ["report=false"]
    result = dlcourse.run(*words(choice, own), *ONE_BATCH, *quiet, f"paths.runs_dir={runs}")
    assert result.metrics["steps"] == 1 and result.metrics["epochs"] == 1
    assert all(np.isfinite(value) for value in result.metrics.values() if not isinstance(value, str))
    assert "test/loss" in result.metrics and (result.run_dir / "report.html").is_file() == drawn
    stored = OmegaConf.load(result.run_dir / "config.yaml")
    assert_chosen(choice, stored, stored.choice)
    assert {f"test/{name}" for name in stored.task.metrics} <= set(result.metrics)
    assert {row["step"] for row in result.history} <= {0, 1}
    left = {path.name for path in result.run_dir.iterdir()}
    assert ("wandb" in left) == (choice == "logger=wandb")
    assert ("metrics.csv" in left) == (choice == "logger=csv")
