"""Explains why a configuration cannot be composed: the key that does not exist, and the nearest that does."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from dlcourse.config.groups import root_keys
from dlcourse.config.overrides import Overrides, values_of
from dlcourse.config.suggestions import near, nearest
from dlcourse.errors import Refused


def leaves(node: Any, path: str = "") -> list[str]:
    """The dotted keys of all values of a configuration."""
    if not isinstance(node, DictConfig):
        return [path]
    nodes = {str(key): child for key, child in node.items_ex(resolve=False) if not str(key).startswith("_")}
    return [leaf for key, child in nodes.items() for leaf in leaves(child, f"{path}.{key}" if path else key)]


def is_group(override: Override, groups: Mapping[str, list[str]]) -> bool:
    """Whether an override chooses a file of a group; otherwise it sets a value."""
    return override.key_or_group in groups or "/" in override.key_or_group


def groups_with_choice(override: Override, groups: Mapping[str, list[str]]) -> list[str]:
    """The groups that have the override's value as a choice."""
    return [group for group, choices in groups.items() if set(values_of(override, choices)) & set(choices)]


def explain_keys(overrides: Overrides, cfg: DictConfig) -> None:
    """Refuse the first key that does not exist in ``cfg``, which is composed from the overrides' groups alone."""
    for override in overrides.parsed:
        if not is_group(override, overrides.groups) and not override.is_add():
            named = groups_with_choice(override, overrides.groups)
            _require(cfg, override.key_or_group, named, list(overrides.groups))


def _require(cfg: DictConfig, dotted: str, named: Sequence[str], groups: list[str]) -> None:
    """``named`` are the groups that have the override's value as a choice: modle=cnn is near model, not mode."""
    node: Any = cfg
    path: list[str] = []
    for part in dotted.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            here = ".".join(path)
            known = _keys(node)
            known = [".".join([*path, key]) for key in known] + ([] if path else groups)
            where = f"{here} has no key {part}" if here else f"no key or group {dotted}"
            listed = ", ".join(sorted(set(known)))
            # A name without its group, as lr for optimizer.lr, is looked for inside the groups, but not in hydra.*
            every = [leaf for leaf in leaves(cfg) if not leaf.startswith("hydra.")]
            within = every if not path else []
            inside = [leaf for leaf in within if leaf.rpartition(".")[2] == part]
            found = (not path and near(dotted, named)) or near(part, inside or [*within, *known])
            if (whole := dotted.replace(f"{here}.{part}".strip("."), found or "", 1)) in every:
                found = whole
            hint = f"; did you mean {found}?" if found else ""
            raise Refused(f"{where}{hint}\nThere are: {listed}")
        path.append(part)
        node = None if OmegaConf.is_missing(node, part) else node[part]


def explain_mode(overrides: Overrides) -> None:
    """Refuse ``mode=cnn`` and suggest ``model=cnn``: both keys exist, and ``mode`` is the direction of ``monitor``."""
    override = overrides.get("mode")
    if override is not None and (group := near("mode", groups_with_choice(override, overrides.groups))):
        value = values_of(override)[0]
        raise Refused(f"mode={value}: expected min or max, the direction of monitor; did you mean {group}={value}?")


def _keys(node: Any) -> list[str]:
    names = [str(key) for key in node] if isinstance(node, DictConfig) else []
    return [name for name in names if not name.startswith(("_", "hydra"))]


def check_added(overrides: Overrides) -> None:
    """Refuse a new key at the root. A + may add an argument below model, data, …, or a callback, logger or metric."""
    known = [*overrides.groups, *root_keys()]
    for override in overrides.parsed:
        root, _, rest = override.key_or_group.partition(".")
        added = override.is_add() or override.is_force_add() and override.key_or_group not in known
        if added and not is_group(override, overrides.groups) and root != "hydra" and (root not in known or not rest):
            also = "" if root in known else nearest(root, known)
            raise Refused(
                f"+{override.key_or_group}: no such key{also}\n+ adds an argument below a group, as +model.NAME"
            )
