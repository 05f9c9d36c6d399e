"""Suggests the name that a user may have meant."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean NAME?``, or an empty text if nothing is near."""
    found = near(word, known)
    return f"; did you mean {found}?" if found else ""


def near(word: str, known: Iterable[str]) -> str | None:
    """The name nearest to a word, if any. Names are compared by their last part; lr is near learning_rate."""

    def initials(name: str) -> str:
        return "".join(part[:1] for part in name.split("_")) if "_" in name else ""

    last = {name.rpartition(".")[2]: name for name in known}
    word = word.rpartition(".")[2]
    close = [name for name in last if name == word or name == initials(word) or initials(name) == word]
    close = close or [name for name in last if word and name.startswith(word)]
    close = close or difflib.get_close_matches(word, list(last), n=1, cutoff=0.5)
    return last[close[0]] if close else None
