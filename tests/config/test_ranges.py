"""Which numbers each key takes."""

import pytest
from omegaconf import OmegaConf

from dlcourse.config.groups import CONF
from dlcourse.config.ranges import RANGES
from dlcourse.config.rules import check_rules
from dlcourse.errors import CONFIG, Refused
from tests.composing import checked, composed
from tests.refusing import refusal


@pytest.mark.parametrize("value", ["0", "-1", "null", "abc", "[1]", "nan"])
def test_what_no_input_is_divided_by(value):
    assert "data.standardise" in refusal(checked, [f"data.standardise={value}"])
    for value in (256, "centre"):
        assert checked([f"data.standardise={value}"]).cfg.data.standardise == value


NO_NUMBER = [True, False, "abc", "", float("nan"), float("inf"), -float("inf"), {"a": 1}]
RATE = ([1e-9, 1, 1e30], [0, -1, None, [0.1], []])
SHARES = ([0, 0.5, 0.999], [1, 1.5, -0.1, None, [0.5]])
WHOLE = ([1, 3, 1000], [0, -1, 1.5, None])
SEED = ([0, 1, 2**32 - 1], [-1, 0.5, 2**32, None, [1]])
WIDTHS = ([[8], [8, 16], [1]], [[0], [8, -1], [8, 1.5], [True], ["abc"], [[8]], [None], None])
BATCHES = ([0.1, 1.0, 2, 100], [0, -1, None, [1]])
TABLE = {  # key: the words it needs, good values, bad values
    "seed": ("", *SEED),
    "data.batch_size": ("", [1, 64, "full"], [0, -1, 1.5, "all", None, [8]]),
    "data.num_workers": ("", [0, 2], [-1, 65, 0.5, None]),
    "data.split_seed": ("", [*SEED[0], None], [bad for bad in SEED[1] if bad is not None]),
    "data.val_fraction": ("", [0.1, 0.9], [0, 1, -0.1, 2, None]),
    "data.train_samples": ("", [1, 2000, None], [0, -1, 1.5]),
    "data.folds": ("", [2, 10, None], [1, 0, -1, 2.5, [5]]),
    "model.hidden": ("", *WIDTHS),
    "model.code": ("model=autoencoder", *WHOLE),
    "model.classes": ("model=vae", [0, 10], [-1, 0.5, None, [10]]),
    "model.width": ("model=latent_diffusion", *WHOLE),
    "model.depth": ("model=latent_diffusion", *WHOLE),
    "model.steps": ("model=latent_diffusion", *WHOLE),
    "model.factor": ("model=upscaler", *WHOLE),
    "task.factor": ("task=super_resolution", *WHOLE),
    "data.films": ("data=moving_digits", *WHOLE),
    "model.size": ("model=torchvision", [32, 224, None], [0, -1, 1.5]),
    "metrics.calibration_error.n_bins": ("metrics=calibration_error", *WHOLE),
    "metrics.psnr.data_range": ("metrics=psnr model=autoencoder", [0.5, 1, 255], [0, -1, None]),
    "metrics.top_k.top_k": ("metrics=top_k", *WHOLE),
    "model.channels": ("model=cnn", *WIDTHS),
    "model.kernel": ("model=cnn", *WHOLE),
    "model.stride": ("model=cnn", *WHOLE),
    "model.padding": ("model=cnn", [0, 2, None], [-1, 0.5, [1]]),
    "model.pool": ("model=cnn", *WHOLE),
    "model.pool_stride": ("model=cnn", [1, 2, None], [0, -1, 1.5, [2]]),
    "model.blocks": ("model=resnet", *WHOLE),
    "model.epochs_per_layer": ("model=greedy_mlp", [0, 3], [-1, 0.5, None, [1]]),
    "model.masked": ("model=greedy_mlp", *SHARES),
    "data.labelled": ("", [1, 100, None], [0, -1, 0.5, [1]]),
    "model.dropout": ("", *SHARES),
    "optimizer.lr": ("", *RATE),
    "optimizer.adamw_lr": ("optimizer=muon", *RATE),
    "optimizer.momentum": ("optimizer=momentum", *SHARES),
    "optimizer.weight_decay": ("", [0, 0.1], [-0.1, None, [0.1]]),
    "optimizer.eps": ("", *RATE),
    "optimizer.betas": (
        "",
        [[0.9, 0.999], [0, 0.5]],
        [[0.9, 1], [-0.1, 0.9], [None, 0.9], ["abc", 0.9], None, 0.9, [0.9], [0.9, 0.9, 0.9]],
    ),
    "optimizer.rho": ("optimizer=adadelta", *SHARES),
    "optimizer.alpha": ("optimizer=rmsprop", *SHARES),
    "loss.label_smoothing": ("", *SHARES),
    "loss.delta": ("data=sine loss=huber", *RATE),
    "loss.class_weights": (
        "",
        [None, "balanced", [1, 2.5]],
        [[-1], [0, 1], [True], ["abc"], [float("nan")], "balance"],
    ),
    "loss.pos_weight": ("data=moons", [None, "balanced", 3, [1, 2.5]], [0, -1, True, "balance", [0], [float("inf")]]),
    "sweep.workers": ("", *WHOLE),
    "sweep.n_trials": ("", *WHOLE),
    "trainer.max_epochs": ("", [1, 30, -1, None], [0, -2, 1.5, [1]]),
    "trainer.max_steps": ("", [1, -1], [0, -2, 1.5, None]),
    "trainer.num_nodes": ("", *WHOLE),
    "trainer.accumulate_grad_batches": ("", *WHOLE),
    "data.white": ("", [1, 255, 0.5, None], [0, -1, "x", True]),
    "trainer.gradient_clip_val": ("", [0.5, None], [0, -1, [1]]),
    "trainer.limit_train_batches": ("", *BATCHES),
    "trainer.limit_val_batches": ("", *BATCHES),
    "trainer.limit_test_batches": ("", *BATCHES),
    "trainer.val_check_interval": ("", [0.5, 1.0, 10], [0, -1, [1]]),
    "trainer.check_val_every_n_epoch": ("", *WHOLE[:1], [0, -1, 1.5]),
    "trainer.log_every_n_steps": ("", *WHOLE[:1], [0, -1, 1.5]),
}
ANY = ([-1, 0, 0.5, 3], [None, [1]])
FROM_ZERO = ([0, 0.5, 1e9], [-0.1, None, [1]])
NATURAL = ([0, 1, 7], [-1, 0.5, None, [1]])
UNIT = ([0, 0.5, 1], [-0.1, 1.1, None, [0.5]])
SCENES = "data=scenes model=detector"
TABLE |= {
    "data.n_samples": ("data=moons", [2, 1000], [1, 0, -1, 2.5, None]),
    "model.beta": ("model=vae", [0, 4.0], [-1, "x"]),
    "task.turns": ("task=embedding", [1, 2, 4], [0, 5, 1.5, None]),
    "task.flips": ("task=embedding", [1, 2], [0, 3, 1.5, None]),
    "loss.temperature": ("task=embedding", *RATE),
    "loss.scale": ("task=embedding loss=arcface", *RATE),
    "loss.margin": ("task=embedding loss=arcface", [0, 0.5, 3], [-0.1, 3.2, None]),
    "data.fold": ("data=faces", [0, 4], [-1, 0.5, None]),
    "task.noise": ("model=autoencoder task=denoising", [0, 0.5], [-1, "x"]),
    "data.n_test_samples": (SCENES, [2, 1000], [1, 0, -1, 2.5, None]),
    "data.most": (SCENES, *WHOLE),
    "model.units": (SCENES, *WHOLE),
    "task.stride": (SCENES, *WHOLE),
    "task.most": (SCENES, *WHOLE),
    "task.threshold": (SCENES, *UNIT),
    "loss.alpha": (SCENES, *FROM_ZERO),
    "loss.beta": (SCENES, *FROM_ZERO),
    "loss.size_weight": (SCENES, *FROM_ZERO),
    "loss.prior": (SCENES, [0.01, 0.5], [0, 1, None, [0.5]]),
    "metrics.map.iou": (f"{SCENES} metrics=map", [0.5, 1], [0, 1.5, None]),
    "data.noise": ("data=moons", *FROM_ZERO),
    "data.std": ("data=blobs", *RATE),
    "data.turns": ("data=spirals", *RATE),
    "data.size": ("data=image_folder data.y=classes", *WHOLE),
    "data.features": ("data=iris", *WHOLE),
    "data.augment.pixels": ("data.augment=shift", *NATURAL),
    "data.augment.padding": ("data.augment=flip_crop", *NATURAL),
    "data.augment.degrees": ("data.augment=affine", [0, 10, 180], [-1, 181, None]),
    "data.augment.translate": ("data.augment=affine", *UNIT),
    "data.augment.scale": ("data.augment=affine", *SHARES),
    "activation.negative_slope": ("activation=leaky_relu", *ANY),
    "activation.alpha": ("activation=elu", *ANY),
    "activation.init": ("activation=prelu", *ANY),
    "activation.num_parameters": ("activation=prelu", *WHOLE),
    "init.std": ("init=gaussian", *RATE),
    "init.gain": ("init=xavier", *RATE),
    "init.a": ("init=he", *ANY),
    "data.factor": ("data=circles", [0, 0.5], [1, -0.1, None]),
    "optimizer.dampening": ("optimizer=sgd", *UNIT),
    "optimizer.lr_decay": ("optimizer=adagrad", *FROM_ZERO),
    "optimizer.initial_accumulator_value": ("optimizer=adagrad", *FROM_ZERO),
    "optimizer.ns_steps": ("optimizer=muon", *WHOLE),
    "optimizer.max_iter": ("optimizer=lbfgs", *WHOLE),
    "optimizer.history_size": ("optimizer=lbfgs", *WHOLE),
    "optimizer.tolerance_grad": ("optimizer=lbfgs", *FROM_ZERO),
    "optimizer.tolerance_change": ("optimizer=lbfgs", *FROM_ZERO),
    "scheduler.step_size": ("scheduler=step", *WHOLE),
    "scheduler.gamma": ("scheduler=step", *RATE),
    "scheduler.factor": ("scheduler=plateau", [0.1, 1], [0, 1.5, None]),
    "scheduler.total_iters": ("scheduler=constant", *NATURAL),
    "scheduler.patience": ("scheduler=plateau", *NATURAL),
    "scheduler.cooldown": ("scheduler=plateau", *NATURAL),
    "scheduler.threshold": ("scheduler=plateau", *FROM_ZERO),
    "scheduler.min_lr": ("scheduler=plateau", *FROM_ZERO),
    "scheduler.warmup": ("scheduler=one_cycle", *UNIT),
    "scheduler.start": ("scheduler=one_cycle", *UNIT),
    "scheduler.final": ("scheduler=one_cycle", *UNIT),
    "callbacks.progress.seconds": ("", *FROM_ZERO),
    "callbacks.diagnostics.rows": ("callbacks=diagnostics", *WHOLE),
    "callbacks.boundary.grid": ("callbacks=pictures", [2, 60], [1, 1001, 2.5, None]),
    "callbacks.landscape.points": ("callbacks=pictures", [3, 25], [2, 1001, 3.5, None]),
    "callbacks.landscape.reach": ("callbacks=pictures", *RATE),
    "callbacks.landscape.rows": ("callbacks=pictures", *WHOLE),
    "callbacks.summary.max_depth": ("", [-1, 0, 2], [-2, 0.5, None]),
    "callbacks.early_stopping.patience": ("callbacks=early_stopping", *WHOLE),
    "callbacks.early_stopping.stopping_threshold": ("callbacks=early_stopping", [0.75, -1, None], ["x", True, [1]]),
    "callbacks.early_stopping.min_delta": ("callbacks=early_stopping", *FROM_ZERO),
}
#: Numbers of conf/ that are facts of the data, a place in a shape, or said in words elsewhere.
NO_CHOICE = {
    *("task.outputs", "task.class_count"),
    "data.outputs",
    "data.b",
    "activation.dim",
    "data.channels",
    "optimizer_batch",
    "trainer.devices",
}
NO_CHOICE |= {"trainer.num_sanity_val_steps", "data.standardise", "data.max_categories"}
NEEDS = {**{key: words for key, (words, *_) in TABLE.items()}, "checkpoint.every": ""}


def admitted(key: str, values: list) -> list:
    """Those of the values that the gate takes for the key; a refusal names it."""
    words, cfg = composed(NEEDS[key]), composed(NEEDS[key]).cfg.copy()
    assert OmegaConf.select(cfg, key, default=TABLE) is not TABLE, f"{key} is no key"
    taken = []
    for value in values:
        OmegaConf.update(cfg, key, value, merge=False)
        try:
            check_rules(cfg, words.choices)
            taken.append(value)
        except Refused as refused:
            assert str(refused).startswith(key) and refused.code == CONFIG
    return taken


def test_the_table_of_ranges_is_whole():
    """That each is a key of conf/ is asserted by ``admitted``."""
    assert set(TABLE) == set(RANGES)


def test_every_number_of_conf_has_its_range():
    """Found on the disk: a new YAML whose number has no row fails here."""

    def numbers(tree, path):
        if isinstance(tree, dict):
            for key, value in tree.items():
                yield from numbers(value, f"{path}.{key}" if path else key)
        elif isinstance(tree, int | float) and not isinstance(tree, bool):
            yield path

    found = set()
    for path in [*CONF.rglob("*/*.yaml"), CONF / "gate.yaml", CONF / "nielsen.yaml"]:
        group, text = path.parent.relative_to(CONF).as_posix(), path.read_text()
        if "@package hydra." in text or group.startswith("hydra/"):  # theirs: they refuse what they cannot use
            continue
        tree = OmegaConf.to_container(OmegaConf.load(path), resolve=False) or {}
        home = {"augment": "data.augment"}.get(group, group)
        found |= set(numbers(tree, "" if "@package _global_" in text else home))
    assert found - NO_CHOICE - set(RANGES) == set()


@pytest.mark.parametrize("key", TABLE)
def test_good_numbers_are_admitted_and_bad_ones_refused_by_name(key):
    _, good, bad = TABLE[key]
    assert admitted(key, good) == good
    assert admitted(key, [*bad, *NO_NUMBER]) == []


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "true", "abc", "-inf", "null", "1_0a", "[0.1]"])
def test_a_learning_rate_on_the_command_line(value):
    assert "optimizer.lr" in refusal(checked, [f"optimizer.lr={value}"])


def test_learning_rates_that_may_diverge_are_admitted():
    assert checked(["optimizer.lr=1e30"]).cfg.optimizer.lr == 1e30
    assert checked(["optimizer.lr=1e-3"]).cfg.optimizer.lr == 1e-3


def test_when_checkpoints_are_written():
    good = ["30s", "10m", "1.5h", "500steps", None]
    assert admitted("checkpoint.every", good) == good
    bad = ["3", 3, "30", "s", "-3s", "3 s", "1.5steps", "0steps", "0s", "", "1d", True]
    assert admitted("checkpoint.every", bad) == []
