"""From words to a checked configuration: compose, complete, store, explain. Imports neither torch nor lightning."""

import difflib
import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcourse.errors import Refused

warnings.filterwarnings("ignore", message="(?s).*validated against ConfigStore schema")  # submitit's, completed by ours
CHECKOUT = Path(__file__).resolve().parent.parent
CONF = CHECKOUT / "conf"
sys.path.append(str(Path(__file__).parent / "sweeps"))  # where Hydra, once it starts, finds our sweeper and launchers
SECRET = re.compile(r"key|token|secret|pass|pwd|credential|auth|cookie|dsn|database_url", re.IGNORECASE)
PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")
#: Keys whose plain names the config layer replaces by the file of that name in a group.
NAMED = {"model.activation": "activation", "data.augment": "augment"}
#: What a stored configuration keeps as a reference, so that a run directory can move and a word can be set in it.
KEPT = re.compile(r"^\$\{(loss|optimizer|scheduler|init|activation|monitor|mode|seed|run_dir)\}$|\$\{(paths\.|run_dir)")


class Composed(NamedTuple):
    """A configuration, and how it came about."""

    cfg: DictConfig
    choices: dict[str, str]
    words: list[str]
    multirun: bool = False
    allowed: Sequence[str] = ()  # packages that the person at the keyboard allows


def _env(name: str, *default: Any) -> Any:
    """``${oc.env:NAME,default}``, but never a secret: a resolved configuration is written to disk."""
    if SECRET.search(name):
        raise Refused(f"${{oc.env:{name}}} would write a secret into the run directory; leave it in the environment")
    if name in os.environ:
        return os.environ[name]
    if not default:
        raise Refused(f"${{oc.env:{name}}}: the environment variable {name} is not set")
    return default[0]


OmegaConf.register_new_resolver("oc.env", _env, replace=True)
for _maker in ("oc.create", "oc.decode"):  # of nodes out of text, which could name a target where none was seen
    OmegaConf.clear_resolver(_maker)


def _one_kernel(precision: Any, clip: Any) -> bool:
    """Whether an optimizer may update all at once: not where mixed precision must undo its scaling before a clip."""
    return "mixed" not in str(precision) or clip is None


OmegaConf.register_new_resolver("one_kernel", _one_kernel, replace=True)
OmegaConf.register_new_resolver("checkout", lambda name: str(CHECKOUT / name), replace=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """«; did you mean …?», or nothing."""
    found = near(word, known)
    return f"; did you mean {found}?" if found else ""


def near(word: str, known: Iterable[str]) -> str | None:
    """The name that may have been meant. Names are compared by their last part; lr is near learning_rate."""

    def initials(name: str) -> str:
        return "".join(part[:1] for part in name.split("_")) if "_" in name else ""

    last = {name.rpartition(".")[2]: name for name in known}
    word = word.rpartition(".")[2]
    close = [name for name in last if name == word or name == initials(word) or initials(name) == word]
    close = close or [name for name in last if word and name.startswith(word)]
    close = close or difflib.get_close_matches(word, list(last), n=1, cutoff=0.5)
    return last[close[0]] if close else None


def leaves(node: Any, path: str = "") -> list[str]:
    """The dotted names of all values of a configuration."""
    if not isinstance(node, DictConfig):
        return [path]
    names = [str(key) for key in node if not str(key).startswith("_")]
    return [leaf for key in names for leaf in leaves(node._get_node(key), f"{path}.{key}" if path else key)]


def groups() -> dict[str, list[str]]:
    """The groups of conf/ and their choices."""
    if not CONF.is_dir():
        raise Refused(f"no conf/ beside the package ({CONF}): install dlcourse from a checkout with pip install -e .")
    found: dict[str, list[str]] = {}
    for path in sorted(CONF.rglob("*/*.yaml")):
        found.setdefault(path.parent.relative_to(CONF).as_posix(), []).append(path.stem)
    return found


def parse(words: list[str]) -> list[Override]:
    """The words of a command line, their syntax, groups and choices checked."""
    parsed = []
    for word in words:
        shown = word if word.isprintable() else repr(word)
        if word != word.encode("utf-8", "replace").decode():  # W&B keeps a command line as UTF-8 only
            raise Refused(f"{shown}: it is no UTF-8; give the file or folder that it names another name")
        if "=" not in word and not word.startswith("~"):
            raise Refused(f"{shown}: expected key=value or group=choice, without spaces (python train.py --help)")
        try:
            parsed.append(OverridesParser.create().parse_override(word))
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise Refused(
                f"{shown}: {reason}\nNo spaces around =, and quotes around commas and brackets: 'model.hidden=[64,32]'"
            ) from None
    known = groups()
    for override in parsed:
        key = override.key_or_group
        if not key or override.is_delete() and key in (*known, *_root_keys()):
            raise Refused(f"{override.input_line}: every run has one; choose another, as {key or 'key'}=…")
        if key in known and not override.is_delete() and override.package is None:
            _check_choices(override, key, known[key])
            if key == NAMED["data.augment"]:
                raise Refused(
                    f"{override.input_line}: augmentation belongs to the data; write data.{override.input_line}"
                )
    return parsed


def word(key: str, text: object) -> str:
    """``key=text`` as a word, whatever characters the text has."""
    quoted = str(text).replace("'", "\\'")
    return f"{key}='{quoted}'"


def values_of(override: Override) -> list[str]:
    """The values that a word names: one, or all those of a sweep; none where it deletes."""
    if override.is_delete():
        return []
    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        return [str(value.start), str(value.end)]
    if isinstance(value, Glob):
        return value.filter(groups().get(override.key_or_group, []))
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    return [override.get_value_string()]


def plain(text: str) -> Any:
    """A number as a number; any other word as it is written."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _check_choices(override: Override, group: str, choices: list[str]) -> None:
    for value in [override.value()] if not override.is_sweep_override() else values_of(override):
        if isinstance(value, list):
            word = "'model.activation=[relu,tanh]'" if group == "activation" else f"{group}={choices[0]}"
            raise Refused(f"{group} takes one choice, not a list; write {word}")
        if str(value) not in choices:
            listed = ", ".join(choices)
            raise Refused(f"no {group}={value}{nearest(str(value), choices)}\nThere are: {listed}")


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


def _root_keys() -> list[str]:
    return [str(key) for key in OmegaConf.load(CONF / "config.yaml") if key not in ("defaults", "hydra")]


def _short(error: Exception) -> str:
    """Hydra's own sentence, without the places of its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [
        line[:200] for line in lines if not line.startswith(("full_key", "object_type", "Config search", "provider"))
    ]
    return "\n".join(told[:3]) or repr(error)


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
