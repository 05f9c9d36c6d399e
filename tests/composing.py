"""From words to configurations, as the commands do it."""

from functools import cache
from pathlib import Path

from dlcourse.config.compose import Composed, complete, compose
from dlcourse.config.gate import compose_checked, compose_checked_multirun
from dlcourse.config.overrides import Overrides


def checked(words: list[str]) -> Composed:
    """The checked configuration of a new run."""
    return compose_checked(Overrides.parse(words))


def unchecked(words: list[str]) -> Composed:
    """The configuration of a new run before it is checked: composed, completed and resolved."""
    composed = compose(Overrides.parse(words))
    complete(composed)
    return composed.resolved()


@cache
def composed(words: str) -> Composed:
    """The same, made once for each line of words; whoever changes it copies it first."""
    return unchecked(words.split())


def resumed(words: list[str]) -> tuple[Composed, Path] | None:
    """The run that ``resume=`` names among the words, and its directory."""
    from dlcourse.runs.resume import resumed_run

    return resumed_run(Overrides.parse(words))


def checked_multirun(words: list[str]) -> Composed:
    """The checked configuration of a multirun's first trial."""
    return compose_checked_multirun(Overrides.parse(words))


def loaded(run: str | Path, *allow: str) -> Composed:
    """The checked configuration of a run directory."""
    from dlcourse.runs.directory import load_checked

    return load_checked(run, Overrides.parse([f"allow=[{','.join(allow)}]"] if allow else []))[1]
