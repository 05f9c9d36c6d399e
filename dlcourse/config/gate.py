"""Decides what may run: every override and target is checked before anything that it names is imported."""

import inspect
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError

from dlcourse.config.compose import Composed, complete, compose, compose_files, explain_mode
from dlcourse.config.groups import CONF
from dlcourse.config.overrides import Overrides, number_or_text, values_of
from dlcourse.config.resolve import nodes, resolve
from dlcourse.config.rules import METRIC_KEYS, check_rules
from dlcourse.config.suggestions import nearest
from dlcourse.data.facts import Reader
from dlcourse.errors import Refused

#: Packages whose own public classes may be targets: one name below each.
PACKAGES = (
    *("torch.nn", "torch.optim", "torch.optim.lr_scheduler", "torchmetrics"),
    *("lightning.pytorch.callbacks", "lightning.pytorch.loggers"),
)
READERS = ("dlcourse.data.table_facts", "dlcourse.data.folder_facts", "dlcourse.data.huggingface_facts")
#: Modules of dlcourse that are never targets: they write files or start processes.
NOT_A_PART = re.compile(r"dlcourse\.(config|runs|plots|report|sweeps|cli)\.")
#: The keys of ``hydra.*`` that the command line may set; plain values of the shipped launchers and sweepers as well.
HYDRA_KEYS = re.compile(
    r"hydra\.(run\.dir|sweep\.(dir|subdir)|job\.name|output_subdir|mode|verbose|(launcher|sweeper)\.[\w.]+)"
)
HYDRA_SHELL = re.compile(
    r"hydra\.launcher\.(.*\.)?(setup|runtime_env|address|python|srun_args|additional_parameters)(\..*)?"
)
LOCAL = ("hydra.launcher.address=auto", "hydra.launcher.address=null")  # the cluster of this machine, or none


def compose_checked(overrides: Overrides) -> Composed:
    """Compose and check the run that the overrides describe, with the facts read from a person's own data files."""
    check_overrides(overrides)
    overrides.check_single("runs; to try each of them, add -m")
    explain_mode(overrides)
    composed = compose_files(overrides)
    choices = composed.choices
    chosen = any(override.key_or_group.startswith("activation") for override in overrides.parsed)
    if chosen and "activation" not in composed.cfg.model:
        raise Refused(f"model={choices['model']} has no activation to choose; activation= has no effect there")
    try:
        return check(_completed(composed, overrides))
    except ConfigAttributeError as missing:
        raise Refused(f"{missing.full_key} is missing; every run needs it, so it cannot be deleted") from None


def check(composed: Composed) -> Composed:
    """The same configuration, resolved: its targets may run, and its values fit together. Raises Refused (2)."""
    composed = composed.resolved()
    check_targets(composed.tree, composed.overrides.packages)
    check_rules(composed.cfg, composed.choices)
    return composed


def _completed(composed: Composed, overrides: Overrides) -> Composed:
    """The configuration with files for names, and with the facts and the task that a person's own data files have.

    A task that an override or the model chooses stays.
    """
    complete(composed)
    if "facts" not in composed.cfg.data:
        return composed
    task = composed.choices["task"]
    fitting = OmegaConf.select(composed.cfg, "data.facts.tasks")  # one for each kind of y
    chosen = "task" in overrides or OmegaConf.is_dict(fitting) and task not in fitting.values()
    reader, arguments = facts_call(composed.cfg, task if chosen else None)
    facts = reader(**arguments)
    found = facts.pop("task")
    if not chosen and found != task or composed.overrides is not overrides:
        words = overrides if chosen else overrides.plus(f"task={found}")
        composed = compose(words)._replace(overrides=overrides)
        complete(composed)
    _set_facts(composed.cfg, facts)
    return composed


def compose_checked_multirun(overrides: Overrides) -> Composed:
    """Check each value of a multirun before its first trial starts, with all other overrides at their first value."""
    for override in overrides.parsed:
        if override.key_or_group in ("run_dir", "resume"):
            raise Refused(f"{override.key_or_group}= names one run, a multirun makes many; set sweep_dir=")
    swept = {}
    for k, each in enumerate(overrides.parsed):
        if each.is_sweep_override():
            values = values_of(each, overrides.groups.get(each.key_or_group, ()))
            swept[k] = [f"{overrides.texts[k].split('=')[0]}={value}" for value in values]
    first = overrides.replace({k: words[0] for k, words in swept.items()})
    composed = compose_checked(first)
    for k, words in swept.items():
        for word in words[1:]:
            one = first.replace({k: word})
            check_overrides(one)
            if not isinstance(number_or_text(word.partition("=")[2]), int | float):  # a number cannot name a target
                check_targets(_completed(compose_files(one), one).resolved().tree, overrides.packages)
    return composed


def check_overrides(overrides: Overrides) -> None:
    """Refuse the overrides of ``hydra.*`` that could run or write something else."""
    packages = overrides.packages
    for override in overrides.parsed:
        key = override.key_or_group
        if override.package is not None:
            raise Refused(f"{override.input_line}: a choice cannot be placed elsewhere; leave @{override.package} out")
        if not key.startswith("hydra") or key in ("hydra/launcher", "hydra/sweeper"):
            continue
        if key == "hydra.searchpath":
            if {"searchpath", "config_dir"} & set(packages):
                continue
            raise Refused(f"{key} reads configuration files from elsewhere; if they are yours: 'allow=[searchpath]'")
        # A newline would start a command in a job script.
        if not all(value.isprintable() for value in values_of(override)):
            raise Refused(f"{key}: expected one line of printable characters")
        if HYDRA_SHELL.fullmatch(key) and ("launcher" in packages or override.input_line in LOCAL):
            continue
        if "${" in str(override.input_line) and key.startswith(("hydra.launcher.", "hydra.sweeper.")):
            raise Refused(f"{key}: interpolations are not allowed here; write the value itself")
        added = override.is_add() or override.is_force_add() or override.is_delete()
        plain = override.is_sweep_override() or not isinstance(override.value(), dict | list)
        if added or not plain or HYDRA_SHELL.fullmatch(key) or not HYDRA_KEYS.fullmatch(key) or "_target_" in key:
            raise Refused(f"{key} may not be set from the command line: it could run or write something else")


def targets(tree: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Each node of a tree that has a target: its path, the target, the node."""
    for path, node in nodes(tree):
        if isinstance(node, dict) and "_target_" in node:
            yield path, node["_target_"], node


@cache
def shipped_targets() -> set[str]:
    """The targets of the shipped conf/."""
    named = re.compile(r"^\s*_target_:\s*([\w.]+)", re.MULTILINE)
    return {target for path in CONF.rglob("*.yaml") for target in named.findall(path.read_text("utf-8"))}


def check_targets(tree: Any, packages: Sequence[str]) -> None:
    """Refuse every target that is not shipped, not of a known package and not of an allowed one."""
    known = shipped_targets()
    for path, target, _ in targets(tree):
        if target == "???":
            raise Refused(f"{path}._target_ is not set: {path}._target_=my_package.MyClass 'allow=[my_package]'")
        if not isinstance(target, str) or not _permitted(target, known, packages):
            hint = nearest(str(target), [name for name in known if name.split(".")[0] == str(target).split(".")[0]])
            raise Refused(
                f"{path}._target_={target} may not run{hint}\nYour own package: allow=[package] on the command line"
            )


def _permitted(target: str, known: set[str], packages: Sequence[str]) -> bool:
    parts = target.split(".")
    if not all(part.isidentifier() and not part.startswith("_") for part in parts):
        return False
    ours = target.startswith("dlcourse.") and not NOT_A_PART.match(target)
    allowed = any(target.startswith(f"{package}.") for package in packages)
    return ours or allowed or target in known or ".".join(parts[:-1]) in PACKAGES


def facts_call(cfg: DictConfig, asked: str | None) -> tuple[Reader, dict[str, Any]]:
    """The shipped reader of the facts about a user's files, and its arguments; ``asked``: the task of an override."""
    node = cfg.data.facts
    facts = resolve(node, "data.facts") if OmegaConf.is_dict(node) else {}
    target = str(facts.pop("_target_", None))
    if target not in shipped_targets() or target.rpartition(".")[0] not in READERS:
        raise Refused(f"data.facts={target}: facts are read by {' and '.join(READERS)} only")
    reader: Reader = _load(target)
    _check_arguments("data.facts", facts, reader)
    if facts.get("task") is None and asked in facts.get("tasks", {}).values():
        facts["task"] = asked
    return reader, facts


def _set_facts(cfg: DictConfig, facts: dict[str, Any]) -> None:
    """Set the facts that were read from a person's files; refuse an override of one of them."""
    for key in facts:
        value = cfg.data.get(key)
        if value is not None and key not in cfg.data.facts:
            raise Refused(f"data.{key}={value}: data={cfg.data.name} reads this from {cfg.data.path}; leave it out")
    cfg.data.update(facts)
    del cfg.data["facts"], cfg.data["task"]


#: The base classes of a run's parts, below dlcourse, and of each part in the groups of several.
BASES = {"task": "tasks.base.Task", "data": "data.base.Data", "model": "models.base.Model", "loss": "losses.Loss"}
BASES_OF_EACH = {"metrics": "torchmetrics.Metric", "callbacks": "lightning.pytorch.Callback"}
BASES_OF_EACH |= {"logger": "lightning.pytorch.loggers.Logger"}


def check_classes(tree: Any, packages: Sequence[str]) -> None:
    """Refuse targets that are no classes of their package, and arguments that they do not take; imports torch."""
    known = shipped_targets()
    for path, target, node in targets(tree):
        try:
            found = _load(target)
        except (ImportError, AttributeError):
            raise Refused(f"{path}._target_={target}: there is no such class") from None
        homes = [home for home in ("dlcourse", *PACKAGES, *packages) if target.startswith(f"{home}.")]
        home = max(homes, key=len, default="a package that is allowed")
        own = inspect.isclass(found) and f"{found.__module__}.".startswith(f"{home}.")
        if target not in known and not own:
            raise Refused(f"{path}._target_={target} is not a class of {home}")
        base = f"dlcourse.{BASES[path]}" if path in BASES else BASES_OF_EACH.get(path.rpartition(".")[0])
        if base and not (inspect.isclass(found) and issubclass(found, _load(base))):
            raise Refused(f"{path}._target_={target} must be a subclass of {base}")
        our_keys = METRIC_KEYS if path.startswith("metrics.") else ()
        _check_arguments(path, {key: value for key, value in node.items() if key not in our_keys}, found)


def _load(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(import_module(module), name)


def _check_arguments(path: str, node: dict[str, Any], target: Any) -> None:
    names = arguments(target)
    if names is not None and path in ("data", "model"):
        names -= {"task", "metrics"}  # a run hands them on itself
    for key in node:
        if names is not None and not key.startswith("_") and key not in names:
            listed = ", ".join(sorted(names))
            raise Refused(f"{path} has no argument {key}{nearest(key, names)}\n{target.__name__} takes: {listed}")


def arguments(target: Any) -> set[str] | None:
    """The names of a callable's arguments, those behind ``**kwargs`` from its base classes. None: it takes any."""
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
