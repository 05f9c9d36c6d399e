"""The groups of conf/ and their choices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import yaml
from omegaconf import OmegaConf

from dlcourse.errors import Refused

CHECKOUT = Path(__file__).resolve().parents[2]
CONF = CHECKOUT / "conf"
#: Groups of which a run may take several choices; each file of theirs sets a key of its own.
LISTS = ("logger", "metrics")
#: Keys that take names, and the group of the files that replace the names.
NAMED = {"model.activation": "activation", "data.augment": "augment"}


def groups(folders: Sequence[Path] = ()) -> dict[str, list[str]]:
    """The groups of conf/ and of a person's own config ``folders``, with their choices."""
    if not CONF.is_dir():
        raise Refused(f"no conf/ beside the package ({CONF}): install dlcourse from a checkout with pip install -e .")
    found: dict[str, list[str]] = {}
    for folder in (CONF, *folders):
        for path in sorted([*folder.glob("*/*.yaml"), *folder.glob("*/*/*.yaml")]):
            choices = found.setdefault(path.parent.relative_to(folder).as_posix(), [])
            if path.stem not in choices:
                choices.append(path.stem)
    return found


def load(group: str, name: str, folders: Sequence[Path] = ()) -> Any:
    """The file of a choice, from conf/ or from a person's own config folders."""
    path = next(path for folder in (CONF, *folders) if (path := folder / group / f"{name}.yaml").is_file())
    return OmegaConf.load(path)


def has_target(node: Any) -> bool:
    """Whether a node of a configuration describes an object to be built."""
    return OmegaConf.is_dict(node) and "_target_" in node


def root_keys() -> list[str]:
    """The keys of config.yaml that belong to no group."""
    return [str(key) for key in _root() if key not in ("defaults", "hydra")]


def help_text(found: Mapping[str, Sequence[str]]) -> str:
    """What ``--help`` prints: the template of config.yaml with groups and choices.

    Hydra would fill it in as well, but looks for every group twice, which takes most of half a second.
    """
    listed = [f"{group}: {', '.join(sorted(found[group]))}" for group in sorted(found) if "/" not in group]
    return Template(_root()["hydra"]["help"]["template"]).substitute(APP_CONFIG_GROUPS="\n".join(listed))


def _root() -> dict[str, Any]:
    # OmegaConf's own loader is ten times slower, and every command reads this twice.
    found: dict[str, Any] = yaml.load(
        (CONF / "config.yaml").read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return found
