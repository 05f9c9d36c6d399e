"""Checks of a composed configuration before torch is imported: ranges, task and data, loss and task, monitors."""

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcourse.config.claims import Expectation
from dlcourse.config.groups import groups, has_target, load
from dlcourse.config.ranges import POSITIVE, RANGES, check_range
from dlcourse.errors import Refused

INTERVAL = re.compile(r"([1-9]\d*steps)|((?=.*[1-9])\d+(\.\d+)?[smh])")
DURATION = re.compile(r"\d+:\d\d:\d\d:\d\d|None")
#: What a sweep may minimise besides metrics: the cost of a run.
COSTS = ("seconds", "steps", "epochs")
#: Keys of conf/metrics/*.yaml that are no constructor arguments: the better direction, the predictions it takes.
METRIC_KEYS = ("mode", "takes")
#: Kinds of y whose values are numbers of classes, and those that are places in a picture.
OF_CLASSES, PLACED = ("classes", "masks", "boxes"), ("masks", "boxes")
COUNTED = ("class_numbers", "bits")  # forms of targets whose classes have rows to count


def check_rules(cfg: DictConfig, choices: dict[str, str]) -> None:
    """Refuse numbers out of range, nodes of the wrong type, and a task, loss or monitor that does not fit the rest.

    Raises Refused (2) with the key and the way out.
    """
    _check_structure(cfg)
    for key, allowed in RANGES.items():
        value = OmegaConf.select(cfg, key, default=allowed)
        if value is not allowed:
            check_range(key, value, allowed)
    standard = cfg.data.get("standardise", True)
    if not isinstance(standard, bool) and standard != "centre" and not POSITIVE.contains(standard):
        raise Refused(f"data.standardise={standard}: expected true, false, centre, or a number above 0 to divide by")
    _check_task(cfg, choices)
    logged = _logged_metrics(cfg, choices)
    if cfg.model.get("norm") == "batch" and cfg.data.batch_size == 1:
        raise Refused("model.norm=batch needs more than one sample a batch; set model.norm=null, or data.batch_size")
    if cfg.get("optimizer_batch") == "full" and cfg.data.batch_size != "full":
        raise Refused(f"optimizer={choices['optimizer']} takes the full batch; leave data.batch_size out")
    _check_monitor("", cfg.monitor, cfg.mode, logged)
    _check_sweep(cfg.sweep, logged, cfg.monitor)
    for name, node in cfg.callbacks.items():
        if node is not None and "monitor" in node:
            _check_monitor(f"callbacks.{name}.", node.monitor, node.get("mode", "min"), logged)
    if "mode" in cfg.scheduler:
        _check_monitor("scheduler.", cfg.monitor, cfg.scheduler.mode, logged)
    if not DURATION.fullmatch(str(cfg.trainer.max_time)):
        raise Refused(f"trainer.max_time={cfg.trainer.max_time}: expected days:hours:minutes:seconds, as 00:01:30:00")
    every = cfg.checkpoint.every
    if every is not None and not INTERVAL.fullmatch(str(every)):
        raise Refused(f"checkpoint.every={every}: expected a time or a number of steps, as 30s, 10m or 500steps")


def _check_structure(cfg: DictConfig) -> None:
    """Refuse a group or a part of the model that is not a mapping, or has no target where it needs one."""
    for key in ("callbacks", "logger", "metrics", "checkpoint", "paths", "debug", "task.metrics"):
        if not OmegaConf.is_dict(node := OmegaConf.select(cfg, key)):
            raise Refused(f"{key}={node}: expected a mapping; its keys are set one by one")
    of_one_choice = ("task", "data", "loss", "optimizer", "scheduler", "init", "activation", "model", "trainer")
    of_the_model = [f"model.{name}" for name in ("loss", "optimizer", "scheduler", "init")]
    of_several = [f"{group}.{name}" for group in ("callbacks", "metrics") for name in cfg[group]]
    for key in (*of_one_choice, *of_the_model, *of_several):
        node = OmegaConf.select(cfg, key)
        if not has_target(node) and not (node is None and key.startswith("callbacks.")):
            raise Refused(f"{key}={node}: expected one of its choices, or a mapping with a _target_")
    lists = ("tags", "lecture", "expect", "loss.target_forms", "task.takes", "resume_changed", "init_from_skip")
    for key in (*lists, *(f"metrics.{name}.takes" for name in cfg.metrics)):
        value = OmegaConf.select(cfg, key, default=[])
        if not OmegaConf.is_list(value) and value != []:
            raise Refused(f"{key}={value}: expected a list, as [{'' if value is None else value}]")
    for expected in cfg.get("expect", []):
        Expectation(expected)


def _logged_metrics(cfg: DictConfig, choices: dict[str, str]) -> dict[str, dict[str, str | None]]:
    """The metrics of training and of validation, each with its better direction, ``min`` or ``max`` (None: unknown)."""
    own, form = cfg.task.metrics, cfg.task.prediction_form
    chosen = {}
    for name, node in cfg.metrics.items():
        takes = node.get("takes", [form])
        if form not in takes:
            raise Refused(f"metrics={name} compares {', '.join(map(str, takes))}; task={choices['task']} has {form}")
        if name in own:
            raise Refused(f"metrics.{name}: the task logs {name} itself; give it another name")
        chosen[name] = node.get("mode")
        if chosen[name] not in ("min", "max", None):
            raise Refused(f"metrics.{name}.mode={chosen[name]}: expected min or max, the better direction")
    return {"train": dict(own), "val": {**own, **chosen}}


def _check_sweep(sweep: DictConfig, logged: dict[str, Any], monitor: str) -> None:
    metrics, modes = (v if OmegaConf.is_list(v) else [v] for v in (sweep.metric, sweep.mode))
    if len(metrics) != len(modes) or not metrics:
        raise Refused(f"sweep.mode={sweep.mode}: expected one of min or max for each of sweep.metric={sweep.metric}")
    for metric, mode in zip(metrics, modes, strict=True):
        if metric not in COSTS:
            _check_monitor("sweep.", metric, mode, logged, "metric")
            if metric.startswith("train/") and metric != monitor:
                raise Refused(
                    f"sweep.metric={metric}: a run reports it for its best weights only with monitor={metric}"
                )
        elif mode != "min":
            raise Refused(f"sweep.mode={mode}: fewer {metric} are better; set sweep.mode=min")
    if sweep.retry not in (None, "failed"):
        raise Refused(f"sweep.retry={sweep.retry}: expected failed, or null")


def _check_monitor(where: str, monitor: Any, mode: Any, logged: Any, key: str = "monitor") -> None:
    """Refuse a monitor that is not logged, or a mode that is not its direction; ``logged``: those of each stage."""
    stage, _, metric = str(monitor).partition("/")
    if stage not in ("val", "train"):
        raise Refused(f"{where}{key}={monitor}: expected a metric of val or train; a test set selects nothing")
    if metric not in logged[stage]:
        listed = ", ".join(f"{stage}/{name}" for name in logged[stage])
        raise Refused(f"{where}{key}={monitor}: this run does not log it; it logs {listed}")
    better = logged[stage][metric]
    if better is None:
        raise Refused(f"{where}{key}={monitor}: set its better direction, as +metrics.{metric}.mode=max")
    if mode != better:
        wanted = "lower" if better == "min" else "higher"
        raise Refused(f"{where}mode={mode}: {wanted} {monitor} is better; set {where}mode={better}")


def _check_task(cfg: DictConfig, choices: dict[str, str]) -> None:
    """Refuse a task that does not take this kind of y, and a loss that does not accept the task's targets."""
    task, data, loss = (f"{group}={choices.get(group)}" for group in ("task", "data", "loss"))
    if cfg.data.y not in cfg.task.takes:
        takes = ", ".join(map(str, cfg.task.takes))
        raise Refused(f"{task} cannot be learned from {data}, whose y holds {cfg.data.y}: it takes {takes}")
    if (count := cfg.task.get("class_count")) not in (None, cfg.data.outputs):
        raise Refused(f"{task} needs {count} classes, {data} has {cfg.data.outputs}")
    if cfg.data.y in OF_CLASSES and cfg.data.classes is not None and len(cfg.data.classes) != cfg.data.outputs:
        raise Refused(f"data.classes has {len(cfg.data.classes)} names, {data} has {cfg.data.outputs} classes")
    told = cfg.model.get("classes", 0)  # of an own model it may be anything
    if isinstance(told, int) and told and (cfg.data.y != "classes" or told != cfg.data.outputs):
        raise Refused(
            f"model.classes={told}: the decoder is told all classes of the data or none; write model.classes="
            f"{cfg.data.outputs if cfg.data.y == 'classes' else 0}"
        )
    if cfg.data.y in PLACED and cfg.data.get("augment") is not None:
        raise Refused(f"data.augment moves the pictures of {data}, but not their {cfg.data.y}; leave it out")
    form = cfg.task.target_form
    if form not in cfg.loss.get("target_forms", [form]):
        fitting = ", ".join(_losses_for(form, choices["task"]))
        raise Refused(f"{loss} cannot fit {data} ({choices['task']}); try loss={fitting.replace(', ', ', or ', 1)}")
    if form not in COUNTED and cfg.loss.get("pos_weight") == "balanced":
        raise Refused(f"loss.pos_weight=balanced counts zeros and ones, and {task} has {form}; write a number")
    for key in ("devices", "num_nodes", "accumulate_grad_batches") if cfg.loss.get("compares_rows") else ():
        if cfg.trainer[key] != 1:
            raise Refused(
                f"{loss} compares the rows of a batch with each other; with trainer.{key}={cfg.trainer[key]} each part "
                f"of a batch would be compared on its own: set trainer.{key}=1 and data.batch_size, or loss=arcface"
            )
    _check_phases(cfg)
    if cfg.loss.get("output") == "softmax" and form != "class_numbers":
        raise Refused(f"loss.output=softmax is for one of several classes; {task} takes identity or sigmoid")


def _check_phases(cfg: DictConfig) -> None:
    """Refuse patience that ends before layers that train one after another reach the labels, and plain ddp."""
    each = cfg.model.get("epochs_per_layer", 0)  # of an own model it may be anything
    if not isinstance(each, int) or not each or not OmegaConf.is_list(cfg.model.get("hidden")):
        return
    alone = each * len(cfg.model.hidden)
    for key in ("scheduler.patience", *(f"callbacks.{name}.patience" for name in cfg.callbacks)):
        patience = OmegaConf.select(cfg, key)
        if isinstance(patience, int) and patience < alone:
            raise Refused(
                f"{key}={patience}: for {alone} epochs the layers train without labels, and no validation metric "
                f"changes; set {key}={alone} or more"
            )
    if cfg.trainer.strategy == "ddp":
        raise Refused(
            "trainer.strategy=ddp expects every parameter to move at every step, and the layers train one after "
            "another; set trainer.strategy=ddp_find_unused_parameters_true"
        )


def _losses_for(form: str, task: str) -> list[str]:
    """The losses of conf/ that accept targets of this form, the task's default first."""
    shipped = groups()
    files = {name: load("loss", name) for name in shipped["loss"]}
    fitting = [name for name, file in files.items() if form in file.get("loss", file).get("target_forms", [])]
    chosen = load("task", task).get("defaults", []) if task in shipped["task"] else []  # an own task is elsewhere
    return sorted(fitting, key=lambda name: {"override /loss": name} not in chosen)
