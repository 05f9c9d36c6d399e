"""From the words of many trials to their configurations, composed once where they differ in numbers only."""

import pickle
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from dlcourse.config.compose import Composed
from dlcourse.config.gate import admit
from dlcourse.config.overrides import parse
from dlcourse.config.rules import judge
from dlcourse.errors import Interrupted, Refused
from dlcourse.sweeps.attempt import leave, run_dir


def compositions(jobs: Sequence[Sequence[str]]) -> list[tuple[Composed, Path]]:
    """The configuration and the run directory of each trial; one that is refused is told so in its own."""
    found: list[tuple[Composed, Path]] = []
    for job in map(list, jobs):
        try:
            composed = (like(found[0][0], job) if found else None) or admit(job)
            found.append((composed, Path(composed.cfg.run_dir)))
        except Refused as refusal:
            leave(run_dir(job), refusal.code, refusal)
    return found


def together(jobs: Sequence[Sequence[str]]) -> int:
    """The task of a process for several trials: train them as one; the exit code."""
    import torch

    from dlcourse.sweeps.vectorized import train_together

    # Averages of a dead unit's gradients fade below 1e-38, where each operation takes a hundred times as long.
    torch.set_flush_denormal(True)
    try:
        if trials := compositions(jobs):
            train_together(trials)
    except Interrupted as stop:
        return stop.code
    finally:
        torch.set_flush_denormal(False)
    return 0


def like(first: Composed, words: list[str]) -> Composed | None:
    """``first`` with the numbers of these words in place of its own; None where more than numbers differ."""
    if [word.partition("=")[0] for word in words] != [word.partition("=")[0] for word in first.words]:
        return None
    cfg = pickle.loads(pickle.dumps(first.cfg))  # a fourth of deepcopy's time
    for override in parse([word for word, old in zip(words, first.words, strict=True) if word != old]):
        key, value = override.key_or_group, override.value()
        old = OmegaConf.select(cfg, key)
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (old, value))
        if not numbers and key != "run_dir":
            return None
        OmegaConf.update(cfg, key, value)
    judge(cfg, first.choices)
    return first._replace(cfg=cfg, words=words)
