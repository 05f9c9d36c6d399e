"""What fits: ranges of numbers, a loss and its data, a figure and its direction; judged before torch is imported."""

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcourse.config.claims import Expectation
from dlcourse.config.groups import CONF
from dlcourse.config.ranges import LIMITS, POSITIVE, check_number
from dlcourse.errors import Refused

EVERY = re.compile(r"([1-9]\d*steps)|((?=.*[1-9])\d+(\.\d+)?[smh])")
TIME = re.compile(r"\d+:\d\d:\d\d:\d\d|None")
#: What else a sweep may keep low: what a run says of its own cost.
COSTS = ("seconds", "steps", "epochs")
#: What conf/metrics says of a metric beside its constructor's arguments: which end is better, what it compares.
OF_METRICS = ("mode", "takes")


def check_rules(cfg: DictConfig, choices: dict[str, str]) -> None:
    """Refuse numbers out of range, parts that are none, and a loss that cannot fit the data."""
    _judge_shape(cfg)
    for key, limit in LIMITS.items():
        value = OmegaConf.select(cfg, key, default=limit)
        if value is not limit:
            check_number(key, value, limit)
    standard = cfg.data.get("standardise", True)
    if not isinstance(standard, bool) and not POSITIVE.admits(standard):
        raise Refused(f"data.standardise={standard}: expected true, false, or a number above 0 to divide by")
    _check_task(cfg, choices)
    logged = _logged(cfg, choices)
    if cfg.model.get("norm") == "batch" and cfg.data.batch_size == 1:
        raise Refused("model.norm=batch needs more than one row a batch; set model.norm=null, or data.batch_size")
    full = cfg.get("optimizer_batch") == "full"
    if full and cfg.data.batch_size != "full":
        raise Refused(f"optimizer={choices['optimizer']} takes the full batch; leave data.batch_size out")
    _judge_monitor("", cfg.monitor, cfg.mode, logged)
    _judge_sweep(cfg.sweep, logged, cfg.monitor)
    for name, node in cfg.callbacks.items():
        if node is not None and "monitor" in node:
            _judge_monitor(f"callbacks.{name}.", node.monitor, node.get("mode", "min"), logged)
    if "mode" in cfg.scheduler:
        _judge_monitor("scheduler.", cfg.monitor, cfg.scheduler.mode, logged)
    if not TIME.fullmatch(str(cfg.trainer.max_time)):
        raise Refused(f"trainer.max_time={cfg.trainer.max_time}: expected days:hours:minutes:seconds, as 00:01:30:00")
    every = cfg.checkpoint.every
    if every is not None and not EVERY.fullmatch(str(every)):
        raise Refused(f"checkpoint.every={every}: expected a time or a number of steps, as 30s, 10m or 500steps")


def _judge_shape(cfg: DictConfig) -> None:
    """Groups and the model's parts are what they must be: mappings, most of them with a target."""
    parts = [f"model.{name}" for name in ("loss", "optimizer", "scheduler", "init")]
    for key in ("task", "data", "loss", "optimizer", "scheduler", "init", "activation", "model", "trainer", *parts):
        if not OmegaConf.is_dict(node := OmegaConf.select(cfg, key)) or "_target_" not in node:
            raise Refused(f"{key}={node}: expected one of its choices, or a mapping with a _target_")
    for key in ("callbacks", "logger", "metrics", "checkpoint", "paths", "debug"):
        if not OmegaConf.is_dict(OmegaConf.select(cfg, key)):
            raise Refused(f"{key}={OmegaConf.select(cfg, key)}: expected a mapping; its keys are set one by one")
    for name, node in cfg.callbacks.items():
        if node is not None and not (OmegaConf.is_dict(node) and "_target_" in node):
            raise Refused(f"callbacks.{name}={node}: expected null or a mapping with a _target_")
    for name, node in cfg.metrics.items():
        if not (OmegaConf.is_dict(node) and "_target_" in node):
            raise Refused(f"metrics.{name}={node}: expected a mapping with a _target_")
    for key in ("tags", "lecture", "expect", "loss.target_forms", "task.takes", "resume_changed", "init_from_skip"):
        value = OmegaConf.select(cfg, key, default=[])
        if not OmegaConf.is_list(value) and value != []:
            raise Refused(f"{key}={value}: expected a list, as [{value}]")
    for expected in cfg.get("expect", []):
        Expectation(expected)


def _logged(cfg: DictConfig, choices: dict[str, str]) -> dict[str, dict[str, str | None]]:
    """What a run logs of its training and of its validation rows, and which end of each is better."""
    own, form = cfg.task.metrics, cfg.task.prediction_form
    chosen = {}
    for name, node in cfg.metrics.items():
        takes = node.get("takes", [form])
        if form not in takes:
            raise Refused(f"metrics={name} compares {', '.join(takes)}; task={choices['task']} has {form}")
        if name in own:
            raise Refused(f"metrics.{name}: the task logs {name} itself; give it another name")
        chosen[name] = node.get("mode")
        if chosen[name] not in ("min", "max", None):
            raise Refused(f"metrics.{name}.mode={chosen[name]}: expected min or max, the better end")
    return {"train": dict(own), "val": {**own, **chosen}}


def _judge_sweep(sweep: DictConfig, logged: dict[str, Any], monitor: str) -> None:
    metrics, modes = (v if OmegaConf.is_list(v) else [v] for v in (sweep.metric, sweep.mode))
    if len(metrics) != len(modes) or not metrics:
        raise Refused(f"sweep.mode={sweep.mode}: expected as many as in sweep.metric={sweep.metric}, each min or max")
    for metric, mode in zip(metrics, modes, strict=True):
        if metric not in COSTS:
            _judge_monitor("sweep.", metric, mode, logged, "metric")
            if metric.startswith("train/") and metric != monitor:
                raise Refused(f"sweep.metric={metric}: a run keeps that of its best weights only with monitor={metric}")
        elif mode != "min":
            raise Refused(f"sweep.mode={mode}: {metric} is best at its min")
    if sweep.retry not in (None, "failed"):
        raise Refused(f"sweep.retry={sweep.retry}: expected failed, or null")


def _judge_monitor(where: str, monitor: Any, mode: Any, logged: Any, key: str = "monitor") -> None:
    """``logged``: the metrics of each stage, and which end of each is better."""
    stage, _, metric = str(monitor).partition("/")
    if stage not in ("val", "train"):
        raise Refused(f"{where}{key}={monitor}: expected a metric of val or train; test sets choose nothing")
    if metric not in logged[stage]:
        listed = ", ".join(f"{stage}/{name}" for name in logged[stage])
        raise Refused(f"{where}{key}={monitor}: this run does not log it; there are {listed}")
    better = logged[stage][metric]
    if better is None:
        raise Refused(f"{where}{key}={monitor}: say which end of it is better, as +metrics.{metric}.mode=max")
    if mode != better:
        raise Refused(f"{where}mode={mode}: {monitor} is best at its {better}")


def _check_task(cfg: DictConfig, choices: dict[str, str]) -> None:
    """A task learns from y of its kinds, by a loss that accepts its targets."""
    task, data, loss = (f"{group}={choices.get(group)}" for group in ("task", "data", "loss"))
    if cfg.data.y not in cfg.task.takes:
        raise Refused(
            f"{task} cannot be learned from {data}, whose y holds {cfg.data.y}: it takes {', '.join(cfg.task.takes)}"
        )
    if (count := cfg.task.get("class_count")) not in (None, cfg.data.outputs):
        raise Refused(f"{task} needs {count} classes, {data} has {cfg.data.outputs}")
    form = cfg.task.target_form
    if form not in cfg.loss.get("target_forms", [form]):
        fitting = ", ".join(_losses_for(form, choices["task"]))
        raise Refused(f"{loss} cannot fit {data} ({choices['task']}); try loss={fitting.replace(', ', ', or ', 1)}")
    if cfg.loss.get("output") == "softmax" and form != "class_numbers":
        raise Refused(f"loss.output=softmax is for one of several classes; {task} takes identity or sigmoid")


def _losses_for(form: str, task: str) -> list[str]:
    """The losses of conf/ that accept targets of this form; the one that the task chooses comes first."""
    files: dict[str, Any] = {path.stem: OmegaConf.load(path) for path in sorted((CONF / "loss").glob("*.yaml"))}
    fitting = [name for name, file in files.items() if form in file.get("loss", file).get("target_forms", [])]
    path = CONF / "task" / f"{task}.yaml"  # a task of one's own lies elsewhere
    file: Any = OmegaConf.load(path) if path.is_file() else {}
    chosen = file.get("defaults", [])
    return sorted(fitting, key=lambda name: {"override /loss": name} not in chosen)
