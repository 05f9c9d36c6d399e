"""What the target column of a table is: a class, a label, or a value. Imports neither torch nor lightning."""

from collections.abc import Mapping
from typing import Any

from dlcourse.data.facts import CLASSES, LABELS, VALUES, class_facts, literal
from dlcourse.data.table_column import CATEGORY, NUMBER, Column, Reading, count
from dlcourse.data.table_file import TableFile
from dlcourse.data.table_input import needs_float64
from dlcourse.data.table_reading import check_missing, read_as, read_column, words_of
from dlcourse.data.table_words import DROP_ROWS
from dlcourse.errors import Refused, one_line

MOST_CLASSES = 20  # up to this many different integers are classes, many more are values
ROWS_A_CLASS = 5  # fewer than this many rows for each of more integers: values
NO = ("no", "nein", "nej", "nee", "non")  # words for a label that is not there


def label(text: str) -> str:
    """The name of the class in a cell: 1, 1.0 and 1e0 are one class, 01 is another."""
    try:
        if text.lstrip("+-").isdigit():
            return text if text.lstrip("+-").startswith("0") and len(text.lstrip("+-")) > 1 else str(int(text))
        number = float(text) if "_" not in text else float("nan")
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def labels_of(table: TableFile, column: Column) -> dict[str, str]:
    """The class of each text of a target column: one for each number, however it is written, or for each word."""
    cell = column.value if column.kind != NUMBER else f"c{table.names.index(column.name)}::varchar"
    value = column.value if column.kind == NUMBER else "0.0"
    found = {}
    for text, number in table.all(f"select distinct {cell} as text, {value} from t where text is not null"):
        plain = column.kind != NUMBER or column.form in ("", ".") and not {*text} - {*"+-.0123456789eE"}
        found[text] = literal(table.path, label(text if plain else repr(number)))
    return found


def goal_column(table: TableFile, at: int, kind: str | None, reading: Reading) -> Column:
    """The target column, read as what its task needs: of a task of classes as words, if not all of it are numbers."""
    if kind == VALUES:
        return read_as(table, at, NUMBER, "", reading)
    try:
        return read_column(table, at, reading)
    except Refused:
        if kind is None:
            raise
        return count(table, at)._replace(kind=CATEGORY, value=f"c{at}::varchar")


def read_target(
    table: TableFile, at: int, kind: str | None, tasks: Mapping[str, str], reading: Reading, missing: str
) -> tuple[dict[str, Any], Column]:
    """What a target means for the configuration, and its column. Refused: nothing to learn, or not what is asked."""
    path, name = table.path, one_line(table.names[at])
    check_missing(table, at, missing, (DROP_ROWS,))
    column = goal_column(table, at, kind, reading)
    if column.missing == column.rows:
        raise Refused(f"{path}: the target column '{name}' has no values; there is nothing to learn")
    if column.kind == NUMBER and kind in (None, VALUES) and column.distinct > 1:
        whole = table.one(f"bool_and({column.value} = trunc({column.value}))")[0]
        many = column.distinct > MOST_CLASSES
        if kind == VALUES or not whole or many and column.distinct * ROWS_A_CLASS > table.rows:
            wide = {"float64_target": True} if needs_float64(table, column) else {}
            facts = {"y": VALUES, "task": tasks[VALUES], "outputs": 1, "classes": None, "target_written": column.form}
            return facts | wide, column
        if many:
            raise Refused(
                f"{path}: the target column '{name}' has {column.distinct} different whole numbers; set "
                f"data.task={tasks[CLASSES]} if each is a class,\nor data.task={tasks[VALUES]} if they are amounts"
            )
    labels = {*labels_of(table, column).values()}
    if kind == LABELS and len(labels) > 2:
        raise Refused(
            f"{path}: the target column '{name}' has {len(labels)} different values, and a label two, as 0 and 1, "
            "or no and yes;\nleave it out of data.target, or predict it alone"
        )
    if len(labels) < 2:
        only = one_line([*labels][0])
        raise Refused(f"{path}: the target column '{name}' is '{only}' in every row; there is nothing to learn")
    if column.kind != NUMBER:
        words_of(table, column._replace(kind=CATEGORY, value=f"c{at}::varchar"), reading)
    order = sorted(labels, key=lambda text: (float(text) if column.kind == NUMBER else text.casefold() not in NO, text))
    if kind == LABELS:
        return {"y": LABELS, "task": tasks[LABELS], "outputs": 1, "label_words": order} | {
            "classes": [literal(path, table.names[at])]
        }, column
    return class_facts(path, f"values of '{name}'", order, kind, tasks), column
