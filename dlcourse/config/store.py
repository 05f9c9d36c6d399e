"""A configuration as a run directory keeps it."""

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcourse.config.resolve import resolve

#: What a stored configuration keeps as a reference, so that a run directory can move and a word can be set in it.
KEPT = re.compile(r"^\$\{(loss|optimizer|scheduler|init|activation|monitor|mode|seed|run_dir)\}$|\$\{(paths\.|run_dir)")


def stored(cfg: DictConfig, choices: dict[str, str]) -> dict[str, Any]:
    """The configuration as a run directory keeps it: resolved, but for whole groups said once, and paths."""

    def walk(raw: Any, resolved: Any) -> Any:
        if isinstance(raw, str) and KEPT.search(raw):
            return raw
        if isinstance(raw, dict) and isinstance(resolved, dict):
            return {key: walk(raw[key], resolved[key]) for key in raw}
        if isinstance(raw, list) and isinstance(resolved, list):
            return [walk(a, b) for a, b in zip(raw, resolved, strict=True)]
        return resolved

    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    kept: dict[str, Any] = walk(raw, resolve(cfg))
    kept["paths"] = raw["paths"]
    kept.update(run_dir=None, allow=[], choice=choices)
    return kept
