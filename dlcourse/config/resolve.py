"""Resolves a configuration to plain values; refuses secrets, and text that would be evaluated a second time."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcourse.config.groups import CHECKOUT
from dlcourse.errors import Refused

SECRET = re.compile(r"key|token|secret|pass|pwd|credential|auth|cookie|dsn|database_url", re.IGNORECASE)
PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")


def _env(name: str, *default: Any) -> Any:
    """``${oc.env:NAME,default}``; refuses secrets, since the resolved configuration is written to disk."""
    if SECRET.search(name):
        raise Refused(f"${{oc.env:{name}}} would write a secret into the run directory; leave it in the environment")
    if name in os.environ:
        return os.environ[name]
    if not default:
        raise Refused(f"${{oc.env:{name}}}: the environment variable {name} is not set")
    return default[0]


def _one_kernel(precision: Any, clip: Any) -> bool:
    """Whether the optimizer may be fused: not if mixed precision must unscale the gradients before they are clipped."""
    return "mixed" not in str(precision) or clip is None


OmegaConf.register_new_resolver("oc.env", _env, replace=True)
for _maker in ("oc.create", "oc.decode"):  # they make nodes from text, whose targets the gate would not see
    OmegaConf.clear_resolver(_maker)
OmegaConf.register_new_resolver("product", lambda shape: prod(shape), replace=True)
OmegaConf.register_new_resolver(
    "if_set", lambda value, then, otherwise: otherwise if value is None else then, replace=True
)
OmegaConf.register_new_resolver("one_kernel", _one_kernel, replace=True)
OmegaConf.register_new_resolver("checkout", lambda name: str(CHECKOUT / name), replace=True)


def short_message(error: Exception) -> str:
    """Hydra's message in at most three lines, without its internal positions."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [
        line[:200] for line in lines if not line.startswith(("full_key", "object_type", "Config search", "provider"))
    ]
    return "\n".join(told[:3]) or repr(error)


def check_resolved(value: Any, path: str) -> None:
    """Refuse an escaped interpolation, which Hydra would evaluate after the checks, and a password in an address."""
    if isinstance(value, dict):
        for key, part in value.items():
            check_resolved(key, path)
            check_resolved(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for k, part in enumerate(value):
            check_resolved(part, f"{path}.{k}")
    elif isinstance(value, str) and "${" in value:
        raise Refused(f"{path}={value}: escaped interpolations are not allowed; leave ${{ out")
    elif isinstance(value, str) and PASSWORD.search(value):
        raise Refused(f"{path}: the password in this address would be written to disk; use ~/.pgpass or ~/.my.cnf")


def resolve(cfg: DictConfig, path: str = "") -> dict[str, Any]:
    """The configuration, or its node at ``path``, as plain values. Raises Refused (2), see `check_resolved`."""
    with explained():
        tree: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
        check_resolved(tree, path)
        return tree


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error of OmegaConf into a refusal, or into the one that a resolver of ours raised inside it."""
    try:
        yield
    except OmegaConfBaseException as error:
        refusal: BaseException | None = error
        while refusal is not None and not isinstance(refusal, Refused):
            refusal = refusal.__cause__ or refusal.__context__
        raise refusal or Refused(short_message(error)) from None
