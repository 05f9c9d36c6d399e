"""Tables in files as people and programs write them, of which every cell and label is known.

`tables` draws one: its columns, how each is written, and the format, separator, quotes, encoding and line ends of the
file. What can be read in two ways is known as such, with the reading that the rule of ``data=table`` decides.
"""

import gzip
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import duckdb
from hypothesis import strategies as st

NUMBER, DATE, WORD = "number", "date", "word"
EPOCH = datetime(1970, 1, 1)
MISSING = ("NA", "?", "-", "N/A", "nan")
NO_NUMBER = -88_888_888  # stands for a missing one
GAPS = ("", "", "NA", "?", "-", "n/a", "NaN", " ")
WORDS = (
    *("red", "blue", "Öl", "Müll", 'say "hi"', '"', "a,b", "a;b", "x|y", "tab\there", "two\nlines", "a\r\nb", "it's"),
    *(
        "naïve",
        "ß",
        "#hash",
        "C#",
        "a=b",
        "Ø 50 mm",
        "None",
        "true",
        "+",
        ".",
        "e",
        "E5",
        "0x1F",
        "~",
        "\\",
        "\\n",
        "''",
    ),
    *("two  spaces", "long " * 30 + "word", "inf", "1:30", "<<", "%", "Straße 5, Stock 2; links", "é", "x\ny\nz", "’"),
)
NAMES = (
    *("a", "b", "Größe", "weight, kg", "x;y", 'the "best"', "two\nlines", "select", "c0", "2020", "1", "a.b", "x=1"),
    *("a|b", "tab\there", "it's", "o p", "%", "$", "t", "p0", "v", "k" * 70, "n°", "x[0]", "(m)", "1.5", "é", "row"),
)
MEASURES = ("sq ft", "km/h", "kg", "mm", "°C", "m²", "rooms", "th")
DAY_FIRST, MONTH_FIRST = "%d/%m/%Y", "%m/%d/%Y"


class Column(NamedTuple):
    """A column: its cells as text, what each must be read as, and as what it stands in a file with types.

    ``values``: a number (of a date its days since 1970) or a word; None where it is missing.
    """

    kind: str
    texts: list[str]
    values: list[Any]
    native: list[Any]
    type: str = "VARCHAR"  # of ``native`` in Parquet
    mark: str = ""  # of decimals
    day_first: bool | None = None  # of dates with slashes
    typed: bool = False  # ``native`` is written

    def gaps(self, draw: Random, share: float, marks: Sequence[str]) -> "Column":
        """The column with a share of its cells missing, written by these marks."""
        lost = [draw.random() < share for _ in self.texts]
        texts = [draw.choice(marks) if gap else text for gap, text in zip(lost, self.texts, strict=True)]
        cells = ([None if gap else v for gap, v in zip(lost, each, strict=True)] for each in (self.values, self.native))
        column = self._replace(texts=texts, values=next(cells), native=next(cells))
        left = [value for value in column.values if value is not None]
        if self.kind == WORD and all(word.isdigit() and word[0] != "0" for word in left):  # of codes, none with a zero
            return column._replace(kind=NUMBER, values=[v and float(v) for v in column.values], mark=".")
        return column

    def readings(self) -> dict[str, list[float | None]]:
        """Of numbers as text: what they are by each decimal mark that all cells can have."""
        units = "|".join(map(re.escape, ("$", "€", "£", "%", "USD", "EUR", "CHF", *MEASURES)))
        bare = [re.sub(rf" ?({units}) ?", "", text.replace("−", "-")) for text in self.texts]
        bare = [f"-{text[1:-1]}" if text.startswith("(") else text for text in bare]
        found = {mark: [v if v is None else reading(t, mark) for t, v in self._cells(bare)] for mark in ".,"}
        return {m: [each and each[0] for each in read] for m, read in found.items() if () not in read}  # type: ignore

    def _cells(self, texts: list[str]) -> Any:
        return zip(texts, self.values, strict=True)

    def ambiguous_days(self) -> bool:
        """Whether all dates are some when day and month change places."""
        dates = [text.split("/") for text, value in self._cells(self.texts) if value is not None]
        return self.day_first is not None and all(max(int(one), int(other)) <= 12 for one, other, _ in dates)


def reading(text: str, mark: str) -> tuple[float] | tuple[()]:
    """What a number without unit is by this decimal mark; nothing where it has none."""
    other = ".,"[mark == "."]
    groups = "|".join(rf"[1-9]\d{{0,2}}(?:{each}\d{{3}})+" for each in (re.escape(other), r"[ '’\xa0\u202f]"))
    if found := re.fullmatch(rf"([-+]?)(\d*|{groups})(?:{re.escape(mark)}(\d*))?([eE][-+]?\d+)?", text):
        sign, whole, rest, power = found.groups()
        if re.search(r"\d", whole + (rest or "")) and not (power and not whole.isdigit() and whole):
            return (float(f"{sign}{re.sub(r'[^0-9]', '', whole)}.{rest or 0}{power or ''}"),)
    return ()


def numbers(draw: Random, rows: int, house: str, kind: str) -> Column:
    """Numbers in one style, ``kind``, such as whole or money; ``house``: the decimal mark of most."""
    mark = house if draw.random() < 0.8 else draw.choice(".,")
    between = draw.choice(["", "", ".,"[mark == "."], " ", "\u202f", "\xa0", "'", "’"])
    digits = 0 if kind == "whole" else draw.choice([1, 2, 2, 3, 6])
    size = 10 ** draw.choice([1, 3, 5, 7])
    low = -size if draw.random() < 0.5 else 0
    varied, short, e = draw.random() < 0.3, draw.random() < 0.2, draw.choice("eE")
    unit, apart = draw.choice(["$", "€", "£", "USD", "EUR", "CHF"]), draw.choice(["", " "])
    before, behind = draw.choice([(unit + apart, ""), ("", apart + unit)]) if kind == "money" else ("", "")
    behind = (
        apart + {"percent": "%", "measure": draw.choice(MEASURES)}[kind] if kind in ("percent", "measure") else behind
    )
    minus = draw.choice(["-", "-", "-", "−", "()"])
    sign_first = draw.random() < 0.7
    texts, values = [], []
    for _ in range(rows):
        value = Decimal(draw.randint(low, size)) + Decimal(draw.randint(0, 10**digits - 1)).scaleb(-digits)
        value = Decimal(int(value)) if varied and draw.random() < 0.3 else value
        if kind == "scientific":
            text = f"{value.scaleb(draw.randint(-20, 20)):.{draw.randint(0, 4) if varied else digits}e}"
            values.append(float(text))
            text = text.replace("e", e).replace(".", mark)
        else:
            values.append(float(value))
            whole, _, rest = f"{abs(value):f}".partition(".")
            whole = f"{int(whole):,}".replace(",", between) if between else whole
            text = "-" * (value < 0) + whole + (mark + rest if rest else "")
            if short:
                text = text[1:] if text.startswith(f"0{mark}") else draw.choice(["", "+"]) * (value > 0) + text
        sign = text[0] if text[0] in "+-" and sign_first else ""
        text = sign + before + text.removeprefix(sign) + behind
        if minus != "-" and text.startswith("-") and kind != "scientific":
            text = f"({text[1:]})" if minus == "()" else text.replace("-", minus, 1)
        texts.append(text)
    if kind == "whole":
        return Column(NUMBER, texts, values, [*map(int, values)], draw.choice(["BIGINT", "INTEGER", "HUGEINT"]), mark)
    return Column(NUMBER, texts, values, values, "DOUBLE", mark)


def dates(draw: Random, rows: int, house: str, kind: str) -> Column:
    """Dates in one order, or with a time."""
    form = draw.choice(["%Y-%m-%d", "%d.%m.%Y", DAY_FIRST, MONTH_FIRST, "%Y/%m/%d"])
    times = ["", *(["T%H:%M:%S", "T%H:%M", " %H:%M:%S.%f"] if form == "%Y-%m-%d" else []), " %H:%M", " %H:%M:%S"]
    times = [""] if draw.random() < 0.5 else [draw.choice(times)] if draw.random() < 0.7 else times
    padded, span = draw.random() < 0.7, draw.choice([10, 1000, 80_000])
    first = EPOCH + timedelta(draw.choice([-25_000, -5, 0, 15_000]))
    texts, moments = [], []
    for _ in range(rows):
        time = draw.choice(times)
        text = (first + timedelta(draw.randint(0, span), draw.randint(0, 86399), draw.randint(0, 999) * 1000)).strftime(
            form + time
        )
        moments.append(datetime.strptime(text, form + time))
        texts.append(text if padded else re.sub(r"(?<![\d:.])0(?=\d)|(?<=\d\.)0(?=\d\.)", "", text))
    values = [(moment - EPOCH) / timedelta(microseconds=1) / 86400e6 for moment in moments]
    slashes = form == DAY_FIRST if form in (DAY_FIRST, MONTH_FIRST) else None
    return Column(DATE, texts, values, moments, "TIMESTAMP", day_first=slashes)


def words(draw: Random, rows: int, house: str, kind: str) -> Column:
    """Words, booleans, or codes with leading zeros."""
    if kind == "boolean":
        known = draw.choice([["no", "yes"], ["FALSE", "TRUE"], ["f", "t"], ["false", "true"]])
        truths = [draw.random() < 0.5 for _ in range(rows)]
        return Column(WORD, texts := [known[truth] for truth in truths], texts, truths, "BOOLEAN")
    known = draw.sample(WORDS, draw.randint(1, 8))
    if kind == "code":
        known = ["007", *(str(draw.randint(0, 999)).zfill(draw.choice([2, 5])) for _ in range(draw.randint(1, 6)))]
    texts = [known[0], *(draw.choice(known) for _ in range(rows - 1))]
    return Column(WORD, texts, texts, texts)


KINDS: dict[str, Callable[[Random, int, str, str], Column]] = {
    **dict.fromkeys(("whole", "decimal", "money", "percent", "measure", "scientific"), numbers),
    **dict.fromkeys(("word", "boolean", "code"), words),
    "date": dates,
}


class Table(NamedTuple):
    """A table in a file, what to say of it, and what must come of it."""

    names: list[str]
    columns: list[Column]
    target: int
    ignore: list[int]
    words: dict[str, Any]  # how data=table is told to read it
    suffix: str
    write: Callable[[Path, Sequence[int], Sequence[int]], None]  # to a path: these columns, these rows
    refusals: Sequence[str] = ()  # why it must be refused
    doubts: Sequence[str] = ()  # why it may be refused

    @property
    def rows(self) -> int:
        return len(self.columns[0].texts)

    @property
    def used(self) -> list[int]:
        """The columns that are inputs: all but the target, those that are ignored or empty, and one that counts."""
        counted = [at for at, name in enumerate(self.names) if not name]
        left_out = [self.target, *self.ignore, *counted]
        return [k for k, c in enumerate(self.columns) if k not in left_out and {*c.values} != {None}]

    def complete(self) -> list[int]:
        """The rows without a missing value."""
        cells = [self.columns[at].values for at in (*self.used, self.target)]
        return [row for row in range(self.rows) if all(values[row] is not None for values in cells)]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows = draw(st.integers(5, 60))
    pick = Random(draw(st.integers(0, 2**32)))
    kinds = draw(st.lists(st.sampled_from([*KINDS]), min_size=1, max_size=4))
    kinds.insert(target := draw(st.integers(0, len(kinds))), draw(st.sampled_from(["word", "whole", "decimal"])))
    suffix = draw(st.sampled_from([".csv"] * 4 + [".tsv", ".csv.gz", ".txt", ".parquet", ".xlsx"]))
    missing = draw(st.sampled_from(["indicator"] * 6 + ["drop_rows", "drop_rows", "refuse"]))
    house = draw(st.sampled_from(".,"))
    na_values = [*MISSING, *draw(st.sampled_from([[], [NO_NUMBER]]))]
    columns = []
    for at, kind in enumerate(kinds):
        column = KINDS[kind](Random(draw(st.integers(0, 2**16))), rows, house, kind)
        share = draw(st.sampled_from([0, 0, 0.1, 0.5])) if at != target or missing == "drop_rows" else 0
        marks = [*pick.sample(GAPS, 2), *[f"{NO_NUMBER}", f"{NO_NUMBER}.0"] * (NO_NUMBER in na_values)]
        columns.append(column.gaps(pick, share, marks))
    names = pick.sample(NAMES, len(columns))
    said: dict[str, Any] = {"na_values": na_values, "missing": missing}
    marks = {column.mark for column in columns if column.kind == NUMBER}
    if len(marks) == 1 and pick.random() < 0.3:
        said["decimal"] = marks.pop()
    firsts = {column.day_first for column in columns} - {None}
    if len(firsts) == 1 and pick.random() < 0.5:
        said["day_first"] = firsts.pop()
    if suffix != ".parquet" and draw(st.sampled_from([False, False, False, True])):
        start = pick.choice([0, 1])
        cells = [*range(start, start + rows)]
        columns.insert(0, Column(NUMBER, [*map(str, cells)], cells, cells, "BIGINT", "."))
        names.insert(0, "")
        target += 1
    ignore = [at for at, name in enumerate(names) if at != target and name and pick.random() < 0.1]
    if suffix == ".xlsx":  # XML has no CR LF
        columns = [
            c._replace(**{each: _unix(getattr(c, each)) for each in ("texts", "values", "native")}) for c in columns
        ]
    if suffix in (".parquet", ".xlsx"):
        columns = [column._replace(typed=pick.random() < 0.6) for column in columns]
        write = (in_parquet if suffix == ".parquet" else in_workbook)(names, columns)
        return decided(Table(names, columns, target, ignore, said, suffix, write), ",")
    return text_file(Table(names, columns, target, ignore, said, suffix, in_parquet(names, columns)), pick)


def _unix(cells: list[Any]) -> list[Any]:
    return [cell.replace("\r\n", "\n") if isinstance(cell, str) else cell for cell in cells]


def text_file(table: Table, pick: Random) -> Table:
    """The table as a text file in one of many styles."""
    names, columns, said = table.names, table.columns, dict(table.words)
    separator = "\t" if table.suffix == ".tsv" else pick.choice(",,,;;\t|")
    end, last = pick.choice(["\n", "\n", "\r\n", "\r\n", "\r"]), pick.choice([1, 1, 0, 2])
    encoding = pick.choice(["utf-8"] * 3 + ["utf-8-sig", "utf-16", "cp1252"])
    try:
        "".join([*names, *(cell for column in columns for cell in column.texts)]).encode(encoding)
    except UnicodeError:
        encoding = "utf-8"
    if encoding in ("utf-16", "cp1252") and pick.random() < 0.3:
        said["encoding"] = encoding
    if pick.random() < 0.2:
        said["separator"] = separator
    if pick.random() < 0.1 and "" not in names:
        said["header"] = False
        names = [f"column{k}" for k in range(1, len(names) + 1)]
    if pick.random() < 0.1:
        said["comment"] = "#"
    before = pick.choice([[]] * 5 + [["# made by hand"], [f"sep={separator}"], ["", "# made by hand", "#"]])
    always, spaced, padded = (pick.random() < share for share in (0.3, 0.1, 0.1))
    comments = said.get("comment") and pick.random() < 0.5

    def cell(content: str, signs: str) -> str:
        if always or {*content} & {*signs, '"', "\n", "\r"} or content.startswith("#"):
            content = '"' + content.replace('"', '""') + '"'
        return f" {content} " if padded and separator != "\t" else content

    def write(path: Path, chosen: Sequence[int], rows: Sequence[int]) -> None:
        content = [[columns[at].texts[row] for at in chosen] for row in rows]
        content = content if said.get("header") is False else [[names[at] for at in chosen], *content]
        if len(chosen) == 1:  # an empty line is no row
            content = [[text if text.strip() else "NA" for text in row] for row in content]
        signs = ",;|\t" if len(chosen) == 1 else separator
        lines = [(separator + " " * spaced).join(cell(text, signs) for text in row) for row in content]
        if comments:
            lines.insert(len(lines) // 2 + 1, f"# a line{separator} to be left out")
        whole = (end.join([*before, *lines]) + end * min(last, len(chosen))).encode(encoding)
        path.write_bytes(gzip.compress(whole, 1) if table.suffix == ".csv.gz" else whole)

    first = [text for c in columns for text in c.texts] if said.get("header") is False else names
    unquoted = not always and any({*text} & {*",;|\t"} - {separator} for text in first)
    doubts = ["a separator in two ways"] * (unquoted and "separator" not in said)
    doubts += ["several spaces before quotes"] * (padded and spaced)
    return decided(table._replace(names=names, words=said, write=write, doubts=doubts), separator)


def in_parquet(names: list[str], columns: list[Column]) -> Callable[[Path, Sequence[int], Sequence[int]], None]:
    def write(path: Path, chosen: Sequence[int], rows: Sequence[int]) -> None:
        cells = [
            [(columns[at].native if columns[at].typed else columns[at].texts)[row] for at in chosen] for row in rows
        ]
        types = [columns[at].type if columns[at].typed else "VARCHAR" for at in chosen]
        selected = ", ".join(
            f'c{k}::{kind} as "{names[at].replace(chr(34), 2 * chr(34))}"'
            for k, (at, kind) in enumerate(zip(chosen, types, strict=True))
        )
        values = ", ".join(f"({', '.join('?' * len(chosen))})" for _ in rows)
        listed = ", ".join(f"c{k}" for k in range(len(chosen)))
        duckdb.execute(
            f"copy (select {selected} from (values {values}) v({listed})) to '{path}' (format parquet)",
            [value for row in cells for value in row],
        )

    return write


def in_workbook(names: list[str], columns: list[Column]) -> Callable[[Path, Sequence[int], Sequence[int]], None]:
    def write(path: Path, chosen: Sequence[int], rows: Sequence[int]) -> None:
        import openpyxl

        book = openpyxl.Workbook()
        book.active.append([names[at] or None for at in chosen])
        for row in rows:
            book.active.append([(columns[at].native if columns[at].typed else columns[at].texts)[row] for at in chosen])
        book.save(path)

    return write


def decided(table: Table, separator: str) -> Table:
    """The table with its cells as the rules of ``data=table`` read them, and why it must or may be refused."""
    columns, refusals, words = list(table.columns), [], table.words
    at_stake = [*table.used, table.target]
    found = {at: columns[at].readings() for at in at_stake if columns[at].kind == NUMBER and not columns[at].typed}
    commas = any([*readings] == [","] for readings in found.values()) and "decimal" not in words
    for at, readings in found.items():
        assert readings.get(columns[at].mark) == columns[at].values, (columns[at], readings)
        if len(readings) == 2 and readings["."] != readings[","] and "decimal" not in words:
            columns[at] = columns[at]._replace(values=readings["."])
            shown = any("," in text for text in columns[at].texts)
            refusals += ["a comma in two ways"] * (shown and separator != ",")
            refusals += ["points beside decimal commas"] * (commas and not shown)
    if any(columns[at].ambiguous_days() and not columns[at].typed for at in at_stake) and "day_first" not in words:
        refusals.append("days in two ways")
    if words["missing"] == "refuse" and any(None in columns[at].values for at in at_stake):
        refusals.append("missing values")
    if words["missing"] == "drop_rows" and not table.complete():
        refusals.append("no complete row")
    if not table.used:
        refusals.append("no input")
    if len({*columns[table.target].values} - {None}) < 2:
        refusals.append("a constant target")
    if "" in table.names and table.rows < 20:
        refusals.append("a column without a name")
    if table.suffix == ".xlsx" and "decimal" in words:
        table = table._replace(doubts=["numbers of a workbook beside a decimal mark"])
    return table._replace(columns=columns, refusals=refusals)
