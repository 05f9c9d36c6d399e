"""The overrides of a command line: each parsed once, and checked against the groups of conf/."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from hydra.errors import HydraException

from dlcourse.config.groups import LISTS, NAMED, groups, root_keys
from dlcourse.config.suggestions import nearest
from dlcourse.errors import Refused


class Overrides:
    """The words of one command, as they were written and as Hydra parsed them.

    A command builds it once, with `parse`; everything below the command takes it. The methods that return another
    one parse only the words that are new. ``words`` is what the run directory records: for a resumed run also the
    words of its earlier starts, which are not parsed again.
    """

    def __init__(self, parsed: Iterable[Override] = (), words: Iterable[str] | None = None):
        self.parsed = tuple(parsed)
        self.words = [str(override.input_line) for override in self.parsed] if words is None else list(words)

    @classmethod
    def parse(cls, words: Iterable[str], known: "Overrides | None" = None) -> "Overrides":
        """Check the syntax, groups and choices of words. Those that ``known`` holds are taken from it.

        Raises Refused (2).
        """
        words = list(words)
        found = {str(override.input_line): override for override in known.parsed} if known else {}
        new = {word: _parse(word) for word in dict.fromkeys(words) if word not in found}
        overrides = cls((found | new)[word] for word in words)
        for folder in overrides.folders:
            if not folder.is_dir():
                raise Refused(f"hydra.searchpath: {folder} is no folder; write hydra.searchpath=[DIR]")
        choices, roots = overrides.groups, root_keys()
        for override in new.values():
            _check(override, choices, roots)
        return overrides

    @property
    def folders(self) -> list[Path]:
        """The config folders of the person at the keyboard, of ``hydra.searchpath=[DIR]``."""
        found = self.get("hydra.searchpath")
        value = [] if found is None or found.is_delete() else found.value()
        return [Path(str(each).removeprefix("file://")) for each in (value if isinstance(value, list) else [value])]

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """The groups that these overrides may choose from, and their choices."""
        return groups(self.folders)

    @property
    def packages(self) -> list[str]:
        """The packages that the person at the keyboard allows: those of ``allow=[…]`` and of DLCOURSE_ALLOW."""
        packages = os.environ.get("DLCOURSE_ALLOW", "").replace(",", " ").split()
        for override in self.parsed:
            if override.key_or_group == "allow":
                value = override.value()
                packages += [str(item) for item in (value if isinstance(value, list) else [value])]
        return packages

    def get(self, key: str) -> Override | None:
        """The last override of a key."""
        return next((override for override in reversed(self.parsed) if override.key_or_group == key), None)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str | None:
        """The value of a key as text."""
        found = self.get(key)
        return default if found is None else str(found.value())

    def only(self, wanted: Callable[[str], bool]) -> "Overrides":
        """The overrides whose keys are wanted."""
        return Overrides(override for override in self.parsed if wanted(str(override.key_or_group)))

    def plus(self, *words: str) -> "Overrides":
        """These overrides, then the new words."""
        return Overrides.parse([*self.words, *words], self)

    def after(self, *words: str) -> "Overrides":
        """The new words, then these overrides."""
        return Overrides.parse([*words, *self.words], self)

    def replace(self, words: Mapping[int, str]) -> "Overrides":
        """These overrides with other words at some positions."""
        return Overrides.parse([words.get(k, word) for k, word in enumerate(self.words)], self)

    def recorded_as(self, words: Sequence[str]) -> "Overrides":
        """The same overrides, recorded in the run directory as ``words``."""
        return Overrides(self.parsed, words)


def _parse(word: str) -> Override:
    shown = word if word.isprintable() else repr(word)
    if word != word.encode("utf-8", "replace").decode():  # W&B keeps a command line as UTF-8 only
        raise Refused(f"{shown}: this is not UTF-8; give the file or folder that it names another name")
    if "=" not in word and not word.startswith("~"):
        raise Refused(f"{shown}: expected key=value or group=choice, without spaces (python train.py --help)")
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise Refused(
            f"{shown}: {reason}\nNo spaces around =, and quotes around commas and brackets: 'model.hidden=[64,32]'"
        ) from None


def _check(override: Override, known: Mapping[str, list[str]], roots: Sequence[str]) -> None:
    """Refuse a group's choice that does not exist, and the deletion of what every run has."""
    key = override.key_or_group
    if not key or override.is_delete() and key in (*known, *roots):
        raise Refused(f"{override.input_line}: every run has one; choose another, as {key or 'key'}=…")
    if key in known and not override.is_delete() and override.package is None:
        _check_choices(override, key, known[key])
        if key == NAMED["data.augment"]:
            raise Refused(f"{override.input_line}: augmentation belongs to the data; write data.{override.input_line}")


def _check_choices(override: Override, group: str, choices: list[str]) -> None:
    for value in [override.value()] if not override.is_sweep_override() else values_of(override, choices):
        if isinstance(value, list) and group in LISTS:
            for each in value:
                _check_choice(each, group, choices)
        elif isinstance(value, list):
            word = "'model.activation=[relu,tanh]'" if group == "activation" else f"{group}={choices[0]}"
            raise Refused(f"{group} takes one choice, not a list; write {word}")
        else:
            _check_choice(value, group, choices)


def _check_choice(value: Any, group: str, choices: list[str]) -> None:
    if str(value) not in choices:
        listed = ", ".join(choices)
        raise Refused(f"no {group}={value}{nearest(str(value), choices)}\nThere are: {listed}")


def word(key: str, text: object) -> str:
    """``key=text`` as a word, whatever characters the text has."""
    quoted = str(text).replace("'", "\\'")
    return f"{key}='{quoted}'"


def values_of(override: Override, choices: Sequence[str] = ()) -> list[str]:
    """The values that an override names, of its group's ``choices``: one, or all of a sweep; none where it deletes."""
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


def plain(text: str) -> Any:
    """A number as a number; any other text as it is written."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
