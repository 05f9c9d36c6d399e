"""Composes, completes and resolves the configuration of overrides, or explains why it cannot be composed.

Imports neither torch nor lightning.
"""

import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from dlcourse.config.groups import CONF, LISTS, NAMED, has_target, load, root_keys
from dlcourse.config.overrides import Overrides, values_of
from dlcourse.config.resolve import check_resolved, explained, resolve
from dlcourse.config.suggestions import near, nearest
from dlcourse.errors import Refused

# Our launchers extend those of submitit.
warnings.filterwarnings("ignore", message="(?s).*validated against ConfigStore schema")
# Hydra finds our sweeper and launchers here.
sys.path.append(str(Path(__file__).parents[1] / "sweeps"))


class Composed(NamedTuple):
    """A configuration with interpolations (``cfg``) and as plain values (``tree``), with its choices and overrides."""

    cfg: DictConfig
    choices: dict[str, str]
    overrides: Overrides
    tree: dict[str, Any]
    multirun: bool = False

    def resolved(self) -> "Composed":
        """The same with ``cfg`` resolved into ``tree``."""
        return self._replace(tree=resolve(self.cfg))

    def in_directory(self, path: Path | None) -> "Composed":
        """The same with ``run_dir`` set. Only the groups that refer to it are resolved again."""
        run_dir = path and str(path)
        self.cfg.run_dir = run_dir
        raw: Any = OmegaConf.to_container(self.cfg, resolve=False)
        again = {key: resolve(self.cfg[key], key) for key, node in raw.items() if "run_dir}" in str(node)}
        return self._replace(tree={**self.tree, **again, "run_dir": run_dir})


def compose(overrides: Overrides) -> Composed:
    """Compose the configuration of one run, unresolved. Refuses keys that neither exist nor are added with +."""
    try:
        cfg = _compose(overrides.texts)
    except Refused:
        _explain_keys(overrides)
        raise
    choices = {k: str(v) for k, v in cfg.hydra.runtime.choices.items() if "/" not in k}
    for group in set(LISTS) - set(choices):  # Hydra records no lists; each choice sets a key of its name
        choices[group] = ",".join(name for name in overrides.groups[group] if name in cfg[group])
    check_added(overrides)
    multirun = str(cfg.hydra.mode).endswith("MULTIRUN")
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return Composed(cfg, choices, overrides, {}, multirun)


def compose_files(overrides: Overrides) -> Composed:
    """Compose a configuration; where a key is refused, that of the groups and of data read from a person's own files.

    These choose the task, which chooses the loss, and the key may be of one of them.
    """
    try:
        return compose(overrides)
    except Refused:
        few = overrides.only(lambda key: key in overrides.groups or key.startswith("data."))
        with suppress(Refused):
            composed = compose(few)
            if "task" not in overrides and "facts" in composed.cfg.data:
                return composed
        raise


def _compose(words: list[str]) -> DictConfig:
    running = GlobalHydra.instance().hydra  # in a multirun, Hydra is initialised already
    GlobalHydra.instance().clear()
    try:
        with explained(), initialize_config_dir(version_base="1.3", config_dir=str(CONF), job_name="train"):
            return hydra_compose("config", words, return_hydra_config=True)
    finally:
        GlobalHydra.instance().hydra = running


def _explain_keys(overrides: Overrides) -> None:
    """Refuse the first key that does not exist in the configuration of the overrides' groups alone."""
    cfg = _compose([str(override.input_line) for override in overrides.parsed if overrides.is_group(override)])
    for override in overrides.parsed:
        if not overrides.is_group(override) and not override.is_add():
            _require(cfg, override, overrides.groups)


def _require(cfg: DictConfig, override: Override, groups: dict[str, list[str]]) -> None:
    dotted = override.key_or_group
    node: Any = cfg
    here = ""  # the keys before the part
    for part in dotted.split("."):
        if not isinstance(node, DictConfig) or part not in list(node):  # a ??? is not "in" it
            names = [str(key) for key in node] if isinstance(node, DictConfig) else []
            known = [f"{here}{name}" for name in names if not name.startswith(("_", "hydra"))]
            every = [leaf for leaf in leaves(cfg) if not leaf.startswith("hydra.")]
            if here:
                where, found = f"{here[:-1]} has no key {part}", near(part, known)
            else:
                where, known = f"no key or group {dotted}", [*known, *groups]
                # A name without its group, as lr for optimizer.lr, is looked for inside the groups.
                inside = [leaf for leaf in every if leaf.rpartition(".")[2] == part]
                # modle=cnn is near model, not mode
                found = near(dotted, groups_with_choice(override, groups)) or near(part, inside or [*every, *known])
            if (whole := dotted.replace(f"{here}{part}", found or "", 1)) in every:
                found = whole
            hint = f"; did you mean {found}?" if found else ""
            raise Refused(f"{where}{hint}\nThere are: {', '.join(sorted(set(known)))}")
        here += f"{part}."
        node = None if OmegaConf.is_missing(node, part) else node[part]


def groups_with_choice(override: Override, groups: dict[str, list[str]]) -> list[str]:
    """The groups that have the override's value as a choice."""
    return [group for group, choices in groups.items() if set(values_of(override, choices)) & set(choices)]


def explain_mode(overrides: Overrides) -> None:
    """Refuse ``mode=cnn`` and suggest ``model=cnn``: both keys exist, and ``mode`` is the direction of ``monitor``."""
    override = overrides.get("mode")
    if override is not None and (group := near("mode", groups_with_choice(override, overrides.groups))):
        value = values_of(override)[0]
        raise Refused(f"mode={value}: expected min or max, the direction of monitor; did you mean {group}={value}?")


def check_added(overrides: Overrides) -> None:
    """Refuse a new key at the root. A + may add an argument below model, data, …, or a callback, logger or metric."""
    known = [*overrides.groups, *root_keys()]
    for override in overrides.parsed:
        root, _, rest = override.key_or_group.partition(".")
        added = override.is_add() or override.is_force_add() and root not in known
        if added and not overrides.is_group(override) and root != "hydra" and (root not in known or not rest):
            also = "" if root in known else nearest(root, known)
            raise Refused(
                f"+{override.key_or_group}: no such key{also}\n+ adds an argument below a group, as +model.NAME"
            )


def leaves(node: Any, path: str = "") -> list[str]:
    """The dotted keys of all values of a configuration."""
    if not isinstance(node, DictConfig):
        return [path]
    nodes = {str(key): child for key, child in node.items_ex(resolve=False) if not str(key).startswith("_")}
    return [leaf for key, child in nodes.items() for leaf in leaves(child, f"{path}.{key}" if path else key)]


FILES_OF_DATA = ("data.path", "data.test_path", "data.val_path")


def complete(composed: Composed) -> None:
    """Replace names of activations and augmentations by their files, and relative paths by absolute ones; in place."""
    cfg, overrides = composed.cfg, composed.overrides
    with explained():
        for key, group in NAMED.items():
            value = OmegaConf.select(cfg, key)
            if value is not None and not has_target(value):  # a target: a reference to a whole group
                names = value if OmegaConf.is_list(value) else [value]
                files = [_named(key, group, name, overrides) for name in names]
                OmegaConf.update(cfg, key, files if names is value else files[0], merge=False)
        for key in (*FILES_OF_DATA, "init_from", "model.weights"):
            path = OmegaConf.select(cfg, key)
            if path is not None and not _is_name(cfg, key, str(path)):
                several = key in FILES_OF_DATA and OmegaConf.is_list(path)
                paths = list(path) if several else [path]
                if not all(isinstance(each, str) for each in paths):
                    raise Refused(f"{key}={path}: expected the name of a file or folder")
                check_resolved(paths, key)  # update would evaluate ${
                absolute = [str(Path(each).expanduser().resolve()) for each in paths]
                OmegaConf.update(cfg, key, absolute if several else absolute[0])


def _is_name(cfg: DictConfig, key: str, path: str) -> bool:
    """Whether it is known by a name, and no file: trained weights, or a data set of the hub."""
    if key == "model.weights":
        return path.isidentifier()
    if key != "data.path" or "revision" not in cfg.data:
        return False
    from dlcourse.data.hub import is_hub_name  # few runs need it

    return is_hub_name(path)


def _named(key: str, group: str, name: Any, overrides: Overrides) -> Any:
    """The file of a choice that a key names; a node with a target stands for itself."""
    if has_target(name):
        return name
    check_resolved(name, key)
    choices = overrides.groups[group]
    if name not in choices:
        raise Refused(f"{key}: no {group} {name}{nearest(str(name), choices)}\nThere are: {', '.join(choices)}")
    return load(group, name, overrides.folders) or None
