"""The lines of a text file: which are left out, which names the columns, and the sign between cells."""

import csv
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from dlcourse.data.table_encoding import lines_of
from dlcourse.errors import Refused

MOST_COLUMNS = 10_000
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
SAMPLE = 100  # lines that are looked at to find the separator


class Layout(NamedTuple):
    """How a file begins: lines that are left out, then the ``first`` record, of as many cells as there are columns."""

    separator: str
    skip: int
    first: list[str]
    lines: int  # of the first record, whose cells may hold line ends
    end: str  # of its last line
    plain: bool  # whether all lines so far end as this one


def without_comments(file: str, sign: str, copy: Path, said: list[str]) -> str:
    """A copy without the lines that begin with the sign; a line inside a quoted cell begins no comment."""
    quoted, left_out = False, 0
    with copy.open("w", encoding="utf-8", newline="") as out:
        for line in lines_of(file):
            if not quoted and line.lstrip().startswith(sign):
                left_out += 1
            else:
                quoted ^= line.count('"') % 2 == 1
                out.write(line)
    if left_out:
        said.append(f"lines that begin with {sign} and were left out: {left_out:,}")
    return str(copy)


def layout_of(readable: str, file: str, separator: str | None, commented: bool) -> Layout:
    """The layout of a UTF-8 file, called ``file`` in messages.

    Lines at the start that are empty, say ``sep=;`` or begin with # (if no comment sign is given) are left out.
    """
    skip, first, before = 0, "", ""
    for line in lines_of(readable):
        before, first = first, line.strip("\r\n")
        if said := re.fullmatch(r'"?sep=(.)"?', first):
            separator = separator or said[1]
        elif first.strip() and (commented or not first.startswith("#")):
            break
        skip += 1
    else:
        raise Refused(f"{file} has no line that names the columns")
    alike = [each for each in SEPARATORS if each != " " and before.count(each) == first.count(each) > 0]
    if before.startswith("#") and alike and not commented:
        raise Refused(
            f"{file}: a line that begins with # has as many cells as the next: set data.comment='#' if it is a\n"
            "comment, or remove the # if it names the columns"
        )
    if max(map(first.count, separator or SEPARATORS)) >= MOST_COLUMNS:
        raise Refused(f"{file}: its first line has more than {MOST_COLUMNS:,} cells; that many columns are not read")
    separator = separator or separator_of(readable, skip, file)
    if separator != " " and _spaces_before_quotes(islice(lines_of(readable), skip, None), separator):
        raise Refused(f"{file}: some rows have several spaces before a quoted cell; leave one or none")
    records = csv.reader(islice(lines_of(readable), skip, None), delimiter=separator, skipinitialspace=True)
    try:
        cells = next(records)
    except csv.Error:
        raise Refused(f"{file}: a quoted cell in the line of names has no end; correct the quotes") from None
    ends = [line[len(line.rstrip("\r\n")) :] for line in islice(lines_of(readable), skip + records.line_num)]
    return Layout(separator, skip, cells, records.line_num, ends[-1], records.line_num == len({*ends}) == 1)


def _spaces_before_quotes(lines: Iterable[str], separator: str) -> bool:
    """Whether several spaces stand before a quoted cell, whose quotes DuckDB takes for text."""
    before, quoted = re.compile(rf'(?:^|{re.escape(separator)}) {{2,}}"'), False
    for line in lines:
        if '  "' in line and any((line.count('"', 0, at.end() - 1) + quoted) % 2 == 0 for at in before.finditer(line)):
            return True
        quoted ^= line.count('"') % 2 == 1
    return False


def with_plain_names(file: str, layout: Layout, header: bool, copy: Path) -> str:
    """A copy that begins with a line of names c0, c1, …, for DuckDB finds no row below names over several lines.

    Lines that are left out are not in it, nor the first record if it is a ``header``.
    """
    with copy.open("w", encoding="utf-8", newline="") as out:
        out.write(layout.separator.join(f"c{k}" for k in range(len(layout.first))) + layout.end)
        out.writelines(islice(lines_of(file), layout.skip + layout.lines * header, None))
    return str(copy)


def separator_of(readable: str, skip: int, file: str) -> str:
    """The sign that divides the first lines into as many cells as there are names, at least two.

    A space only where no other does; if none does, the one that divides most lines so. Refused: several that do.
    """
    lines = [*islice(lines_of(readable), skip, skip + SAMPLE)]
    cells = {sign: _cells(lines, sign) for sign in SEPARATORS}
    share = {sign: sum(count == each[0] for count in each) / len(each) for sign, each in cells.items()}
    several = [sign for sign, each in cells.items() if each[0] > 1]
    # Where no row has as many cells as there are names, spaces are part of the names.
    if " " in several and cells[" "][0] not in (cells[" "][1:] or cells[" "]):
        several.remove(" ")
    fitting = [sign for sign in several if share[sign] == 1]
    if len(cells[","]) > 1 and (found := [sign for sign in fitting if sign != " "])[1:]:
        names = " or ".join(f"{SEPARATORS[sign]} ({cells[sign][0]} columns)" for sign in found)
        raise Refused(f"{file}: its cells may be separated by {names}; set data.separator='\"{found[-1]}\"', say")
    if fitting or several and max(share[sign] for sign in several) >= 0.5:
        return max(several, key=lambda sign: (share[sign], sign != " ", cells[sign][0]))
    return next((sign for sign in SEPARATORS if share[sign] == 1), ",")


def _cells(lines: Sequence[str], separator: str) -> list[int]:
    """How many cells each record has; 0 at the end if a quoted cell has none."""
    found: list[int] = []
    after = re.compile(rf'" +(?={re.escape(separator)}|[\r\n]|$)')  # space behind quotes
    given = (line.strip(" \r\n") if separator == " " else after.sub('"', line) for line in lines)
    try:
        for record in csv.reader(given, delimiter=separator, skipinitialspace=True, strict=True):
            found += [len(record)] * bool(record)
    except csv.Error:
        found.append(0)
    return found[: -1 if len(lines) == SAMPLE and len(found) > 1 else None]
