"""The words of a command line: parsed, and checked against the groups of conf/."""

import difflib
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from hydra.errors import HydraException

from dlcourse.config.groups import NAMED, _root_keys, groups
from dlcourse.errors import Refused


def nearest(word: str, known: Iterable[str]) -> str:
    """«; did you mean …?», or nothing."""
    found = near(word, known)
    return f"; did you mean {found}?" if found else ""


def near(word: str, known: Iterable[str]) -> str | None:
    """The name that may have been meant. Names are compared by their last part; lr is near learning_rate."""

    def initials(name: str) -> str:
        return "".join(part[:1] for part in name.split("_")) if "_" in name else ""

    last = {name.rpartition(".")[2]: name for name in known}
    word = word.rpartition(".")[2]
    close = [name for name in last if name == word or name == initials(word) or initials(name) == word]
    close = close or [name for name in last if word and name.startswith(word)]
    close = close or difflib.get_close_matches(word, list(last), n=1, cutoff=0.5)
    return last[close[0]] if close else None


def parse(words: list[str]) -> list[Override]:
    """The words of a command line, their syntax, groups and choices checked."""
    parsed = []
    for word in words:
        shown = word if word.isprintable() else repr(word)
        if word != word.encode("utf-8", "replace").decode():  # W&B keeps a command line as UTF-8 only
            raise Refused(f"{shown}: it is no UTF-8; give the file or folder that it names another name")
        if "=" not in word and not word.startswith("~"):
            raise Refused(f"{shown}: expected key=value or group=choice, without spaces (python train.py --help)")
        try:
            parsed.append(OverridesParser.create().parse_override(word))
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise Refused(
                f"{shown}: {reason}\nNo spaces around =, and quotes around commas and brackets: 'model.hidden=[64,32]'"
            ) from None
    known = groups()
    for override in parsed:
        key = override.key_or_group
        if not key or override.is_delete() and key in (*known, *_root_keys()):
            raise Refused(f"{override.input_line}: every run has one; choose another, as {key or 'key'}=…")
        if key in known and not override.is_delete() and override.package is None:
            _check_choices(override, key, known[key])
            if key == NAMED["data.augment"]:
                raise Refused(
                    f"{override.input_line}: augmentation belongs to the data; write data.{override.input_line}"
                )
    return parsed


def word(key: str, text: object) -> str:
    """``key=text`` as a word, whatever characters the text has."""
    quoted = str(text).replace("'", "\\'")
    return f"{key}='{quoted}'"


def values_of(override: Override) -> list[str]:
    """The values that a word names: one, or all those of a sweep; none where it deletes."""
    if override.is_delete():
        return []
    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        return [str(value.start), str(value.end)]
    if isinstance(value, Glob):
        return value.filter(groups().get(override.key_or_group, []))
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    return [override.get_value_string()]


def plain(text: str) -> Any:
    """A number as a number; any other word as it is written."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _check_choices(override: Override, group: str, choices: list[str]) -> None:
    for value in [override.value()] if not override.is_sweep_override() else values_of(override):
        if isinstance(value, list):
            word = "'model.activation=[relu,tanh]'" if group == "activation" else f"{group}={choices[0]}"
            raise Refused(f"{group} takes one choice, not a list; write {word}")
        if str(value) not in choices:
            listed = ", ".join(choices)
            raise Refused(f"no {group}={value}{nearest(str(value), choices)}\nThere are: {listed}")
