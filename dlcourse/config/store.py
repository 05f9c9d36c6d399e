"""The configuration that a run directory stores."""

import re
from typing import Any

from omegaconf import OmegaConf

from dlcourse.config.compose import Composed

#: Interpolations that a stored configuration keeps, so that a run directory can move and a resume can set a value.
KEPT = re.compile(r"^\$\{(loss|optimizer|scheduler|init|activation|monitor|mode|seed|run_dir)\}$|\$\{(paths\.|run_dir)")


def stored(composed: Composed) -> dict[str, Any]:
    """The configuration to store: resolved, except for paths and references to whole groups."""

    def walk(raw: Any, resolved: Any) -> Any:
        if isinstance(raw, str) and KEPT.search(raw):
            return raw
        if isinstance(raw, dict) and isinstance(resolved, dict):
            return {key: walk(raw[key], resolved[key]) for key in raw}
        if isinstance(raw, list) and isinstance(resolved, list):
            return [walk(a, b) for a, b in zip(raw, resolved, strict=True)]
        return resolved

    raw: Any = OmegaConf.to_container(composed.cfg, resolve=False)
    own = {"paths": raw["paths"], "run_dir": None, "allow": [], "choice": composed.choices}
    return walk(raw, composed.tree) | own
