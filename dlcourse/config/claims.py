"""Judges the expectations of an experiment by the metrics of its runs. Imports neither torch nor lightning."""

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from statistics import fmean, stdev
from typing import Any, NamedTuple

from dlcourse.errors import Refused

#: A metric of metrics.json, and in brackets the overrides of the trials that it is taken from.
METRIC = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:/\w+)*\b(?!\s*\()(?:\[([^\]]*)\])?")
RELATIONS: dict[type, Callable[[float, float], bool]] = {
    ast.LtE: operator.le,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.Eq: math.isclose,
}
SIGNS = {ast.LtE: "≤", ast.GtE: "≥", ast.Lt: "<", ast.Gt: ">", ast.Eq: "="}
ARITHMETIC: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
#: Statistics of a metric over several trials; the default is the mean.
STATISTICS: dict[str, Callable[..., float]] = {"mean": fmean, "min": min, "max": max, "std": stdev, "count": len}
HELP = "as test/acc >= 0.97, or test/acc[optimizer=adam] - test/acc[optimizer=sgd] > 0.01"


class Verdict(NamedTuple):
    """An expectation, the values obtained for its two sides, and whether it is met."""

    expected: str
    obtained: str
    met: bool


class Missing(Exception):
    """No trial has the metric that an expectation names."""


class Expectation:
    """``test/acc >= 0.97``: two sides of metrics, numbers and + − * /, with a relation between them.

    A metric is that of the run; in a study the mean over its trials, or over those with all ``[overrides, …]``:
    ``val/loss[optimizer=adam] < 0.5 * val/loss[optimizer=sgd]``. ``min max std count`` are taken over the same trials.
    Raises Refused (2) for anything else.
    """

    def __init__(self, text: Any):
        self.text = " ".join(str(text).split())
        self.metrics: list[tuple[str, list[str]]] = []
        try:
            tree = ast.parse(METRIC.sub(self._take, self.text), mode="eval").body
            assert isinstance(tree, ast.Compare) and len(tree.ops) == 1
            self.relation, self.sides = tree.ops[0], (tree.left, tree.comparators[0])
            assert type(self.relation) in RELATIONS and self.metrics
            values = count(math.e, math.pi)  # in place of the metrics, all different
            for side in self.sides:  # raises if a side has other parts
                self._value(side, lambda metric, words: [next(values), next(values)])
        except (SyntaxError, AssertionError, RecursionError, ValueError, ArithmeticError):
            raise Refused(f"expect: {text}: expected metrics, numbers and a relation, {HELP}") from None

    def _take(self, match: re.Match[str]) -> str:
        words = [word.strip() for word in (match[1] or "").split(",") if word.strip()]
        self.metrics.append((match[0].partition("[")[0], words))
        return f"f{len(self.metrics) - 1}"

    def _value(self, node: ast.expr, find: Callable[[str, list[str]], Sequence[float]]) -> float:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return float(number)
            case ast.Name(id=name):
                return fmean(find(*self.metrics[int(name[1:])]))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return ARITHMETIC[type(op)](self._value(left, find), self._value(right, find))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._value(operand, find)
            case ast.Call(func=ast.Name(id=statistic), args=[ast.Name(id=name)], keywords=[]) if (
                statistic in STATISTICS
            ):
                return float(STATISTICS[statistic](find(*self.metrics[int(name[1:])])))
        raise AssertionError

    def judge(self, trials: Iterable[Mapping[str, Any]]) -> Verdict:
        """Whether the trials, each its metrics and its overrides (``words``), meet the expectation."""
        rows = list(trials)

        def find(metric: str, words: list[str]) -> list[float]:
            chosen = [row for row in rows if {*map(_plain, words)} <= {*map(_plain, row.get("words", ()))}]
            values = [row.get(metric) for row in chosen]
            if not chosen or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
                where = f" of {', '.join(words)}" if words else ""
                raise Missing(f"{sum(v is not None for v in values)} of {len(chosen)} runs have {metric}{where}")
            return values  # type: ignore[return-value]

        try:
            left, right = (self._value(side, find) for side in self.sides)
        except (Missing, ArithmeticError, ValueError) as missing:
            return Verdict(self.text, str(missing), False)
        kind = type(self.relation)
        return Verdict(self.text, f"{_short(left)} {SIGNS[kind]} {_short(right)}", RELATIONS[kind](left, right))


def judge(expect: Iterable[Any], trials: Iterable[Mapping[str, Any]]) -> list[Verdict]:
    """The verdicts on the expectations of an experiment."""
    rows = list(trials)
    return [Expectation(text).judge(rows) for text in expect]


def judge_run(expect: Iterable[Any], metrics: Mapping[str, Any]) -> list[Verdict]:
    """The verdicts on those expectations that one run can meet; those that name trials are left to the sweep."""
    every = [Expectation(text) for text in expect]
    return [each.judge([metrics]) for each in every if not any(words for _, words in each.metrics)]


def table(claim: str | None, verdicts: Sequence[Verdict]) -> str:
    """The claim with its verdicts as a table for the terminal."""
    from tabulate import tabulate

    rows = [(v.expected, v.obtained, "yes" if v.met else "NO") for v in verdicts]
    shown = tabulate(rows, headers=["expected", "obtained", "met"], disable_numparse=True)
    return f"{claim}\n{shown}" if claim else shown


def _plain(word: str) -> str:
    """An override as YAML writes it: Hydra's sweeper writes true, false and null as Python does."""
    key, _, value = word.partition("=")
    return f"{key}={ {'True': 'true', 'False': 'false', 'None': 'null'}.get(value, value) }"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) < 1e9 and value == int(value) else f"{value:.4g}"
