"""A run that is there already: its model and data again, its weights as a start, its training continued."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcourse.building import build, quieten
from dlcourse.config import Composed, leaves, nearest, parse, resolve
from dlcourse.errors import CHECKPOINT, Refused
from dlcourse.gate import admit, allowed_packages, inspect_targets, judge, permit
from dlcourse.rundir import RunDirectory, open_run

#: What a checkpoint must hold to be gone on with.
PARTS = (
    *("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "hyper_parameters"),
    *("global_step", "rng", "rows", "stopped"),
)
#: What a resume may make longer without being asked by name.
LENGTHS = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time")


def opened(run: str | Path | None, packages: Sequence[str] = (), word: str = "run") -> tuple[Path, DictConfig]:
    """A run directory and its configuration, which passes the same gate as words do."""
    path, cfg = open_run(run, word)
    try:
        permit(resolve(cfg), packages)
        judge(cfg, dict(cfg.choice))
    except (OmegaConfBaseException, AttributeError) as error:
        raise Refused(f"{path / 'config.yaml'} is not the configuration of a run: {error}") from None
    return path, cfg


def restore(run: str | Path | None, words: Sequence[str] = ()) -> tuple[DictConfig, Any, Any]:
    """The configuration of a run, the model with its best weights, and the data: its own or that of the words."""
    from dlcourse.callbacks.checkpoints import BEST, load

    packages = allowed_packages(list(words))
    data_cfg = other_data([word for word in words if word.lstrip("+").startswith(("data", "allow="))])
    path, cfg = opened(run, packages)
    quieten()
    inspect_targets(resolve(cfg), packages)
    data, model = build(cfg)
    take_weights(model, load(path / "checkpoints" / BEST)["state_dict"], path)
    if data_cfg is not None:
        for key in ("task", "shape", "outputs"):
            if data_cfg[key] != cfg.data[key]:
                differ = f"its {key} is {data_cfg[key]}, the run was trained on {cfg.data[key]}"
                raise Refused(f"data={data_cfg.name}: {differ}")
        # Classes and vocabularies are the run's: the order of its outputs and inputs.
        kept = {key: cfg.data[key] for key in ("classes", "columns") if key in cfg.data and key in data_cfg}
        cfg.data = OmegaConf.merge(data_cfg, kept)
        inspect_targets(resolve(cfg), packages)
        data, _ = build(cfg)
    return cfg, model.eval(), data


def other_data(words: list[str]) -> DictConfig | None:
    """The data that the words of an evaluation name, from a new composition; None where they name none."""
    if all(word.startswith("allow=") for word in words):
        return None
    if not any(word.startswith("data=") for word in words):
        raise Refused(f"{words[0]}: say which data first, as data=csv {words[0]}")
    return admit(words).cfg.data


def start_from(model: Any, run: str, skip: Sequence[str]) -> None:
    """``init_from=RUN``: begin with the best weights of another run, but for those whose names begin with ``skip``."""
    from dlcourse.callbacks.checkpoints import BEST, load

    path, _ = open_run(run, "init_from")
    take_weights(model, load(path / "checkpoints" / BEST)["state_dict"], path, skip)


def take_weights(model: Any, weights: dict[str, Any], path: Path, skip: Sequence[str] = ()) -> None:
    """Load weights into a model strictly; what differs is named."""
    weights = {name: w for name, w in weights.items() if not name.startswith(tuple(skip))}
    if differ := differences(model, weights, skip):
        raise Refused(f"the weights of {path} do not fit this model: {differ}", CHECKPOINT)
    model.load_state_dict({**model.state_dict(), **weights})


def differences(model: Any, weights: dict[str, Any], skip: Sequence[str] = ()) -> str:
    """In which names and shapes weights differ from a model's own; empty where they fit."""
    own = model.state_dict()
    missing = [name for name in own if name not in weights and not name.startswith(tuple(skip))]
    foreign = [name for name in weights if name not in own]
    differ = [
        f"{name} is {tuple(w.shape)} there and {tuple(own[name].shape)} here"
        for name, w in weights.items()
        if name in own and w.shape != own[name].shape
    ]
    parts = [f"missing there: {', '.join(missing[:3])}"] * bool(missing)
    return "; ".join([*parts, *[f"only there: {', '.join(foreign[:3])}"] * bool(foreign), *differ[:3]])


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


def has_checkpoint(run: Path) -> bool:
    """Whether a run was killed after its first checkpoint, in whatever state that is."""
    from dlcourse.callbacks.checkpoints import LAST, PREVIOUS

    return any((run / "checkpoints" / name).exists() for name in (LAST, PREVIOUS))


def rewind(run: RunDirectory, composed: Composed, model: Any) -> Path | None:
    """The checkpoint to continue from (None: from the start); until it is found to fit nothing is touched.

    Refused: of another kind or another model, or of a run that early stopping ended, which no limit makes longer.
    """
    from dlcourse.callbacks.checkpoints import LAST, load, usable

    assert run.path is not None
    folder = run.path / "checkpoints"
    checkpoint = None
    state: dict[str, Any] = {"rows": 0, "global_step": 0}
    if has_checkpoint(run.path):
        checkpoint, complaints = usable(folder)
        for complaint in complaints:
            print(f"{complaint}; going on from {checkpoint.name}", file=sys.stderr)
        state = load(checkpoint)
        if missing := [key for key in PARTS if key not in state]:
            raise Refused(f"{checkpoint} is no checkpoint of a run of ours: it has no {', '.join(missing)}", CHECKPOINT)
        if differ := differences(model, state["state_dict"]):
            raise Refused(f"{checkpoint} is of another model: {differ}", CHECKPOINT)
        if state["stopped"] == "early" and (run.path / "metrics.json").exists():
            raise Refused(
                f"early stopping ended {run.path}: a longer limit would change nothing; init_from= begins anew"
            )
        if complaints and run.lock is not None and (folder / LAST).exists():
            # Or the next write would push the damaged one over the good one.
            os.replace(folder / LAST, folder / "last.damaged.ckpt")
    if run.lock is not None:
        run.go_on(composed, state["rows"], state["global_step"])
    return checkpoint
