"""Resolves a configuration to plain values; refuses secrets, and text that would be evaluated a second time."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

from hydra.errors import HydraException
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


for _maker in ("oc.create", "oc.decode"):  # they make nodes from text, whose targets the gate would not see
    OmegaConf.clear_resolver(_maker)
_register = partial(OmegaConf.register_new_resolver, replace=True)
_register("oc.env", _env)
_register("product", lambda shape: prod(shape))
_register("smaller", lambda shape, factor: [shape[0], *(side // factor for side in shape[1:])] if factor else [])
_register("sum", lambda *numbers: sum(numbers))
_register("if_set", lambda value, then, otherwise: otherwise if value is None else then)
# Whether the optimizer may be fused: not if mixed precision must unscale the gradients before they are clipped.
_register("one_kernel", lambda precision, clip: "mixed" not in str(precision) or clip is None)
_register("checkout", lambda name: str(CHECKOUT / name))


def short_message(error: Exception) -> str:
    """Hydra's message in at most three lines, without its internal positions."""
    lines = [line.strip()[:200] for line in str(error).splitlines()]
    internal = ("full_key", "object_type", "Config search", "provider")
    return "\n".join([line for line in lines if line and not line.startswith(internal)][:3]) or repr(error)


def nodes(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """A tree of plain values, and all that is inside it, each with its path."""
    yield path, tree
    items = tree.items() if isinstance(tree, dict) else enumerate(tree if isinstance(tree, list) else ())
    for key, value in items:
        yield from nodes(value, f"{path}.{key}" if path else str(key))


def check_resolved(value: Any, path: str) -> None:
    """Refuse an escaped interpolation, which Hydra would evaluate after the checks, and a password in an address."""
    for key, node in nodes(value, path):
        texts = node if isinstance(node, dict) else [node]
        for text in (text for text in texts if isinstance(text, str)):
            if "${" in text:
                raise Refused(f"{key}={text}: escaped interpolations are not allowed; leave ${{ out")
            if PASSWORD.search(text):
                raise Refused(
                    f"{key}: the password in this address would be written to disk; use ~/.pgpass or ~/.my.cnf"
                )


def resolve(cfg: DictConfig, path: str = "") -> dict[str, Any]:
    """The configuration, or its node at ``path``, as plain values. Raises Refused (2), see `check_resolved`."""
    with explained():
        tree: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
        check_resolved(tree, path)
        return tree


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error of Hydra or OmegaConf into a refusal, or into the one that a resolver of ours raised inside it."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        refusal: BaseException | None = error
        while refusal is not None and not isinstance(refusal, Refused):
            refusal = refusal.__cause__ or refusal.__context__
        raise refusal or Refused(short_message(error)) from None
