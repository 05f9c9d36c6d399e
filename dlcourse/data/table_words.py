"""What a person may say of a table file."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from dlcourse.data.table_column import Reading
from dlcourse.data.table_formats import Writing
from dlcourse.errors import Refused

#: What becomes of missing inputs: nothing is, the row is left out, or a value of the training rows stands for them.
REFUSE, DROP_ROWS, INDICATOR = "refuse", "drop_rows", "indicator"
UNKNOWN = "unknown"  # of a word that training did not see: none of the known ones
POLICIES = (REFUSE, "median", "mean", "most_frequent", INDICATOR, DROP_ROWS)
#: Parts of a date, and how many days each takes to come round.
PERIODS = {"day": 1.0, "week": 7.0, "year": 365.2425}


class Words(NamedTuple):
    """What a person may say of a table file; each is a key of ``data``."""

    separator: str | None = None
    encoding: str | None = None
    comment: str | None = None
    header: bool = True
    sheet: str | None = None
    na_values: Sequence[Any] = ()
    decimal: str | None = None
    day_first: bool | None = None
    max_categories: int = 100
    missing: str = REFUSE
    unseen: str = REFUSE
    date_parts: Sequence[str] = ()

    def check(self) -> None:
        """Refused: a word that is none of those that the key has."""
        given = dict(zip(("separator", "encoding", "comment"), self, strict=False))
        given |= {"decimal": self.decimal, "sheet": self.sheet}
        for key, value in given.items():
            if value is not None and not (isinstance(value, str) and value):
                raise Refused(f"data.{key}={value}: expected a text, in quotes: data.{key}='\"{value}\"'")
        for key, value in {"separator": self.separator, "comment": self.comment}.items():
            if value is not None and len(value) != 1:
                raise Refused(f"data.{key}={value}: expected one sign, as ';' or '#'")
        if self.decimal not in (None, ".", ","):
            raise Refused(f"data.decimal={self.decimal}: expected . or ,")
        if self.day_first not in (None, True, False) or self.header not in (True, False):
            raise Refused(f"data.day_first={self.day_first}, data.header={self.header}: expected true or false")
        if isinstance(self.max_categories, bool) or not isinstance(self.max_categories, int) or self.max_categories < 1:
            raise Refused(f"data.max_categories={self.max_categories}: expected a number of words from 1 on")
        if self.missing not in POLICIES:
            raise Refused(f"data.missing={self.missing}: expected one of {', '.join(POLICIES)}")
        if self.unseen not in (REFUSE, UNKNOWN):
            raise Refused(f"data.unseen={self.unseen}: expected {REFUSE} or {UNKNOWN}")
        parts = self.date_parts if isinstance(self.date_parts, Sequence) else [None]
        if isinstance(parts, str) or sorted(map(str, parts)) != [each for each in sorted(PERIODS) if each in parts]:
            some = f"a list of some of {', '.join(PERIODS)}, each once"
            raise Refused(f"data.date_parts={self.date_parts}: expected {some}, or [] for none")
        if isinstance(self.na_values, str) or not isinstance(self.na_values, Sequence):
            raise Refused(f"data.na_values={self.na_values}: expected a list, as data.na_values=[NA,none]")

    @property
    def writing(self) -> Writing:
        """How the file is written."""
        return Writing(*self[:5], tuple("null" if word is None else str(word) for word in self.na_values))

    @property
    def reading(self) -> Reading:
        """How its cells are read."""
        return Reading(*self[6:9])
