"""From words to a checked configuration: compose, complete, store, explain. Imports neither torch nor lightning."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcourse.config.groups import CONF, NAMED, _root_keys, groups
from dlcourse.config.overrides import near, nearest, parse, values_of
from dlcourse.config.resolve import _short, resolve
from dlcourse.errors import Refused

warnings.filterwarnings("ignore", message="(?s).*validated against ConfigStore schema")  # submitit's, completed by ours
# Where Hydra, once it starts, finds our sweeper and launchers.
sys.path.append(str(Path(__file__).parents[1] / "sweeps"))


class Composed(NamedTuple):
    """A configuration, and how it came about."""

    cfg: DictConfig
    choices: dict[str, str]
    words: list[str]
    multirun: bool = False
    allowed: Sequence[str] = ()  # packages that the person at the keyboard allows


def leaves(node: Any, path: str = "") -> list[str]:
    """The dotted names of all values of a configuration."""
    if not isinstance(node, DictConfig):
        return [path]
    names = [str(key) for key in node if not str(key).startswith("_")]
    return [leaf for key in names for leaf in leaves(node._get_node(key), f"{path}.{key}" if path else key)]


def compose(words: list[str]) -> Composed:
    """Compose the configuration of one run from its words, whose keys must be there (or be added with +)."""
    parsed = parse(words)
    try:
        cfg = _compose(words)
    except (HydraException, OmegaConfBaseException) as error:
        _explain_keys(parsed)
        raise Refused(_short(error)) from None
    choices = {k: str(v) for k, v in cfg.hydra.runtime.choices.items() if "/" not in k}
    _check_added(parsed)
    multirun = str(cfg.hydra.mode).endswith("MULTIRUN")
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return Composed(cfg, choices, words, multirun)


def _compose(words: list[str]) -> DictConfig:
    before = Singleton.get_state()  # a multirun's own Hydra, which composes no further
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF), job_name="train"):
            return hydra_compose("config", words, return_hydra_config=True)
    finally:
        Singleton.set_state(before)


def _is_group(override: Override) -> bool:
    return override.key_or_group in groups() or "/" in override.key_or_group


def _explain_keys(parsed: list[Override]) -> None:
    """Refuse the first key that the configuration of these groups does not have, with the nearest that it has."""
    try:
        cfg = _compose([o.input_line for o in parsed if _is_group(o) and o.input_line is not None])
    except (HydraException, OmegaConfBaseException) as error:
        raise Refused(_short(error)) from None
    for override in parsed:
        if _is_group(override) or override.is_add():
            continue
        named = [group for group, choices in groups().items() if set(values_of(override)) & set(choices)]
        _require(cfg, override.key_or_group, named)


def _require(cfg: DictConfig, dotted: str, named: list[str]) -> None:
    """``named`` are the groups that have the word's value among their choices: modle=cnn is near model, not mode."""
    node: Any = cfg
    path: list[str] = []
    for part in dotted.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            here = ".".join(path)
            known = (
                [str(key) for key in node if not str(key).startswith(("_", "hydra"))]
                if isinstance(node, DictConfig)
                else []
            )
            known = [".".join([*path, key]) for key in known] + ([] if path else list(groups()))
            where = f"{here} has no key {part}" if here else f"no key or group {dotted}"
            listed = ", ".join(sorted(set(known)))
            # A word without its group, as lr for optimizer.lr, is looked for inside the groups.
            within = leaves(cfg) if not path else []
            inside = [leaf for leaf in within if leaf.rpartition(".")[2] == part]
            found = (not path and near(dotted, named)) or near(part, inside or [*within, *known])
            if (whole := dotted.replace(f"{here}.{part}".strip("."), found or "", 1)) in leaves(cfg):
                found = whole
            hint = f"; did you mean {found}?" if found else ""
            raise Refused(f"{where}{hint}\nThere are: {listed}")
        path.append(part)
        node = node._get_node(part) if OmegaConf.is_missing(node, part) else node[part]


def _check_added(parsed: list[Override]) -> None:
    """A + may add an argument below model, data, …, or a new callback or logger, but no key of its own at the root."""
    known = [*groups(), *_root_keys()]
    for override in parsed:
        root, _, rest = override.key_or_group.partition(".")
        added = override.is_add() or override.is_force_add() and override.key_or_group not in known
        if added and not _is_group(override) and root != "hydra" and (root not in known or not rest):
            also = "" if root in known else nearest(root, known)
            raise Refused(
                f"+{override.key_or_group}: no such key{also}\n+ adds an argument below a group, as +model.NAME"
            )


def complete(cfg: DictConfig) -> None:
    """Replace names by what they stand for, and the paths of a person's own data and runs by whole paths; in place."""
    resolve(cfg)
    for key, group in NAMED.items():
        value = OmegaConf.select(cfg, key)
        if OmegaConf.is_dict(value) and "_target_" in value:
            continue  # a reference to a whole group
        if isinstance(value, ListConfig):
            OmegaConf.update(cfg, key, [_named(key, group, name) for name in value], merge=False)
        elif value is not None:
            OmegaConf.update(cfg, key, _named(key, group, value), merge=False)
    for key in ("data.path", "init_from"):
        path = OmegaConf.select(cfg, key)
        if path is not None:
            if not isinstance(path, str):
                raise Refused(f"{key}={path}: expected the name of a file or folder")
            OmegaConf.update(cfg, key, str(Path(path).expanduser().resolve()))


def _named(key: str, group: str, name: Any) -> Any:
    if OmegaConf.is_dict(name) and "_target_" in name:
        return name
    choices = groups()[group]
    if name not in choices:
        raise Refused(f"{key}: no {group} {name}{nearest(str(name), choices)}\nThere are: {', '.join(choices)}")
    return OmegaConf.load(CONF / group / f"{name}.yaml") or None
