"""A run that is there already: its model and data again, its weights as a start, its training continued."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcourse.config.compose import Composed, leaves
from dlcourse.config.gate import admit, allowed_packages, inspect_targets, judge, permit
from dlcourse.config.overrides import nearest, parse
from dlcourse.config.resolve import resolve
from dlcourse.errors import Refused
from dlcourse.runs.directory import opened

#: What a resume may make longer without being asked by name.
LENGTHS = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time")


def continuation(words: list[str]) -> tuple[Composed, Path] | None:
    """The run that ``resume=`` names, with the words that may change it; None where ``resume=auto`` finds no run.

    A word that says what the run is already changes nothing. With ``auto`` the words that the run was begun with come
    again at each start, so they change nothing either, whatever a resume has made longer since.
    """
    given = {override.key_or_group: override for override in parse(words)}
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
    packages = allowed_packages(words)
    path, cfg = opened(named, packages, "resume")
    told = list(OmegaConf.load(path / "overrides.yaml")) if (path / "overrides.yaml").is_file() else []
    for name, node in list(cfg.callbacks.items()):  # only a search, which says so, is reported to: no file's database
        reports = OmegaConf.is_dict(node) and str(node.get("_target_", "")).startswith("dlcourse.callbacks.pruning.")
        if reports and not any(key.startswith(f"callbacks.{name}.") for key in given):
            del cfg.callbacks[name]
    changed: Any = given["resume_changed"].value() if "resume_changed" in given else []
    allowed = {str(key) for key in (changed if isinstance(changed, list) else [changed])}
    longer, more = False, []
    for key, override in given.items():
        if override.is_delete() or override.is_sweep_override():
            raise Refused(f"{override.input_line}: a resume takes key=value, one value each")
        if key in ("resume_changed", "allow", "debug.traceback") or auto and override.input_line in told:
            continue
        new, old = override.value(), OmegaConf.select(cfg, key, default=cfg)
        if key in cfg.choice and cfg.choice[key] == new or old is not cfg and old == new:
            continue
        if old is cfg or key not in {*LENGTHS, *allowed} or OmegaConf.is_config(old):
            near = nearest(key, leaves(cfg)) if old is cfg else ""
            raise Refused(
                f"{override.input_line} would change the run {named}; resume continues it as it was{near}\n"
                f"A value: resume_changed=[{key}]; another group: a new run with init_from={named}"
            )
        if key not in allowed and not _is_longer(new, old):
            had = "the run has no limit there" if old in (-1, None) else f"that is less than the run's {old}"
            raise Refused(f"{key}={new}: {had}; if it is meant: resume_changed=[{key}]")
        longer = longer or key in LENGTHS and _is_longer(new, old)
        OmegaConf.update(cfg, key, new)
        more.append(str(override.input_line))
    if (path / "metrics.json").exists() and not longer:
        raise Refused(f"{named} is finished; to go on, say a longer trainer.max_epochs (or max_steps, max_time)")
    if (path / "metrics.json").exists() and not (path / "checkpoints" / "last.ckpt").exists():
        raise Refused(
            f"{named} has no last.ckpt (it was trained together with others); init_from={named} takes its weights"
        )
    permit(resolve(cfg), packages)
    judge(cfg, dict(cfg.choice))
    if longer:
        inspect_targets(resolve(cfg)["scheduler"], packages)
        _check_schedule(cfg)
    return Composed(cfg, dict(cfg.choice), [*told, *more], allowed=packages), path


def _is_longer(new: Any, old: Any) -> bool:
    """Whether a limit is further away than before; -1 and null are no limit. Other text is let through, for judge."""
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


def planned(words: list[str]) -> tuple[Composed, Path | None]:
    """The run that words describe: a new one, or one that is there and goes on in its directory."""
    resumes = [override for override in parse(words) if override.key_or_group == "resume"]
    found = continuation(words) if resumes and resumes[-1].value() is not None else None
    return found or (admit(words), None)


def _check_schedule(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from dlcourse.models.base import depends_on_total

    if depends_on_total(instantiate(resolve(cfg)["scheduler"])):
        raise Refused(
            f"scheduler={cfg.choice.scheduler} was laid out for the run's first length; a longer run is another run "
            "(init_from=RUN), or choose scheduler=constant, step or plateau from the start"
        )
