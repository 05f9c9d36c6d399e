"""dlcourse's Hydra plug-ins: a sweeper (every combination, or a search) and its launchers.

Hydra imports this file at every ``--help``, and finds plug-ins only in a package named hydra_plugins.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper

from dlcourse.config.overrides import Overrides
from dlcourse.errors import Refused
from dlcourse.sweeps.trials import is_sweep_override


class Trials(Sweeper):
    """Every combination of the values in the overrides or, with a sampler, the trials that it proposes."""

    def __init__(self, params: dict[str, str] | None, sampler: Any, pruner: Any):
        self.params, self.sampler, self.pruner = dict(params or {}), sampler, pruner

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.directory = task_function.__self__  # cli.multirun passes Sweep.trial to Hydra
        self.config_loader = hydra_context.config_loader
        self.launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        overrides = Overrides.parse(arguments, self.directory.overrides)  # reuses what is parsed already
        params = [f"{key}={value}" for key, value in self.params.items() if key not in overrides]
        # A trial that names the sweep's file would otherwise sweep again.
        all_overrides = overrides.after(*params).plus(*["hydra.mode=RUN"] * bool(self.params))
        swept = [
            override
            for override in all_overrides.parsed
            if override.key_or_group == "hydra.mode" or not is_sweep_override(override.key_or_group)
        ]
        for override in swept:
            override.config_loader = self.config_loader  # glob(…) needs it to list the choices of a group
        numbers: Iterator[int]
        if self.sampler is not None:
            from dlcourse.sweeps.search import Search

            numbers = Search(self.directory, swept, self.sampler, self.pruner).numbers()
        else:
            for override in swept:
                if override.is_interval_sweep():
                    raise Refused(
                        f"{override.input_line}: only a search can use an interval; add sampler=tpe, random or cmaes"
                    )
            trials = [self.directory.number(job) for job in combinations(swept)]
            numbers = (number for number in trials if self.directory.is_due(number))
        self.launch(numbers)

    def launch(self, numbers: Iterator[int]) -> None:
        """Pass the trials to the launcher: one by one to dlcourse's own, in batches to any other."""
        if isinstance(self.launcher, DlcourseLauncher):
            self.launcher.run(numbers, searches=self.sampler is not None)
            return
        while batch := list(islice(numbers, self.directory.settings["workers"] if self.sampler is not None else None)):
            self.directory.begin(*batch)
            jobs = [self.directory.job(number) for number in batch]
            try:
                self.launcher.launch(jobs, initial_job_idx=batch[0])
            except Exception as error:  # a failed job must not end the sweep: end() reads the directories
                print(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", file=sys.stderr)
            self.directory.end(*batch)


def combinations(swept: Sequence[Override]) -> Iterator[list[str]]:
    """The overrides of each trial: every combination of the listed values, the last one changing fastest."""
    values_by_key = {}
    for word in swept:
        key = word.get_key_element()
        values = word.sweep_string_iterator() if word.is_sweep_override() else [word.get_value_element_as_str()]
        values_by_key[key] = [f"{key}={value}" for value in values]
    return map(list, product(*values_by_key.values()))


class DlcourseLauncher(Launcher):
    """Base of dlcourse's launchers: takes the numbers of a sweep's trials; the trials compose themselves."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.sweep = task_function.__self__

    def run(self, numbers: Iterator[int], searches: bool) -> None:
        raise NotImplementedError

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        raise NotImplementedError("this launcher works only with hydra/sweeper=trials")


class LocalLauncher(DlcourseLauncher):
    """A launcher with ``workers`` processes on this machine."""

    def __init__(self, workers: int):
        self.workers = workers

    def setup(self, **hydra: Any) -> None:
        from dlcourse.sweeps.processes import preload

        super().setup(**hydra)
        preload()


class Processes(LocalLauncher):
    """Each trial in its own process, ``workers`` at a time."""

    def run(self, numbers: Iterator[int], searches: bool) -> None:
        from dlcourse.sweeps.processes import run, run_one

        run(self.sweep, ([number] for number in numbers), self.workers, run_one)


class Ray(DlcourseLauncher):
    """Each trial as a Ray task with ``num_cpus`` and ``num_gpus``; a search runs ``workers`` at a time."""

    def __init__(self, workers: int, address: str | None, num_cpus: float, num_gpus: float):
        self.workers, self.address = workers, address
        self.resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}

    def run(self, numbers: Iterator[int], searches: bool) -> None:
        from dlcourse.sweeps.on_ray import run

        run(self.sweep, numbers, self.workers if searches else None, self.address, self.resources)


class Vectorized(LocalLauncher):
    """Trials trained together, shared by ``workers`` processes; a search proposes ``batch`` at a time."""

    def __init__(self, workers: int, batch: int):
        super().__init__(workers)
        self.batch = batch

    def run(self, numbers: Iterator[int], searches: bool) -> None:
        from dlcourse.sweeps.processes import run
        from dlcourse.sweeps.together import run_together

        while batch := list(islice(numbers, self.batch if searches else None)):
            # By number, so that a restart groups the same trials.
            parts = [[number for number in batch if number % self.workers == k] for k in range(self.workers)]
            run(self.sweep, filter(None, parts), self.workers, run_together)
            if self.sweep.stopped:
                return
