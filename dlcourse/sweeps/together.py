"""Compose the configurations of many trials; those that differ only in numbers are composed once."""

import pickle
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from dlcourse.config.compose import Composed
from dlcourse.config.gate import check, compose_checked
from dlcourse.config.overrides import Overrides
from dlcourse.errors import Interrupted, Refused
from dlcourse.sweeps.attempt import record_refusal, run_dir


def compose_trials(jobs: Sequence[Sequence[str]]) -> list[tuple[Composed, Path]]:
    """The configuration and the run directory of each trial; a refused one is recorded in its directory."""
    found: list[tuple[Composed, Path]] = []
    for job in jobs:
        try:
            overrides = Overrides.parse(job, found[0][0].overrides if found else None)
            composed = (with_numbers(found[0][0], overrides) if found else None) or compose_checked(overrides)
            found.append((composed, Path(composed.cfg.run_dir)))
        except Refused as refusal:
            record_refusal(run_dir(job)[0], refusal.code, refusal)
    return found


def run_together(jobs: Sequence[Sequence[str]]) -> int:
    """Task of a process that trains several trials together; returns the exit code."""
    import torch

    from dlcourse.sweeps.train_together import train_together

    # Moving averages of a dead unit's gradients become denormal, where each operation takes a hundred times as long.
    torch.set_flush_denormal(True)
    try:
        if trials := compose_trials(jobs):
            train_together(trials)
    except Interrupted as stop:
        return stop.code
    finally:
        torch.set_flush_denormal(False)
    return 0


def with_numbers(first: Composed, overrides: Overrides) -> Composed | None:
    """``first`` with the numbers of these overrides; None if they differ in more than numbers."""
    if [word.partition("=")[0] for word in overrides.texts] != [w.partition("=")[0] for w in first.overrides.texts]:
        return None
    cfg = pickle.loads(pickle.dumps(first.cfg))  # four times faster than deepcopy
    for override, old_word in zip(overrides.parsed, first.overrides.texts, strict=True):
        if override.input_line == old_word:
            continue
        key, value = override.key_or_group, override.value()
        old = OmegaConf.select(cfg, key)
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (old, value))
        if not numbers and key != "run_dir":
            return None
        OmegaConf.update(cfg, key, value)
    return check(first._replace(cfg=cfg, overrides=overrides))
