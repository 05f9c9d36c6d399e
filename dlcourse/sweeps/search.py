"""A search: Optuna proposes trials, and a study beside them remembers what it has learned."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from dlcourse.config.overrides import plain, word
from dlcourse.config.resolve import resolve
from dlcourse.errors import Refused
from dlcourse.sweeps.trials import Sweep

AGAIN = "again"  # marks a study's trial that is the second end of another, whose number it holds


def distribution(override: Override) -> Any:
    """What a word lets a search choose from: interval(a, b), also tag(log, …) and int(…), range(a, b, step), choice(…).

    Raises Refused for a logarithm of what is not positive.
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
    values: list[Any] = [plain(text) for text in override.sweep_string_iterator()]
    if not values:
        raise Refused(f"{override.input_line}: there is no value in this range")
    if isinstance(value, RangeSweep) and all(isinstance(v, int) for v in values):
        return IntDistribution(min(values), max(values), step=abs(int(value.step)))
    return CategoricalDistribution(values)


class Search:
    """Trials that a sampler proposes, ``sweep.n_trials`` in all, numbered as in the study.

    The study lies in study.db beside the trials (SQLite, for optuna-dashboard too), or where ``sweep.storage`` says.
    What the trials' directories say is what counts: a study that was killed is set right by them.
    """

    def __init__(self, sweep: Sweep, words: list[Override], sampler: Any, pruner: Any):
        import optuna
        from hydra.utils import instantiate
        from optuna.study import StudyDirection

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep = sweep
        self.space = {o.get_key_element(): distribution(o) for o in words if o.is_sweep_override()}
        if not self.space:
            raise Refused("nothing to search for: give a word several values, as optimizer.lr=interval(1e-4,1e-1)")
        self.fixed = [
            f"{o.get_key_element()}={o.get_value_element_as_str()}" for o in words if not o.is_sweep_override()
        ]
        file = str(sweep.folder / "study.db").replace("{", "{{").replace("}", "}}")  # Optuna formats addresses
        self.storage = sweep.settings["storage"] or f"sqlite:///{file}"
        if pruner is not None and len(sweep.objectives()) > 1:
            raise Refused("pruner: with several objectives there is no order to prune by; pruner=none")
        if pruner is not None and not next(iter(sweep.objectives())).startswith("val/"):
            raise Refused(
                "pruner: what is looked for after each epoch is a figure of val; pruner=none, or sweep.metric=val/…"
            )
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=sweep.folder.name,
            directions=[StudyDirection[f"{mode}imize".upper()] for mode in sweep.objectives().values()],
            load_if_exists=True,
        )
        mine = [str(o.input_line) for o in words]
        theirs = self.study.user_attrs.get("words")
        if theirs is None:
            self.study.set_user_attr("words", mine)
        elif set(theirs) != set(mine):
            raise Refused(
                f"{self.storage} holds a search of other words, {' '.join(sorted({*theirs} ^ {*mine}))}\n"
                "Another search: another sweep_dir"
            )
        # A sampler that began with the same seed again would propose what it has proposed before.
        begun = len(self.study.get_trials(deepcopy=False))
        seed = {"seed": sampler.seed + begun} if sampler.get("seed") is not None else {}
        self.study.sampler = instantiate(sampler, **seed)
        sweep.told, sweep.total = self.tell, sweep.settings["n_trials"]
        if pruner is not None:
            sweep.more = partial(self.pruning, dict(resolve(pruner)))

    def numbers(self) -> Iterator[int]:
        """The trials to run: those that an earlier life left, then new ones as long as there may be more."""
        for trial in self.study.get_trials(deepcopy=False):
            number = trial.number
            if AGAIN in trial.user_attrs:
                continue
            if trial.distributions != self.space:
                raise Refused(f"trial {number} of {self.storage} chose from something else; another search: sweep_dir=")
            self.sweep.add(number, self.words(trial.params))  # of this command, whatever a file says
            if self.sweep.is_due(number):
                yield number
            elif not trial.state.is_finished():
                self.tell(number, self.sweep.rows[number])
        while len(self.sweep.rows) < self.sweep.settings["n_trials"]:
            asked = self.study.ask(self.space)
            yield self.sweep.add(asked.number, self.words(asked.params))

    def pruning(self, pruner: dict[str, Any], number: int) -> list[str]:
        """The words that let a trial report to the study and ask its pruner."""
        (metric,) = self.sweep.objectives()
        node = ",".join(f"{key}:{value}" for key, value in pruner.items())
        texts = {"storage": self.storage, "study": self.study.study_name, "metric": metric}
        plain = {"_target_": "dlcourse.callbacks.pruning.Pruning", "trial": number, "pruner": f"{{{node}}}"}
        words = [*(word(key, text) for key, text in texts.items()), *(f"{key}={v}" for key, v in plain.items())]
        return [f"+callbacks.pruning.{each}" for each in words]

    def words(self, params: dict[str, Any]) -> list[str]:
        return [*self.fixed, *(f"{key}={value}" for key, value in params.items())]

    def tell(self, number: int, row: dict[str, Any]) -> None:
        """Let the study know how a trial ended; one that was killed or stopped stays open, for the next start."""
        from optuna.trial import TrialState, create_trial

        values = [row[key] for key in self.sweep.objectives() if key in row]
        if row["status"] == "finished" and len(values) == len(self.sweep.objectives()):
            end: dict[str, Any] = {"values": values}
        elif row["status"] in ("finished", "failed", "pruned"):
            end = {"state": TrialState.PRUNED if row["status"] == "pruned" else TrialState.FAIL}
        else:
            return
        trial = self.study.get_trials(deepcopy=False)[number]
        if trial.state == TrialState.FAIL and "values" in end:  # tried again; a study's own trials end only once
            known: dict[str, Any] = {"params": trial.params, "distributions": trial.distributions}
            self.study.add_trial(create_trial(values=values, user_attrs={AGAIN: number}, **known))
        else:
            self.study.tell(number, **end, skip_if_finished=True)
