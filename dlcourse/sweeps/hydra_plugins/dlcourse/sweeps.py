"""What Hydra finds of ours: a sweeper (every combination, or a search) and the launchers of one machine.

Hydra imports this file at every ``--help``, and looks for plug-ins only below a package of the name hydra_plugins.
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
from dlcourse.sweeps.trials import own


class Trials(Sweeper):
    """Every combination of the words' values, or, with a sampler, as many as it proposes."""

    def __init__(self, params: dict[str, str] | None, sampler: Any, pruner: Any):
        self.params, self.sampler, self.pruner = dict(params or {}), sampler, pruner

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.directory = task_function.__self__  # dlcourse hands a Sweep's method to Hydra
        self.config_loader = hydra_context.config_loader
        self.launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        given = Overrides.parse(arguments, self.directory.overrides)  # parsed already, all of them
        params = [f"{key}={value}" for key, value in self.params.items() if key not in given]
        # The name of the file that has the params, among a trial's words, would sweep again.
        both = given.after(*params).plus(*["hydra.mode=RUN"] * bool(self.params))
        words = [
            override
            for override in both.parsed
            if override.key_or_group == "hydra.mode" or not own(override.key_or_group)
        ]
        for override in words:
            override.config_loader = self.config_loader  # which lists a group's choices for glob(…)
        numbers: Iterator[int]
        if self.sampler is not None:
            from dlcourse.sweeps.search import Search

            numbers = Search(self.directory, words, self.sampler, self.pruner).numbers()
        else:
            for override in words:
                if override.is_interval_sweep():
                    raise Refused(
                        f"{override.input_line}: an interval is for a search; add sampler=tpe, random or cmaes"
                    )
            planned = [self.directory.number(job) for job in combinations(words)]
            numbers = (number for number in planned if self.directory.is_due(number))
        self.launch(numbers)

    def launch(self, numbers: Iterator[int]) -> None:
        """Hand the trials to the launcher: to ours as it asks for them, to any other as many at a time as may run."""
        if isinstance(self.launcher, Ours):
            self.launcher.run(numbers, searches=self.sampler is not None)
            return
        while batch := list(islice(numbers, self.directory.settings["workers"] if self.sampler is not None else None)):
            self.directory.begin(*batch)
            jobs = [self.directory.job(number) for number in batch]
            try:
                self.launcher.launch(jobs, initial_job_idx=batch[0])
            except Exception as error:  # one job's end is not the table's; what the directories say is taken down
                print(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", file=sys.stderr)
            self.directory.end(*batch)


def combinations(words: Sequence[Override]) -> Iterator[list[str]]:
    """The words of each trial: every combination of the values that are listed, the last word's changing fastest."""
    listed = {}
    for word in words:
        key = word.get_key_element()
        values = word.sweep_string_iterator() if word.is_sweep_override() else [word.get_value_element_as_str()]
        listed[key] = [f"{key}={value}" for value in values]
    return map(list, product(*listed.values()))


class Ours(Launcher):
    """A launcher of ours: it is handed the numbers of a sweep's trials, and composes nothing."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.sweep = task_function.__self__

    def run(self, numbers: Iterator[int], searches: bool) -> None:
        raise NotImplementedError

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        raise NotImplementedError("hydra/sweeper=trials hands numbers to this launcher")


class OneMachine(Ours):
    """``workers`` processes of this machine."""

    def __init__(self, workers: int):
        self.workers = workers

    def setup(self, **hydra: Any) -> None:
        from dlcourse.sweeps.processes import warm

        super().setup(**hydra)
        warm()


class Processes(OneMachine):
    """Each trial in a process of its own, ``workers`` at a time."""

    def run(self, numbers: Iterator[int], searches: bool) -> None:
        from dlcourse.sweeps.processes import alone, run

        run(self.sweep, ([number] for number in numbers), self.workers, alone)


class Ray(Ours):
    """Each trial where and when Ray has ``num_cpus`` and ``num_gpus`` for it; a search has ``workers`` at a time."""

    def __init__(self, workers: int, address: str | None, num_cpus: float, num_gpus: float):
        self.workers, self.address = workers, address
        self.resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}

    def run(self, numbers: Iterator[int], searches: bool) -> None:
        from dlcourse.sweeps.on_ray import run

        run(self.sweep, numbers, self.workers if searches else None, self.address, self.resources)


class Vectorized(OneMachine):
    """Trials together, in ``workers`` processes with a share of them each; a search proposes ``batch`` at a time."""

    def __init__(self, workers: int, batch: int):
        super().__init__(workers)
        self.batch = batch

    def run(self, numbers: Iterator[int], searches: bool) -> None:
        from dlcourse.sweeps.processes import run
        from dlcourse.sweeps.together import together

        while batch := list(islice(numbers, self.batch if searches else None)):
            # By number, so that a second start finds the same ones together.
            parts = [[number for number in batch if number % self.workers == k] for k in range(self.workers)]
            run(self.sweep, filter(None, parts), self.workers, together)
            if self.sweep.stopped:
                return
