"""The overrides of a command, each parsed once and checked against the groups of conf/."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from hydra.errors import HydraException

from dlcourse.config.groups import LISTS, NAMED, groups, root_keys
from dlcourse.config.own_text import as_text, one_text, own_text, split
from dlcourse.config.suggestions import nearest
from dlcourse.errors import Refused


class Overrides:
    """The overrides of one command, as text and as Hydra parsed them.

    A command builds it once, with `parse`, and hands it on; a word that is read as text stands in it in quotes. The
    methods that return another one parse only what is new. ``texts`` is what the run directory records: for a resumed
    run it begins with the overrides of the earlier starts, which are not parsed again.
    """

    def __init__(self, parsed: Iterable[Override] = (), words: Iterable[str] | None = None):
        self.parsed = tuple(parsed)
        self.texts = [str(override.input_line) for override in self.parsed] if words is None else list(words)

    @classmethod
    def parse(cls, words: Iterable[str], known: "Overrides | None" = None) -> "Overrides":
        """Parse overrides, and check their syntax, groups and choices. Those that ``known`` has are not parsed again.

        Raises Refused (2).
        """
        words = list(words)
        found = {str(override.input_line): override for override in known.parsed} if known else {}
        new = {word: _parse(word) for word in dict.fromkeys(words) if word not in found}
        overrides = cls((found | new)[word] for word in words)
        for folder in overrides.folders:
            if not folder.is_dir():
                raise Refused(f"hydra.searchpath: {folder} is not a folder; write hydra.searchpath=[DIR]")
        choices, roots = overrides.groups, root_keys()
        for override in new.values():
            _check(override, choices, roots)
        return overrides

    @property
    def folders(self) -> list[Path]:
        """A person's own config folders, from ``hydra.searchpath=[DIR]``."""
        found = self.get("hydra.searchpath")
        value = [] if found is None or found.is_delete() else found.value()
        return [Path(str(folder).removeprefix("file://")) for folder in as_list(value)]

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """The groups that these overrides may choose from, and their choices."""
        return groups(self.folders)

    @property
    def packages(self) -> list[str]:
        """The packages that the user allows, by ``allow=[…]`` and DLCOURSE_ALLOW."""
        packages = os.environ.get("DLCOURSE_ALLOW", "").replace(",", " ").split()
        asked = [override.value() for override in self.parsed if override.key_or_group == "allow"]
        return packages + [str(package) for value in asked for package in as_list(value)]

    def get(self, key: str) -> Override | None:
        """The last override of a key."""
        return next((override for override in reversed(self.parsed) if override.key_or_group == key), None)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str | None:
        """The value of a key as text."""
        found = self.get(key)
        return default if found is None else str(found.value())

    def flag(self, key: str) -> bool:
        """Whether a key is true; Refused: neither true nor false."""
        found = self.get(key)
        if found is not None and found.value() not in (True, False):
            raise Refused(f"{found.input_line}: expected {key}=true or {key}=false")
        return found is not None and bool(found.value())

    def only(self, wanted: Callable[[str], bool]) -> "Overrides":
        """The overrides whose keys are wanted."""
        return Overrides(override for override in self.parsed if wanted(str(override.key_or_group)))

    def plus(self, *words: str) -> "Overrides":
        """These overrides, followed by new ones."""
        return Overrides.parse([*self.texts, *words], self)

    def after(self, *words: str) -> "Overrides":
        """New overrides, followed by these."""
        return Overrides.parse([*words, *self.texts], self)

    def replace(self, words: Mapping[int, str]) -> "Overrides":
        """These overrides with those at some positions replaced."""
        return Overrides.parse([words.get(k, word) for k, word in enumerate(self.texts)], self)

    def check_single(self, several: str = "values, and takes one") -> None:
        """Refuse an override that names several ``several``; of a text with a comma it says how to write it."""
        for override in self.parsed:
            if override.is_sweep_override():
                line = str(override.input_line)
                raise Refused(f"{line} names several {several}{one_text(line)}")

    def is_group(self, override: Override) -> bool:
        """Whether an override chooses a file of a group; otherwise it sets a value."""
        return override.key_or_group in self.groups or "/" in override.key_or_group


def _parse(word: str) -> Override:
    shown = word if word.isprintable() else repr(word)
    if word != word.encode("utf-8", "replace").decode():  # W&B stores the command line as UTF-8
        raise Refused(f"{shown}: not UTF-8; rename the file or folder")
    if "=" not in word and not word.startswith("~"):
        raise Refused(f"{shown}: expected key=value or group=choice, without spaces (python train.py --help)")
    parser = OverridesParser.create()
    try:
        parsed = parser.parse_override(word)
        own = own_text(word)
        text = as_text(word) if own and _has_other_number(parsed, own[1]) else None
        return parser.parse_override(text) if text else parsed
    except HydraException as error:
        if text := as_text(word):
            return parser.parse_override(text)
        reason = str(error).splitlines()[0]
        raise Refused(
            f"{shown}: {reason}\nNo spaces around =, and quotes around commas and brackets: 'model.hidden=[64,32]'"
        ) from None


def _has_other_number(override: Override, text: str) -> bool:
    """Whether Hydra reads a text, or one of a list, as a number or truth value that is written otherwise: 1_000."""
    value = None if override.is_sweep_override() or override.is_delete() else override.value()
    texts = (split(text[1:-1]) or []) if isinstance(value, list) else [text]
    both = zip(as_list(value), texts, strict=False)
    return any(isinstance(each, bool | int | float) and str(each) != written for each, written in both)


def _check(override: Override, known: Mapping[str, list[str]], roots: Sequence[str]) -> None:
    """Refuse a choice that its group does not have, and the deletion of a group, a root key or a trainer flag."""
    key = override.key_or_group
    if not key or override.is_delete() and (key in known or key.partition(".")[0] in (*roots, "trainer")):
        raise Refused(f"{override.input_line}: every run has one; choose another, as {key or 'key'}=…")
    if key in known and override.package is None:
        _check_choices(override, known[key])
        if key == NAMED["data.augment"]:
            raise Refused(f"{override.input_line}: augmentation belongs to the data; write data.{override.input_line}")


def _check_choices(override: Override, choices: list[str]) -> None:
    group = override.key_or_group
    values: list[Any] = [override.value()]
    if override.is_sweep_override():  # a choice may be a list, as in metrics=[f1],[f1,auroc]
        values = [*override.sweep_iterator()] if override.is_choice_sweep() else values_of(override, choices)
    for value in values:
        if isinstance(value, list) and group not in LISTS:
            word = "'model.activation=[relu,tanh]'" if group == "activation" else f"{group}={choices[0]}"
            raise Refused(f"{group} takes one choice, not a list; write {word}")
        if value == []:
            raise Refused(f"{group}=[]: expected at least one choice; write {group}=none")
        for choice in map(str, as_list(value)):
            if choice not in choices:
                raise Refused(f"no {group}={choice}{nearest(choice, choices)}\nThere are: {', '.join(choices)}")


def as_list(value: Any) -> list[Any]:
    """The values of a list, or the one that stands for a list."""
    return value if isinstance(value, list) else [value]


def values_of(override: Override, choices: Sequence[str] = ()) -> list[str]:
    """The values of an override: one, all of a sweep (``choices`` are those a glob matches), none of a deletion."""
    if override.is_delete():
        return []
    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        return [str(value.start), str(value.end)]
    if isinstance(value, Glob):
        return value.filter(list(choices))
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    return [override.get_value_string()]


def number_or_text(text: str) -> Any:
    """The text as a number if it is one, else as it is."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
