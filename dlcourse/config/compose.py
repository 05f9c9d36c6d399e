"""From overrides to a configuration: composed, completed, resolved once. Imports neither torch nor lightning."""

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
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcourse.config.explain import check_added, explain_keys, is_group
from dlcourse.config.groups import CONF, LISTS, NAMED, groups, load
from dlcourse.config.overrides import Overrides
from dlcourse.config.resolve import check_resolved, explained, resolve, short_message
from dlcourse.config.suggestions import nearest
from dlcourse.errors import Refused

warnings.filterwarnings("ignore", message="(?s).*validated against ConfigStore schema")  # submitit's, completed by ours
# Where Hydra, once it starts, finds our sweeper and launchers.
sys.path.append(str(Path(__file__).parents[1] / "sweeps"))


class Composed(NamedTuple):
    """A configuration with its interpolations (``cfg``) and as plain values (``tree``), and what it was made from."""

    cfg: DictConfig
    choices: dict[str, str]
    overrides: Overrides
    tree: dict[str, Any]
    multirun: bool = False

    def resolved(self) -> "Composed":
        """The same with the tree of ``cfg`` as it is now: once for a new run, once more where values were changed."""
        return self._replace(tree=resolve(self.cfg))

    def in_directory(self, path: Path | None) -> "Composed":
        """The same with ``run_dir`` set; only the groups that refer to it are resolved again."""
        run_dir = path and str(path)
        self.cfg.run_dir = run_dir
        raw: Any = OmegaConf.to_container(self.cfg, resolve=False)
        again = {key: resolve(self.cfg[key], key) for key, node in raw.items() if "run_dir}" in str(node)}
        return self._replace(tree={**self.tree, **again, "run_dir": run_dir})


def compose(overrides: Overrides) -> Composed:
    """Compose the configuration of one run, whose keys must be there (or be added with +). Its tree is still empty."""
    try:
        cfg = _compose(overrides.words)
    except (HydraException, OmegaConfBaseException) as error:
        explain_keys(overrides, _compose_groups(overrides))
        raise Refused(short_message(error)) from None
    choices = {k: str(v) for k, v in cfg.hydra.runtime.choices.items() if "/" not in k}
    for group in set(LISTS) - set(choices):  # Hydra names no list; each choice of it has a key of its own name
        choices[group] = ",".join(name for name in overrides.groups[group] if name in cfg[group])
    check_added(overrides)
    multirun = str(cfg.hydra.mode).endswith("MULTIRUN")
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return Composed(cfg, choices, overrides, {}, multirun)


def _compose(words: Sequence[str]) -> DictConfig:
    before = Singleton.get_state()  # a multirun's own Hydra, which composes no further
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF), job_name="train"):
            return hydra_compose("config", list(words), return_hydra_config=True)
    finally:
        Singleton.set_state(before)


def _compose_groups(overrides: Overrides) -> DictConfig:
    try:
        return _compose(
            [str(override.input_line) for override in overrides.parsed if is_group(override, overrides.groups)]
        )
    except (HydraException, OmegaConfBaseException) as error:
        raise Refused(short_message(error)) from None


def complete(cfg: DictConfig, folders: Sequence[Path] = ()) -> None:
    """Replace names by what they stand for, and the paths of a person's own data and runs by whole paths; in place.

    ``folders``: the config folders of one's own.
    """
    with explained():
        for key, group in NAMED.items():
            value = OmegaConf.select(cfg, key)
            if OmegaConf.is_dict(value) and "_target_" in value:
                continue  # a reference to a whole group
            if isinstance(value, ListConfig):
                OmegaConf.update(cfg, key, [_named(key, group, name, folders) for name in value], merge=False)
            elif value is not None:
                OmegaConf.update(cfg, key, _named(key, group, value, folders), merge=False)
        for key in ("data.path", "init_from", "model.weights"):
            path = OmegaConf.select(cfg, key)
            named = key == "model.weights" and str(path).isidentifier()  # weights of torchvision, no file
            if path is not None and not named:
                if not isinstance(path, str):
                    raise Refused(f"{key}={path}: expected the name of a file or folder")
                check_resolved(path, key)  # text with ${ would be evaluated once it is written back
                OmegaConf.update(cfg, key, str(Path(path).expanduser().resolve()))


def _named(key: str, group: str, name: Any, folders: Sequence[Path]) -> Any:
    if OmegaConf.is_dict(name) and "_target_" in name:
        return name
    check_resolved(name, key)
    choices = groups(folders)[group]
    if name not in choices:
        raise Refused(f"{key}: no {group} {name}{nearest(str(name), choices)}\nThere are: {', '.join(choices)}")
    return load(group, name, folders) or None
