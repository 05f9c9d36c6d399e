"""The run that a command describes: a new one, or one that is there and whose training is continued."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from dlcourse.config.compose import Composed
from dlcourse.config.explain import leaves
from dlcourse.config.gate import check_classes, check_targets, compose_checked
from dlcourse.config.overrides import Overrides
from dlcourse.config.rules import check_rules
from dlcourse.config.suggestions import nearest
from dlcourse.errors import Refused
from dlcourse.runs.directory import load_checked
from dlcourse.runs.files import read_overrides

#: What a resume may make longer without being asked by name.
LENGTHS = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time")
#: Keys of a command that say how to resume, and no value of the run.
NOT_THE_RUNS = ("resume_changed", "allow", "debug.traceback")


def new_or_resumed_run(overrides: Overrides, defaults: Sequence[str] = ()) -> tuple[Composed, Path | None]:
    """The run that overrides describe: a new one, or one to be continued in its directory.

    ``defaults`` are words that a new run begins with.
    """
    resume = overrides.get("resume")
    found = resumed_run(overrides) if resume is not None and resume.value() is not None else None
    return found or (compose_checked(overrides.after(*defaults)), None)


def resumed_run(overrides: Overrides) -> tuple[Composed, Path] | None:
    """The run that ``resume=`` names, with the overrides that may change it; None where ``resume=auto`` finds no run.

    An override that repeats what the run already has changes nothing. With ``auto`` the words that the run was started
    with come again at each start, so they change nothing either, whatever a resume has made longer since.
    """
    given = {str(override.key_or_group): override for override in overrides.parsed}
    for override in given.values():
        if override.key_or_group in ("resume", "run_dir") and override.is_sweep_override():
            raise Refused(f"{override.input_line}: a resume is of one run")
    named = str(given.pop("resume").value())
    auto = named == "auto"
    if auto:
        if "run_dir" not in given:
            raise Refused("resume=auto continues run_dir=X: name the directory")
        named = str(given.pop("run_dir").value())
        if not (Path(named).expanduser() / "config.yaml").is_file():
            return None
    path, composed = load_checked(named, overrides, "resume")
    for override in given.values():
        if override.is_delete() or override.is_sweep_override():
            raise Refused(f"{override.input_line}: a resume takes key=value, one value each")
    told = read_overrides(path)
    _drop_pruning(composed.cfg, given)
    repeated = told if auto else []
    changes = [each for key, each in given.items() if key not in NOT_THE_RUNS and each.input_line not in repeated]
    more, longer = _change(composed.cfg, changes, given.get("resume_changed"), named)
    if (path / "metrics.json").exists() and not longer:
        raise Refused(f"{named} is finished; to continue it, set a longer trainer.max_epochs (or max_steps, max_time)")
    if (path / "metrics.json").exists() and not (path / "checkpoints" / "last.ckpt").exists():
        raise Refused(
            f"{named} has no last.ckpt (it was trained together with others); init_from={named} takes its weights"
        )
    composed = composed.resolved()._replace(overrides=overrides.recorded_as([*told, *more]))
    check_targets(composed.tree, overrides.packages)
    check_rules(composed.cfg, composed.choices)
    if longer:
        check_classes(composed.tree["scheduler"], overrides.packages)
        _check_schedule(composed)
    return composed, path


def _drop_pruning(cfg: DictConfig, given: Mapping[str, Override]) -> None:
    """Only a search reports to a study, and says so in its words; the database that a file names is not opened."""
    for name, node in list(cfg.callbacks.items()):
        reports = OmegaConf.is_dict(node) and str(node.get("_target_", "")).startswith("dlcourse.callbacks.pruning.")
        if reports and not any(key.startswith(f"callbacks.{name}.") for key in given):
            del cfg.callbacks[name]


def _change(
    cfg: DictConfig, overrides: Iterable[Override], listed: Override | None, named: str
) -> tuple[list[str], bool]:
    """Set the values that a resume may change; the words that changed one, and whether the training became longer."""
    value: Any = listed.value() if listed is not None else []
    allowed = {str(key) for key in (value if isinstance(value, list) else [value])}
    longer, more = False, []
    for override in overrides:
        key = str(override.key_or_group)
        new, old = override.value(), OmegaConf.select(cfg, key, default=cfg)
        if key in cfg.choice and cfg.choice[key] == new or old is not cfg and old == new:
            continue
        if old is cfg or key not in {*LENGTHS, *allowed} or OmegaConf.is_config(old):
            near = nearest(key, leaves(cfg)) if old is cfg else ""
            raise Refused(
                f"{override.input_line} would change the run {named}; resume continues it as it was{near}\n"
                f"A value: resume_changed=[{key}]; another group: a new run with init_from={named}"
            )
        if key not in allowed and not is_longer(new, old):
            had = "the run has no limit there" if old in (-1, None) else f"that is less than the run's {old}"
            raise Refused(f"{key}={new}: {had}; if it is meant: resume_changed=[{key}]")
        longer = longer or key in LENGTHS and is_longer(new, old)
        OmegaConf.update(cfg, key, new)
        more.append(str(override.input_line))
    return more, longer


def is_longer(new: Any, old: Any) -> bool:
    """Whether a limit is further away than before; -1 and null are no limit. Other text is left to check_rules."""
    if new in (-1, None) or old in (-1, None):
        return new in (-1, None) and old not in (-1, None)
    try:
        return _length(new) > _length(old)
    except (TypeError, ValueError):
        return True


def _length(limit: Any) -> float:
    """A limit as a number: of steps or epochs, or the seconds of days:hours:minutes:seconds."""
    days, hours, minutes, seconds = [0, 0, 0, limit] if not isinstance(limit, str) else map(int, limit.split(":"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _check_schedule(composed: Composed) -> None:
    from hydra.utils import instantiate

    from dlcourse.schedulers import depends_on_total

    if depends_on_total(instantiate(composed.tree["scheduler"])):
        raise Refused(
            f"scheduler={composed.choices['scheduler']} was laid out for the run's first length; a longer run is "
            "another run (init_from=RUN), or choose scheduler=constant, step or plateau from the start"
        )
