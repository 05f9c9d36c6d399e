"""What may run: every word, target and number is judged before anything that it names is imported."""

import inspect
import math
import os
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from dlcourse.config import CONF, Composed, complete, compose, nearest, parse, resolve, values_of
from dlcourse.errors import Refused

#: Packages whose public classes may be targets, one name below each.
PACKAGES = (
    "torch.nn",
    "torch.optim",
    "torch.optim.lr_scheduler",
    "torchmetrics",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
)
#: The words of ``hydra.*`` that the command line may say; plain values of the shipped launchers and sweepers as well.
HYDRA_WORDS = re.compile(
    r"hydra\.(run\.dir|sweep\.(dir|subdir)|job\.name|output_subdir|mode|verbose|(launcher|sweeper)\.[\w.]+)"
)
HYDRA_SHELL = re.compile(
    r"hydra\.launcher\.(.*\.)?(setup|runtime_env|python|srun_args|additional_parameters|_target_)\b"
)
FITTING_LOSS = {"classes": "cross_entropy", "binary": "bce", "values": "mse"}


class Limit(NamedTuple):
    """The range of a number: low and high (excluded where ``open``), whole or not; other words that are accepted."""

    low: float = -math.inf
    high: float = math.inf
    open: str = ""  # which ends are excluded: "(", ")" or "()"
    whole: bool = False
    words: tuple[Any, ...] = ()

    def __str__(self) -> str:
        left, right = "(" if "(" in self.open else "[", ")" if ")" in self.open else "]"
        kind = "a whole number" if self.whole else "a number"
        also = "".join(f" or {'null' if word is None else word}" for word in self.words)
        left, right = "(" if self.low == -math.inf else left, ")" if self.high == math.inf else right
        return f"{kind} in {left}{self.low:g}, {self.high:g}{right}{also}"

    def admits(self, value: Any) -> bool:
        if value in self.words and not isinstance(value, bool):
            return True
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        if self.whole and value != int(value):
            return False
        above = value > self.low if "(" in self.open else value >= self.low
        below = value < self.high if ")" in self.open else value <= self.high
        return above and below


POSITIVE, SHARE = Limit(0, open="("), Limit(0, 1, open=")")
COUNT = Limit(1, whole=True)
#: Every numeric key that a person sets by hand, and its range. A list is judged item by item.
LIMITS: dict[str, Limit] = {
    "seed": Limit(0, 2**32 - 1, whole=True),
    "data.batch_size": Limit(1, whole=True, words=("full",)),
    "data.num_workers": Limit(0, 64, whole=True),
    "data.split_seed": Limit(0, 2**32 - 1, whole=True),
    "data.val_fraction": Limit(0, 1, open="()"),
    "model.hidden": COUNT,
    "model.channels": COUNT,
    "model.kernel": COUNT,
    "model.pool": COUNT,
    "model.dropout": SHARE,
    "optimizer.lr": POSITIVE,
    "optimizer.adamw_lr": POSITIVE,
    "optimizer.momentum": SHARE,
    "optimizer.weight_decay": Limit(0),
    "optimizer.eps": POSITIVE,
    "optimizer.betas": SHARE,
    "optimizer.rho": SHARE,
    "optimizer.alpha": SHARE,
    "loss.label_smoothing": SHARE,
    "loss.delta": POSITIVE,
    "loss.class_weights": Limit(0, words=(None,)),
    "trainer.max_epochs": Limit(1, whole=True, words=(-1, None)),
    "trainer.max_steps": Limit(1, whole=True, words=(-1,)),
    "trainer.num_nodes": COUNT,
    "trainer.accumulate_grad_batches": COUNT,
    "trainer.gradient_clip_val": Limit(0, open="(", words=(None,)),
    "trainer.limit_train_batches": POSITIVE,
    "trainer.limit_val_batches": POSITIVE,
    "trainer.limit_test_batches": POSITIVE,
    "trainer.overfit_batches": Limit(0),
    "trainer.val_check_interval": POSITIVE,
    "trainer.check_val_every_n_epoch": COUNT,
    "trainer.log_every_n_steps": COUNT,
}
EVERY = re.compile(r"\d+(\.\d+)?(s|m|h|steps)")


def admit(words: list[str]) -> Composed:
    """Compose the run that the words describe, judge it, and complete it with the facts of a person's own files."""
    check_words(words)
    composed = compose(words)
    cfg, choices = composed.cfg, composed.choices
    complete(cfg, choices)
    permit(resolve(cfg), allowed_packages(words))
    if "facts" in cfg.data:
        _take_facts(cfg)
        if choices["loss"] == FITTING_LOSS["classes"] and not any(word.startswith("loss=") for word in words):
            fitting = FITTING_LOSS[cfg.data.task]
            if fitting != choices["loss"]:
                return admit([*words, f"loss={fitting}"])._replace(words=words)
    judge(cfg, choices)
    return composed


def admit_multirun(words: list[str]) -> None:
    """Judge each value that a multirun will try, the others at their first, before the first trial starts."""
    parsed = parse(words)
    if any(override.key_or_group == "run_dir" for override in parsed):
        raise Refused("run_dir= names one run, a multirun makes many; set sweep_dir=")
    swept = {k: values_of(override) for k, override in enumerate(parsed) if override.is_sweep_override()}

    def word(k: int, value: str) -> str:
        return f"{parsed[k].input_line.split('=')[0]}={value}"  # type: ignore[union-attr]

    first = [word(k, swept[k][0]) if k in swept else w for k, w in enumerate(words)]
    admit(first)
    for k, values in swept.items():
        for value in values[1:]:
            check_words(one := [*first[:k], word(k, value), *first[k + 1 :]])
            permit(resolve(compose(one).cfg), allowed_packages(words))


def check_words(words: list[str]) -> None:
    """Refuse the words of ``hydra.*`` that could run or write something else."""
    packages = allowed_packages(words)
    for override in parse(words):
        key = override.key_or_group
        if not key.startswith("hydra"):
            continue
        if key in ("hydra/launcher", "hydra/sweeper"):
            continue
        if not HYDRA_WORDS.fullmatch(key) or HYDRA_SHELL.match(key) and "launcher" not in packages:
            raise Refused(f"{key} may not be set from the command line: it could run or write something else")


def allowed_packages(words: list[str]) -> list[str]:
    """The packages that the person at the keyboard allows: ``allow=[…]`` among the words, or DLCOURSE_ALLOW."""
    packages = os.environ.get("DLCOURSE_ALLOW", "").replace(",", " ").split()
    for override in parse([word for word in words if word.lstrip("+").startswith("allow=")]):
        value = override.value()
        packages += [str(item) for item in (value if isinstance(value, list) else [value])]
    return packages


def targets(tree: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All nodes of a tree that name a target."""
    if isinstance(tree, dict):
        if "_target_" in tree:
            yield path, tree
        for key, value in tree.items():
            yield from targets(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list):
        for k, value in enumerate(tree):
            yield from targets(value, f"{path}.{k}")


def shipped() -> set[str]:
    """The targets that the shipped conf/ names."""
    named = re.compile(r"^\s*_target_:\s*([\w.]+)", re.MULTILINE)
    return {target for path in CONF.rglob("*.yaml") for target in named.findall(path.read_text("utf-8"))}


def permit(tree: Any, packages: list[str]) -> None:
    """Default-deny: refuse every target that is neither shipped, nor of a known package, nor allowed by hand."""
    known = shipped()
    for path, node in targets(tree):
        target = node["_target_"]
        if not isinstance(target, str) or not _permitted(target, known, packages):
            raise Refused(
                f"{path}._target_={target} may not run"
                f"{nearest(str(target), known)}\nYour own package: allow=[package] on the command line"
            )


def _permitted(target: str, known: set[str], packages: list[str]) -> bool:
    parts = target.split(".")
    if not all(part.isidentifier() and not part.startswith("_") for part in parts):
        return False
    within = any(target.startswith(f"{package}.") for package in ("dlcourse", *packages))
    return target in known or ".".join(parts[:-1]) in PACKAGES or within


def _take_facts(cfg: DictConfig) -> None:
    """Ask the data's light reader for what it finds in the person's files."""
    facts = resolve(cfg)["data"]["facts"]
    module, _, name = facts.pop("_target_").rpartition(".")
    cfg.data.update(getattr(import_module(module), name)(**facts))
    del cfg.data["facts"]


def judge(cfg: DictConfig, choices: dict[str, str]) -> None:
    """Refuse numbers out of range, and a loss that cannot fit the data."""
    for key, limit in LIMITS.items():
        value = OmegaConf.select(cfg, key, default=limit)
        for item in [] if value is limit else value if OmegaConf.is_list(value) else [value]:
            if not limit.admits(item):
                raise Refused(f"{key}={item}: expected {limit}")
    task, tasks = cfg.data.task, list(cfg.loss.get("tasks", [cfg.data.task]))
    if task not in tasks:
        raise Refused(
            f"loss={choices['loss']} cannot fit data={choices['data']} ({task}); try loss={FITTING_LOSS[task]}"
        )
    full = cfg.get("optimizer_batch") == "full"
    if full and cfg.data.batch_size != "full":
        raise Refused(f"optimizer={choices['optimizer']} takes the full batch; leave data.batch_size out")
    _judge_monitor(str(cfg.monitor), cfg.mode, task)
    every = cfg.checkpoint.every
    if every is not None and not EVERY.fullmatch(str(every)):
        raise Refused(f"checkpoint.every={every}: expected a time or a number of steps, as 30s, 10m or 500steps")


def _judge_monitor(monitor: str, mode: str, task: str) -> None:
    stage, _, figure = monitor.partition("/")
    better = {"loss": "min", "mae": "min", "acc": "max", "r2": "max"}
    logged = ("loss", "mae", "r2") if task == "values" else ("loss", "acc")
    if stage not in ("val", "train"):
        raise Refused(f"monitor={monitor}: expected a figure of val or train, as val/loss; test sets choose nothing")
    if figure in better and figure not in logged:
        raise Refused(f"monitor={monitor}: {task} log {', '.join(f'{stage}/{name}' for name in logged)}")
    if mode not in ("min", "max") or mode != better.get(figure, mode):
        raise Refused(f"mode={mode}: {monitor} is best at its {better.get(figure, 'min or max')}")


def inspect_targets(tree: Any) -> None:
    """After torch is imported and before anything is built: targets are classes of their package, arguments fit."""
    known = shipped()
    for path, node in targets(tree):
        target = node["_target_"]
        module, _, name = target.rpartition(".")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError):
            raise Refused(f"{path}._target_={target}: there is no such class") from None
        package = next((p for p in sorted(PACKAGES, key=len, reverse=True) if module == p), target.split(".")[0])
        own = inspect.isclass(found) and f"{found.__module__}.".startswith(f"{package}.")
        if target not in known and not own:
            raise Refused(f"{path}._target_={target} is not a class of {package}")
        _check_arguments(path, node, found)


def _check_arguments(path: str, node: dict[str, Any], target: Any) -> None:
    names = arguments(target)
    for key in node:
        if names is not None and not key.startswith("_") and key not in names:
            listed = ", ".join(sorted(names))
            raise Refused(f"{path} has no argument {key}{nearest(key, names)}\n{target.__name__} takes: {listed}")


def arguments(target: Any) -> set[str] | None:
    """The names that a callable takes; ``**kwargs`` are followed up the bases. None: anything."""
    names: set[str] = set()
    makers = [target]
    if inspect.isclass(target):
        makers = [vars(base)["__init__"] for base in target.__mro__ if "__init__" in vars(base)]
    for maker in makers:
        parameters = inspect.signature(maker).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - {"self"}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return names
    return None
