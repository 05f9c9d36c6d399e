"""The run that a command describes: a new one, or an existing one to be resumed."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from dlcourse.config.compose import Composed, leaves
from dlcourse.config.gate import check, check_classes, compose_checked
from dlcourse.config.overrides import Overrides, as_list
from dlcourse.config.suggestions import nearest
from dlcourse.errors import Refused
from dlcourse.runs.directory import load_checked
from dlcourse.runs.files import read_overrides

#: Limits that a resume may extend without ``resume_changed``.
LIMITS = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time")
#: Keys of a resume command that do not change the run.
COMMAND_KEYS = ("resume_changed", "allow", "debug.traceback")


def new_or_resumed_run(overrides: Overrides, defaults: Sequence[str] = ()) -> tuple[Composed, Path | None]:
    """The run that overrides describe: a new one, or one to be resumed in its directory.

    ``defaults``: overrides placed before those of a new run.
    """
    resume = overrides.get("resume")
    found = resumed_run(overrides) if resume is not None and resume.value() is not None else None
    return found or (compose_checked(overrides.after(*defaults)), None)


def resumed_run(overrides: Overrides) -> tuple[Composed, Path] | None:
    """The run that ``resume=`` names, with the overrides that may change it; None where ``resume=auto`` finds no run.

    An override that repeats a value of the run changes nothing. With ``auto`` every start repeats the overrides of the
    first one, so they change nothing either, even if a resume has extended the run since.
    """
    by_key = {str(override.key_or_group): override for override in overrides.parsed}
    for override in by_key.values():
        if override.key_or_group in ("resume", "run_dir") and override.is_sweep_override():
            raise Refused(f"{override.input_line}: only a single run can be resumed")
    run_name = str(by_key.pop("resume").value())
    auto = run_name == "auto"
    if auto:
        if "run_dir" not in by_key:
            raise Refused("resume=auto continues run_dir=X: set the directory")
        run_name = str(by_key.pop("run_dir").value())
        if not (Path(run_name).expanduser() / "config.yaml").is_file():
            return None
    path, composed = load_checked(run_name, overrides, "resume")
    for override in by_key.values():
        if override.is_delete() or override.is_sweep_override():
            raise Refused(f"{override.input_line}: resume takes key=value with a single value")
    original = read_overrides(path)
    _drop_pruning(composed.cfg, by_key)
    repeated = original if auto else []
    changes = [each for key, each in by_key.items() if key not in COMMAND_KEYS and each.input_line not in repeated]
    applied, longer = _apply_changes(composed.cfg, changes, by_key.get("resume_changed"), run_name)
    if (path / "metrics.json").exists() and not longer:
        raise Refused(
            f"{run_name} is finished; to continue it, set a longer trainer.max_epochs (or max_steps, max_time)"
        )
    if (path / "metrics.json").exists() and not (path / "checkpoints" / "last.ckpt").exists():
        raise Refused(
            f"{run_name} has no last.ckpt (it was trained together with others); init_from={run_name} takes its weights"
        )
    composed = check(composed._replace(overrides=Overrides(overrides.parsed, [*original, *applied])))
    if longer:
        from dlcourse.schedulers import depends_on_total

        check_classes(composed.tree["scheduler"], overrides.packages)
        if depends_on_total(instantiate(composed.tree["scheduler"])):
            raise Refused(
                f"scheduler={composed.choices['scheduler']} depends on the length of the run; a longer run is "
                "a new run (init_from=RUN), or choose scheduler=constant, step or plateau from the start"
            )
    return composed, path


def _drop_pruning(cfg: DictConfig, by_key: Mapping[str, Override]) -> None:
    """Drop callbacks that report to a study, unless a search sets them: a database named in a file is not opened."""
    for name, node in list(cfg.callbacks.items()):
        is_pruning = OmegaConf.is_dict(node) and str(node.get("_target_", "")).startswith("dlcourse.callbacks.pruning.")
        if is_pruning and not any(key.startswith(f"callbacks.{name}.") for key in by_key):
            del cfg.callbacks[name]


def _apply_changes(
    cfg: DictConfig, overrides: Iterable[Override], resume_changed: Override | None, run_name: str
) -> tuple[list[str], bool]:
    """Set the values that a resume may change; returns the overrides that did, and whether training became longer."""
    allowed = set(map(str, as_list(resume_changed.value()))) if resume_changed is not None else set()
    longer, applied = False, []
    for override in overrides:
        key = str(override.key_or_group)
        new_value, old_value = override.value(), OmegaConf.select(cfg, key, default=cfg)
        same_choice = key in cfg.choice and {*cfg.choice[key].split(",")} == {*map(str, as_list(new_value))}
        if same_choice or old_value is not cfg and old_value == new_value:
            continue
        if old_value is cfg or key not in {*LIMITS, *allowed} or OmegaConf.is_dict(old_value):
            suggestion = nearest(key, leaves(cfg)) if old_value is cfg else ""
            raise Refused(
                f"{override.input_line} would change the run {run_name}; resume continues it as it was{suggestion}\n"
                f"A value: resume_changed=[{key}]; another group: a new run with init_from={run_name}"
            )
        if key not in allowed and not is_longer(new_value, old_value):
            reason = (
                "the run has no limit there" if old_value in (-1, None) else f"that is less than the run's {old_value}"
            )
            raise Refused(f"{key}={new_value}: {reason}; if you mean it: resume_changed=[{key}]")
        if key == "optimizer.weight_decay" and not (new_value and old_value):
            raise Refused(f"{key}={new_value}: from or to 0 needs a new run, init_from={run_name}: other weights decay")
        longer = longer or key in LIMITS and is_longer(new_value, old_value)
        OmegaConf.update(cfg, key, new_value)
        applied.append(str(override.input_line))
    return applied, longer


def is_longer(new_value: Any, old_value: Any) -> bool:
    """Whether a limit is larger than before; -1 and null are no limit. Invalid text is left to check_rules."""
    if new_value in (-1, None) or old_value in (-1, None):
        return new_value in (-1, None) and old_value not in (-1, None)
    try:
        return _length(new_value) > _length(old_value)
    except (TypeError, ValueError):
        return True


def _length(limit: Any) -> float:
    """A limit as a number: steps or epochs, or the seconds of days:hours:minutes:seconds."""
    days, hours, minutes, seconds = [0, 0, 0, limit] if not isinstance(limit, str) else map(int, limit.split(":"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
