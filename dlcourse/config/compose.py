"""Composes, completes and resolves the configuration of overrides. Imports neither torch nor lightning."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcourse.config.explain import check_added, explain_keys
from dlcourse.config.groups import CONF, LISTS, NAMED, groups, has_target, load
from dlcourse.config.overrides import Overrides
from dlcourse.config.resolve import check_resolved, explained, resolve, short_message
from dlcourse.config.suggestions import nearest
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
        groups_only = [str(each.input_line) for each in overrides.parsed if overrides.is_group(each)]
        explain_keys(overrides, _compose(groups_only))
        raise
    choices = {k: str(v) for k, v in cfg.hydra.runtime.choices.items() if "/" not in k}
    for group in set(LISTS) - set(choices):  # Hydra records no lists; each choice sets a key of its name
        choices[group] = ",".join(name for name in overrides.groups[group] if name in cfg[group])
    check_added(overrides)
    multirun = str(cfg.hydra.mode).endswith("MULTIRUN")
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return Composed(cfg, choices, overrides, {}, multirun)


def _compose(words: Sequence[str]) -> DictConfig:
    before = Singleton.get_state()  # in a multirun, Hydra is initialised already
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF), job_name="train"):
            return hydra_compose("config", list(words), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise Refused(short_message(error)) from None
    finally:
        Singleton.set_state(before)


def complete(cfg: DictConfig, folders: Sequence[Path] = ()) -> None:
    """Replace names of activations and augmentations by their files, and relative paths by absolute ones; in place.

    ``folders``: the user's own config folders.
    """
    with explained():
        for key, group in NAMED.items():
            value = OmegaConf.select(cfg, key)
            if value is None or has_target(value):
                continue  # a reference to a whole group
            if OmegaConf.is_list(value):
                named: Any = [_named(key, group, name, folders) for name in value]
            else:
                named = _named(key, group, value, folders)
            OmegaConf.update(cfg, key, named, merge=False)
        for key in ("data.path", "init_from", "model.weights"):
            path = OmegaConf.select(cfg, key)
            of_torchvision = key == "model.weights" and str(path).isidentifier()  # the name of weights, not a file
            if path is not None and not of_torchvision:
                if not isinstance(path, str):
                    raise Refused(f"{key}={path}: expected the name of a file or folder")
                check_resolved(path, key)  # update would evaluate ${
                OmegaConf.update(cfg, key, str(Path(path).expanduser().resolve()))


def _named(key: str, group: str, name: Any, folders: Sequence[Path]) -> Any:
    if has_target(name):
        return name
    check_resolved(name, key)
    choices = groups(folders)[group]
    if name not in choices:
        raise Refused(f"{key}: no {group} {name}{nearest(str(name), choices)}\nThere are: {', '.join(choices)}")
    return load(group, name, folders) or None
