"""A search: Optuna proposes trials and keeps their results in a study."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from dlcourse.config.overrides import number_or_text
from dlcourse.config.own_text import quoted
from dlcourse.config.resolve import resolve
from dlcourse.errors import Refused
from dlcourse.sweeps.trials import Sweep

RETRY_OF = "again"  # attribute of a study's trial that repeats a failed one; the value is that one's number


def distribution(override: Override) -> Any:
    """The search space of an override: interval(a, b), also tag(log, …) and int(…), range(a, b, step), choice(…).

    Refused: an empty range, or a logarithmic one that is not positive.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if isinstance(value, IntervalSweep):
        low, high, log = value.start, value.end, "log" in value.tags
        assert low is not None and high is not None
        if not low <= high or log and low <= 0:
            raise Refused(f"{override.input_line}: expected a lower end before a higher one, both above 0 for log")
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(float(low), float(high), log=log)
    values: list[Any] = [number_or_text(text) for text in override.sweep_string_iterator()]
    if not values:
        raise Refused(f"{override.input_line}: this range is empty")
    if isinstance(value, RangeSweep) and all(isinstance(v, int) for v in values):
        return IntDistribution(min(values), max(values), step=abs(int(value.step)))
    return CategoricalDistribution(values)


class Search:
    """Trials that a sampler proposes, ``sweep.n_trials`` in all, numbered as in the study.

    The study is study.db beside the trials (SQLite, as optuna-dashboard reads), or ``sweep.storage``. The run
    directories decide: a study that was killed is corrected by them.
    """

    def __init__(self, sweep: Sweep, words: list[Override], sampler: Any, pruner: Any):
        import optuna
        from hydra.utils import instantiate
        from optuna.study import StudyDirection

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep = sweep
        self.space = {o.get_key_element(): distribution(o) for o in words if o.is_sweep_override()}
        if not self.space:
            raise Refused("nothing to search for: give a key several values, such as optimizer.lr=interval(1e-4,1e-1)")
        self.fixed = [
            f"{o.get_key_element()}={o.get_value_element_as_str()}" for o in words if not o.is_sweep_override()
        ]
        file = str(sweep.folder / "study.db").replace("{", "{{").replace("}", "}}")  # Optuna formats addresses
        self.storage = sweep.settings["storage"] or f"sqlite:///{file}"
        if pruner is not None and len(sweep.objectives()) > 1:
            raise Refused("pruner: pruning needs a single objective; set pruner=none")
        if pruner is not None and not next(iter(sweep.objectives())).startswith("val/"):
            raise Refused("pruner: pruning needs a validation metric; set pruner=none, or sweep.metric=val/…")
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=sweep.folder.name,
            directions=[StudyDirection[f"{mode}imize".upper()] for mode in sweep.objectives().values()],
            load_if_exists=True,
        )
        own_overrides = [str(o.input_line) for o in words]
        study_overrides = self.study.user_attrs.get("words")
        if study_overrides is None:
            self.study.set_user_attr("words", own_overrides)
        elif set(study_overrides) != set(own_overrides):
            differing = " ".join(sorted({*study_overrides} ^ {*own_overrides}))
            raise Refused(
                f"{self.storage} holds a search with other overrides, {differing}\n"
                "For another search set another sweep_dir"
            )
        # A sampler restarted with the same seed would propose the same trials again.
        existing = len(self.study.get_trials(deepcopy=False))
        seed = {"seed": sampler.seed + existing} if sampler.get("seed") is not None else {}
        self.study.sampler = instantiate(sampler, **seed)
        sweep.on_trial_end, sweep.total = self.report_end, sweep.settings["n_trials"]
        if pruner is not None:
            sweep.extra_overrides = partial(self.pruning, dict(resolve(pruner)))

    def numbers(self) -> Iterator[int]:
        """The trials to run: first those that an interrupted search left, then new ones up to ``n_trials``."""
        for trial in self.study.get_trials(deepcopy=False):
            number = trial.number
            if RETRY_OF in trial.user_attrs:
                continue
            if trial.distributions != self.space:
                raise Refused(
                    f"trial {number} of {self.storage} has another search space; for another search set sweep_dir="
                )
            self.sweep.add(number, self.words(trial.params))  # with the overrides of this command, not those of a file
            if self.sweep.is_due(number):
                yield number
            elif not trial.state.is_finished():
                self.report_end(number, self.sweep.rows[number])
        while len(self.sweep.rows) < self.sweep.settings["n_trials"]:
            proposed = self.study.ask(self.space)
            yield self.sweep.add(proposed.number, self.words(proposed.params))

    def pruning(self, pruner: dict[str, Any], number: int) -> list[str]:
        """The overrides that add the pruning callback to a trial."""
        (metric,) = self.sweep.objectives()
        node = ",".join(f"{key}:{value}" for key, value in pruner.items())
        texts = {"storage": self.storage, "study": self.study.study_name, "metric": metric}
        plain = {"_target_": "dlcourse.callbacks.pruning.Pruning", "trial": number, "pruner": f"{{{node}}}"}
        words = [*(quoted(key, text) for key, text in texts.items()), *(f"{key}={v}" for key, v in plain.items())]
        return [f"+callbacks.pruning.{each}" for each in words]

    def words(self, params: dict[str, Any]) -> list[str]:
        return [*self.fixed, *(f"{key}={value}" for key, value in params.items())]

    def report_end(self, number: int, row: dict[str, Any]) -> None:
        """Report to the study how a trial ended; one that was killed or stopped stays open for the next start."""
        from optuna.trial import TrialState, create_trial

        values = [row[key] for key in self.sweep.objectives() if key in row]
        if row["status"] == "finished" and len(values) == len(self.sweep.objectives()):
            end: dict[str, Any] = {"values": values}
        elif row["status"] in ("finished", "failed", "pruned"):
            end = {"state": TrialState.PRUNED if row["status"] == "pruned" else TrialState.FAIL}
        else:
            return
        trial = self.study.get_trials(deepcopy=False)[number]
        if trial.state == TrialState.FAIL and "values" in end:  # a retry: the study has closed its first trial
            settings: dict[str, Any] = {"params": trial.params, "distributions": trial.distributions}
            self.study.add_trial(create_trial(values=values, user_attrs={RETRY_OF: number}, **settings))
        else:
            self.study.tell(number, **end, skip_if_finished=True)
