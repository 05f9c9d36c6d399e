"""Explains why a configuration cannot be composed: the key that does not exist, and the nearest that does."""

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


def explain_keys(overrides: Overrides, cfg: DictConfig) -> None:
    """Refuse the first key that does not exist in ``cfg``, which is composed from the overrides' groups alone."""
    for override in overrides.parsed:
        if not overrides.is_group(override) and not override.is_add():
            _require(cfg, override, overrides.groups)


def _require(cfg: DictConfig, override: Override, groups: dict[str, list[str]]) -> None:
    dotted = override.key_or_group
    node: Any = cfg
    here = ""  # the keys before the part
    for part in dotted.split("."):
        if not isinstance(node, DictConfig) or part not in node:
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
