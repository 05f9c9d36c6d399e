"""A configuration as plain values, without secrets and without a second evaluation."""

import os
import re
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcourse.config.groups import CHECKOUT
from dlcourse.errors import Refused

SECRET = re.compile(r"key|token|secret|pass|pwd|credential|auth|cookie|dsn|database_url", re.IGNORECASE)
PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")


def _env(name: str, *default: Any) -> Any:
    """``${oc.env:NAME,default}``, but never a secret: a resolved configuration is written to disk."""
    if SECRET.search(name):
        raise Refused(f"${{oc.env:{name}}} would write a secret into the run directory; leave it in the environment")
    if name in os.environ:
        return os.environ[name]
    if not default:
        raise Refused(f"${{oc.env:{name}}}: the environment variable {name} is not set")
    return default[0]


def _one_kernel(precision: Any, clip: Any) -> bool:
    """Whether an optimizer may update all at once: not where mixed precision must undo its scaling before a clip."""
    return "mixed" not in str(precision) or clip is None


OmegaConf.register_new_resolver("oc.env", _env, replace=True)
for _maker in ("oc.create", "oc.decode"):  # of nodes out of text, which could name a target where none was seen
    OmegaConf.clear_resolver(_maker)
OmegaConf.register_new_resolver("one_kernel", _one_kernel, replace=True)
OmegaConf.register_new_resolver("checkout", lambda name: str(CHECKOUT / name), replace=True)


def _short(error: Exception) -> str:
    """Hydra's own sentence, without the places of its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [
        line[:200] for line in lines if not line.startswith(("full_key", "object_type", "Config search", "provider"))
    ]
    return "\n".join(told[:3]) or repr(error)


def _check_resolved(value: Any, path: str) -> None:
    """An escaped interpolation is text to whoever judges the configuration, and a node to Hydra that builds from it."""
    if isinstance(value, dict):
        for key, part in value.items():
            _check_resolved(key, path)
            _check_resolved(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for k, part in enumerate(value):
            _check_resolved(part, f"{path}.{k}")
    elif isinstance(value, str) and "${" in value:
        raise Refused(f"{path}={value}: an escaped interpolation may not stand here; leave ${{ out")
    elif isinstance(value, str) and PASSWORD.search(value):
        raise Refused(f"{path}: the password of this address would be written down; give it as ~/.pgpass or ~/.my.cnf")


def resolve(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain values. What would be resolved once more when it is built is refused."""
    try:
        tree: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
        _check_resolved(tree, "")
        return tree
    except OmegaConfBaseException as error:
        refusal: BaseException | None = error
        while refusal is not None and not isinstance(refusal, Refused):
            refusal = refusal.__cause__ or refusal.__context__
        raise refusal or Refused(_short(error)) from None
