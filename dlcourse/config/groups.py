"""The checkout, and the groups of conf/ with their choices."""

from pathlib import Path

from omegaconf import OmegaConf

from dlcourse.errors import Refused

CHECKOUT = Path(__file__).resolve().parents[2]
CONF = CHECKOUT / "conf"
#: Groups of which a run may take several choices at once; every file of theirs has keys of its own.
LISTS = ("logger", "metrics")
#: Keys whose plain names the config layer replaces by the file of that name in a group.
NAMED = {"model.activation": "activation", "data.augment": "augment"}


def groups() -> dict[str, list[str]]:
    """The groups of conf/ and their choices."""
    if not CONF.is_dir():
        raise Refused(f"no conf/ beside the package ({CONF}): install dlcourse from a checkout with pip install -e .")
    found: dict[str, list[str]] = {}
    for path in sorted(CONF.rglob("*/*.yaml")):
        found.setdefault(path.parent.relative_to(CONF).as_posix(), []).append(path.stem)
    return found


def root_keys() -> list[str]:
    """The keys of config.yaml that belong to no group."""
    return [str(key) for key in OmegaConf.load(CONF / "config.yaml") if key not in ("defaults", "hydra")]
