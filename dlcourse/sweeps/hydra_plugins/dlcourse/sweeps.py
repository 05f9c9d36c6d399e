"""What Hydra finds of ours: a sweeper (every combination, or a search) and the launchers of one machine.

Hydra imports this file at every ``--help``, and looks for plug-ins only below a package of the name hydra_plugins.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper

from dlcourse.sweeps.trials import own


class Trials(Sweeper):
    """Every combination of the words' values, or, with a sampler, as many as it proposes."""

    def __init__(self, params: dict[str, str] | None, sampler: Any, pruner: Any):
        self.params, self.sampler, self.pruner = dict(params or {}), sampler, pruner

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.directory = task_function.__self__  # dlcourse hands a Sweep's method to Hydra
        self.parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        self.launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        given = self.parser.parse_overrides(arguments)
        said = {override.key_or_group for override in given}
        params = [f"{key}={value}" for key, value in self.params.items() if key not in said]
        words = [*self.parser.parse_overrides(params), *given]
        words = [override for override in words if not own(override.key_or_group)]
        if "sweep" in said:  # or the sweep's name among a trial's words would sweep again
            words += self.parser.parse_overrides(["hydra.mode=RUN"])
        numbers: Iterator[int]
        if self.sampler is not None:
            from dlcourse.sweeps.search import Search

            numbers = Search(self.directory, words, self.sampler, self.pruner).numbers()
        else:
            planned = [self.directory.number(job) for job in BasicSweeper.split_arguments(words, None)[0]]
            numbers = (number for number in planned if self.directory.is_due(number))
        self.launch(numbers)

    def launch(self, numbers: Iterator[int]) -> None:
        """Hand the trials to the launcher: to ours as places become free, to any other so many at a time."""
        if isinstance(self.launcher, Processes):
            self.launcher.run(numbers)
            return
        searches = self.sampler is not None
        while batch := list(islice(numbers, self.directory.settings["workers"] if searches else None)):
            for number in batch:
                self.directory.begin(number)
            self.launcher.launch([self.directory.job(number) for number in batch], initial_job_idx=batch[0])
            for number in batch:
                self.directory.end(number)


class OneMachine(Launcher):
    """A launcher of ours: it knows the sweep, and composes nothing."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.sweep = task_function.__self__

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        raise NotImplementedError


class Processes(OneMachine):
    """Each trial in a process of its own, ``workers`` at a time."""

    def __init__(self, workers: int):
        self.workers = workers

    def run(self, numbers: Iterable[int]) -> None:
        from dlcourse.sweeps.processes import run

        run(self.sweep, numbers, self.workers)


class Vectorized(OneMachine):
    """All trials together, as one batched computation."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        from dlcourse.callbacks.interrupt import Interrupted
        from dlcourse.sweeps.together import compositions
        from dlcourse.sweeps.vectorized import train_together

        try:
            train_together(compositions(job_overrides), self.sweep.folder)
        except Interrupted as stop:
            self.sweep.stopped = stop.code - 128
        return []
