"""Tables as people write them: what each column must be read as, or which word makes it readable."""

import gzip
import math

import duckdb
import numpy as np
import pytest

from dlcourse.data.table_column import NUMBER, Reading
from dlcourse.data.table_facts import inspect_table, table_facts
from dlcourse.data.table_file import read_table
from dlcourse.data.table_formats import Writing
from dlcourse.data.table_reading import read_as, read_column
from dlcourse.errors import CONFIG, Refused
from tests.composing import checked

TASKS = {"two": "binary", "classes": "classification", "values": "regression", "labels": "multilabel"}
NA = {"na_values": ["NA", "?", "-"]}


def written(folder, content, name="own.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def facts(folder, content, target="y", *, task=None, columns=None, ignore=(), **words):
    return table_facts(written(folder, content), target, TASKS, task, columns, ignore, {**NA, **words})


def kinds(found):
    return [row["kind"] for row in found["described"] if row["becomes"] != "the target"]


def column(folder, cells, head="a", separator=",", **words):
    """The values of one column, whose cells are written below each other, with a second column."""
    rows = [f"{cell}{separator}{n}" for n, cell in enumerate(cells)]
    path = written(folder, "\n".join([f"{head}{separator}n", *rows]) + "\n")
    table = read_table(path, Writing(na_values=("NA", "?")))
    found = read_column(table, 0, Reading(**words))
    return found, np.ma.asarray(table.array(found.value)).tolist()


@pytest.mark.parametrize(
    ("cells", "separator", "expected", "said"),
    [
        (["1", "2.5", "-3e2", ".5", "+4."], ",", [1, 2.5, -300, 0.5, 4], ""),
        (['"0,123"', '"0,456"'], ",", [0.123, 0.456], "decimal comma"),
        (["0,3", "-1,25", "7"], ";", [0.3, -1.25, 7], "decimal comma"),
        (['"1,720"', "610", '"12,345,678"'], ",", [1720, 610, 12345678], "thousands marks"),
        (['"1,720.50"', '"2,000"'], ",", [1720.5, 2000], "thousands marks"),
        (["1.720,5", "12.000", "3"], ";", [1720.5, 12000, 3], "decimal comma, thousands marks"),
        (["1.234.567", "2.345.678"], ";", [1234567, 2345678], "thousands marks"),
        (["1 720", "12 345 678,5", "9"], ";", [1720, 12345678.5, 9], "decimal comma, thousands marks"),
        (["1'720.5", "9"], ",", [1720.5, 9], "thousands marks"),
        (["1\u202f720", "2\u00a0001"], ",", [1720, 2001], "thousands marks"),
        (['"$1,720"', "$3", "-$5"], ",", [1720, 3, -5], "$, thousands marks"),
        (["3,50 €", "1.000,00 €"], ";", [3.5, 1000], "€, decimal comma, thousands marks"),
        (["USD 5", "USD 7.5"], ",", [5, 7.5], "USD"),
        (["17%", "5 %", "0.5%"], ",", [17, 5, 0.5], "% (17% is 17)"),
        (["1", "?", "3", "NA", ""], ",", [1, None, 3, None, None], ""),
        (["1.288", "2.345", "9.999"], ",", [1.288, 2.345, 9.999], ""),
        (["1,5e3", "2e-1", "7"], ";", [1500, 0.2, 7], "decimal comma"),
        (["1,5e3", "2,5e3"], ";", [1500, 2500], "decimal comma"),
        (["1,5E-2", "2E+4"], ";", [0.015, 20000], "decimal comma"),
        (["1.5 kg", "2kg", "-3 kg"], ",", [1.5, 2, -3], "kg"),
        (["1,5 sq ft", "2,25 sq ft"], ";", [1.5, 2.25], "sq ft, decimal comma"),
        (["85 m2", "7.5 m2"], ",", [85, 7.5], "m2"),
        (["1\u2009200", "9"], ",", [1200, 9], "thousands marks"),
        (["20 °C", "−3 °C", ""], ",", [20, -3, None], "°C"),
        (["(1.5)", "2", "3"], ",", [-1.5, 2, 3], "(5) is -5"),
        (["($1,234.50)", "$3.00"], ";", [-1234.5, 3], "$, thousands marks, (5) is -5"),
        (["−5", "−6", "7"], ",", [-5, -6, 7], ""),
    ],
)
def test_numbers_as_people_write_them(tmp_path, cells, separator, expected, said):
    found, values = column(tmp_path, cells, separator=separator)
    assert (found.kind, found.said) == ("number", said)
    assert values == expected


@pytest.mark.parametrize(
    ("cells", "expected", "said"),
    [
        (["1970-01-02", "1970-1-11", "1969-12-31"], [1, 10, -1], "year-month-day"),
        (["1970-01-02T12:00:00", "1970-01-02 06:00"], [1.5, 1.25], "year-month-day"),
        (["02.01.1970", "11.01.1970 12:00"], [1, 10.5], "day.month.year"),
        (["13/01/1970", "02/01/1970"], [12, 1], "day/month/year"),
        (["01/13/1970", "01/02/1970"], [12, 1], "month/day/year"),
        (["1970/01/13", "1970/01/02"], [12, 1], "year/month/day"),
    ],
)
def test_dates_become_days(tmp_path, cells, expected, said):
    found, values = column(tmp_path, cells)
    assert (found.kind, found.said) == ("date", said) and values == expected


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["01", "1", "02"], "codes: some begin with 0"),
        (["1.5", "a", "b"], ""),
        (["yes", "no"], ""),
        (["2020-01-01", "0x1F", "~", "1:30", "<<"], ""),
        (["5a", "5b", "6a"], ""),
        (["5m", "5f", "6m"], ""),
        (["1st", "2nd", "3rd"], ""),
        (["007A", "008A"], ""),
        (["(a)", "(b)"], ""),
    ],
)
def test_words_stay_words(tmp_path, cells, words):
    found, values = column(tmp_path, cells)
    assert (found.kind, found.said, values) == ("category", words, cells)


@pytest.mark.parametrize(
    ("cells", "separator", "said"),
    [
        (["1", "2", "x"], ",", "row 4: column 'a' holds numbers, but here 'x'|data.na_values"),
        (["0,5", "1.5", "2"], ";", "row 2: column 'a' holds numbers, but here '0,5'|data.decimal"),
        (["1,720", "2,345"], ";", "the comma may be a decimal mark or between thousands|data.decimal=','"),
        (["$1", "2"], ",", "different units (1 with none, 1 with $)"),
        (["$1", "€2"], ",", "different units"),
        (["5", "17%"], ",", "different units"),
        (["1 kg", "500 g"], ",", "different units (1 with g, 1 with kg)"),
        (["1 h", "30 min", "2 h"], ",", "different units (2 with h, 1 with min)"),
        (["1.5 kg", "2 kg", "3"], ",", "different units (1 with none, 2 with kg)"),
        (["inf", "1", "2"], ",", "row 2: column 'a' holds numbers, but here 'inf'"),
        (["1e999", "1", "2"], ",", "row 2: column 'a' is 1e999"),
        (["1e39", "1", "2"], ",", "row 2: column 'a' is 1e39"),
        (["1_000", "1", "2"], ",", "row 2: column 'a' holds numbers, but here '1_000'"),
        (["2020-13-01", "2020-01-01"], ",", "row 2: column 'a' seems to hold dates, but here '2020-13-01'"),
        (["2024-01-31 10:00 PM", "2024-01-31"], ",", "row 2: column 'a' seems to hold dates"),
        (["2024-01-31T10:00:00+02:00", "2024-01-31"], ",", "row 2: column 'a' seems to hold dates"),
        (["31.01.24", "01.03.99"], ",", "row 2: column 'a' seems to hold dates, but here '31.01.24'"),
        (["01/02/2024", "03/04/2024"], ",", "day/month/year or month/day/year|data.day_first=true"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, cells, separator, said):
    with pytest.raises(Refused) as refusal:
        column(tmp_path, cells, separator=separator)
    assert all(word in str(refusal.value) for word in said.split("|")), str(refusal.value)


def test_words_decide_what_can_be_read_in_two_ways(tmp_path):
    assert column(tmp_path, ["1,720", "2,345"], separator=";", decimal=",")[1] == [1.72, 2.345]
    assert column(tmp_path, ["1,720", "2,345"], separator=";", decimal=".")[1] == [1720, 2345]
    assert column(tmp_path, ["1.720", "2.345"], decimal=",")[1] == [1720, 2345]
    assert column(tmp_path, ["02/01/1970", "03/01/1970"], day_first=True)[1] == [1, 2]
    assert column(tmp_path, ["02/01/1970", "03/01/1970"], day_first=False)[1] == [31, 59]
    with pytest.raises(Refused, match="here '0,5'"):
        column(tmp_path, ["0,5", "1"], separator=";", decimal=".")


BODY = [(0.5, 1.25, "a"), (1.5, -2.0, "b"), (2.5, 0.0, "a")]


def lines(separator, form=str):
    return "".join(f"{form(a)}{separator}{form(b)}{separator}{kind}\n" for a, b, kind in BODY)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b,y\n" + lines(","), []),
        ("a;b;y\n" + lines(";"), ["cells are separated by semicolons"]),
        ("a\tb\ty\n" + lines("\t"), ["cells are separated by tabs"]),
        ("a|b|y\n" + lines("|"), ["cells are separated by bars"]),
        ("a b y\n" + lines(" "), ["cells are separated by spaces"]),
        ("sep=;\na;b;y\n" + lines(";"), ["cells are separated by semicolons", "lines before the names*1"]),
        ("# made by hand\n\na,b,y\n" + lines(","), ["lines before the names*2"]),
        ("a,b,y\r\n" + lines(",").replace("\n", "\r\n"), []),
        (b"\xef\xbb\xbfa,b,y\n" + lines(",").encode(), []),
        (("a;b;y\n" + lines(";")).encode("utf-16"), ["cells are separated by semicolons"]),
        ('"a","b","y"\n' + lines(","), []),
    ],
)
def test_dialects_are_found_and_said(tmp_path, content, said):
    table = read_table(written(tmp_path, content))
    assert table.names == ["a", "b", "y"] and table.rows == 3
    assert len(table.said) == len(said)
    for found, expected in zip(table.said, said, strict=True):
        start, _, end = expected.partition("*")
        assert found.startswith(start) and found.endswith(end)
    assert [float(value) for (value,) in table.all("select c1 from t")] == [1.25, -2, 0]


@pytest.mark.parametrize(
    ("content", "names", "first"),
    [
        ("a\n1,5\n2,5\n", ["a"], ("1,5",)),
        (' "a" \r\n "0,84" \r\n', ["a"], ("0,84",)),
        ("weight, kg;a|b;y\n1;2;3\n4;5;6\n", ["weight, kg", "a|b", "y"], ("1", "2", "3")),
        ('"a"\t"b"\n"1,5"\t"2 3"\n"4,5"\t"6 7"\n', ["a", "b"], ("1,5", "2 3")),
        ("first name;y\nAda Lovelace;1\n", ["first name", "y"], ("Ada Lovelace", "1")),
        ('a,"b\nc"\r\n1,2\r\n3,4\r\n', ["a", "b\nc"], ("1", "2")),
        ("\n# two kinds of line ends\na,b\r\n1,2\r\n", ["a", "b"], ("1", "2")),
    ],
)
def test_the_separator_divides_the_rows_as_it_divides_the_names(tmp_path, content, names, first):
    table = read_table(written(tmp_path, content))
    assert table.names == names and table.all("select * from t")[0] == first


def test_what_could_be_two_separators_is_refused(tmp_path):
    path = written(tmp_path, "weight, kg;y\n0,5;1\n1,5;0\n")
    with pytest.raises(Refused, match=r"separated by commas \(2 columns\) or semicolons.*data.separator="):
        read_table(path)
    assert read_table(path, Writing(separator=";")).names == ["weight, kg", "y"]


def test_quotes_behind_spaces(tmp_path):
    assert read_table(written(tmp_path, 'a,y\n1, "x,y" \n')).all("select * from t") == [("1", "x,y")]
    with pytest.raises(Refused, match="several spaces before a quoted cell"):
        read_table(written(tmp_path, 'a,y\n1,  "x" \n', "aligned.csv"))
    with pytest.raises(Refused, match="several spaces before a quoted cell"):
        read_table(written(tmp_path, "a,y\n" + '1,"x"\n' * 150 + '1,  "x"\n', "late.csv"))
    inside = 'a,y\n1,"x,  "\n2,"x\n  "\n3,"  ""x"""\n'
    assert read_table(written(tmp_path, inside, "inside.csv")).all("select c1 from t") == [("x,",), ("x\n",), ('"x"',)]


def test_rows_that_end_in_different_ways_are_refused(tmp_path):
    with pytest.raises(Refused, match=r"its rows end in different ways \(CR LF, LF or CR\)"):
        read_table(written(tmp_path, "a,y\n1,2\r\n3,4\n"))
    values = read_table(written(tmp_path, '1,"x\ny"\r\n3,"4"\r\n', "quoted.csv"), Writing(header=False))
    assert values.all("select * from t") == [("1", "x\ny"), ("3", "4")]


def test_separators_inside_quotes_do_not_count(tmp_path):
    table = read_table(written(tmp_path, '"weight, kg";"class (0, 1)"\n"1.5";"0"\n"2,5";"1"\n'))
    assert table.names == ["weight, kg", "class (0, 1)"]
    assert table.all("select * from t") == [("1.5", "0"), ("2,5", "1")]


def test_other_encodings(tmp_path):
    text = "größe,y\n1,Öl\n2,Müll\n"
    table = read_table(written(tmp_path, text.encode("latin-1")))
    assert table.names == ["größe", "y"] and "Windows-1252" in table.said[0]
    other = read_table(written(tmp_path, text.encode("cp437"), "dos.csv"), Writing(encoding="cp437"))
    assert other.names == ["größe", "y"] and other.said == []
    with pytest.raises(Refused, match="data.encoding=utf-9"):
        read_table(written(tmp_path, text, "own2.csv"), Writing(encoding="utf-9"))


def test_no_header(tmp_path):
    table = read_table(written(tmp_path, "1,2\n3,4\n"), Writing(header=False))
    assert table.names == ["column1", "column2"] and table.rows == 2


def test_comment_lines(tmp_path):
    content = "a,y\n1,2\n# a word between\n3,4\n"
    with pytest.raises(Refused, match="row 3: 1 cells, but the header has 2.*data.comment"):
        read_table(written(tmp_path, content))
    table = read_table(written(tmp_path, content), Writing(comment="#"))
    assert table.rows == 2 and table.said == ["lines that begin with # and were left out: 1"]
    inside = read_table(written(tmp_path, 'a,y\nC#,"two\n# lines"\n', "inside.csv"), Writing(comment="#"))
    assert inside.all("select * from t") == [("C#", "two\n# lines")]


def test_packed_text_several_files_and_odd_names(tmp_path):
    content = "a,y\n1,2\n3,4\n"
    odd = written(tmp_path, content, "my [1] = (a) #ü~.csv")
    assert read_table(odd).rows == 2
    packed = written(tmp_path, gzip.compress(content.encode()), "own.csv.gz")
    assert read_table(packed).all("select * from t") == [("1", "2"), ("3", "4")]
    for k in range(3):
        written(tmp_path, f"a,y\n{k},0\n", f"part{k}.csv")
    assert read_table(str(tmp_path / "part*.csv")).all("select c0 from t") == [("0",), ("1",), ("2",)]
    assert read_table([odd, str(tmp_path / "part1.csv")]).all("select c0 from t") == [("1",), ("3",), ("1",)]
    other = written(tmp_path, "b,y\n1,2\n", "other.csv")
    with pytest.raises(Refused, match="other.csv has the columns b, y; .*has a, y"):
        read_table([odd, other])


def test_parquet_keeps_its_types(tmp_path):
    import duckdb

    path = str(tmp_path / "own.parquet")
    columns = (
        "range * 0.5 as a, range as b, range % 2 = 0 as c, date '1970-01-01' + range::int as d, 'w' || range % 3 as e"
    )
    duckdb.execute(f"copy (select {columns} from range(30)) to '{path}' (format parquet)")
    table = read_table(path)
    found = [read_column(table, at, Reading()) for at in range(5)]
    assert [each.kind for each in found] == ["number", "number", "category", "date", "category"]
    assert table.array(found[3].value).tolist() == list(range(30))
    assert table.array(found[0].value).tolist() == [0.5 * k for k in range(30)]


def test_the_first_sheet_of_a_workbook_or_the_one_that_is_named(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "first"
    for row in (["a", "y"], [1.5, "x"], [None, None], [2, "z"]):
        book.active.append(row)
    other = book.create_sheet("second")
    for row in (["b", "y"], [7, 8], [9, 10]):
        other.append(row)
    book.save(path := str(tmp_path / "own.xlsx"))
    table = read_table(path)
    assert table.names == ["a", "y"] and table.all("select * from t") == [("1.5", "x"), ("2", "z")]
    assert table.said == ["the sheet first of first, second"]
    assert read_table(path, Writing(sheet="second")).names == ["b", "y"]
    with pytest.raises(Refused, match="no sheet third; it has first, second"):
        read_table(path, Writing(sheet="third"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: __import__("os").mkfifo(path), "it is no regular file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"PK\x03\x04\x00\x00"), "is no text"),
        (lambda path: path.write_bytes(b"\n\n#x\n"), "no line that names the columns"),
        (lambda path: path.write_text(",".join(map(str, range(20_000))) + "\n"), "more than 10,000 cells"),
        (lambda path: path.write_text("a,b,a\n1,2,3\n"), "two columns are named 'a'"),
        (lambda path: path.write_text('a,b\n1,"2\n3,4\n'), "row 2: a quoted cell has no end"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, make, said):
    make(tmp_path / "own.csv")
    with pytest.raises(Refused, match=said):
        read_table(tmp_path / "own.csv")


def test_a_changed_file_is_read_again(tmp_path):
    path = written(tmp_path, "a,y\n1,2\n")
    assert read_table(path).rows == 1 and read_table(path) is read_table(path)
    written(tmp_path, "a,y\n1,2\n3,4\n")
    assert read_table(path).rows == 2


ROWS = "".join(f"{n},{math.sin(n):.3f},{n % 2}\n" for n in range(40))


def test_what_becomes_of_each_column_is_said(tmp_path):
    found = facts(tmp_path, ",a,y\n" + ROWS)
    assert [row["becomes"] for row in found["described"]] == ["left out: counts the rows", "1 input", "the target"]
    found = facts(tmp_path, "id,a,y\n" + ROWS)
    assert found["shape"] == [2] and found["described"][0]["kind"] == "number (looks like a row number)"
    found = facts(tmp_path, "a,b,y,\n" + ROWS.replace("\n", ",\n"))
    assert [row["becomes"] for row in found["described"]][-1] == "left out: no values" and found["shape"] == [2]
    found = facts(tmp_path, "id,a,y\n" + ROWS, ignore=["id"])
    assert found["shape"] == [1] and found["described"][0]["becomes"] == "left out: data.ignore"
    assert facts(tmp_path, "id,a,y\n" + ROWS, columns=["a"])["columns"] == found["columns"]
    with pytest.raises(Refused, match=r"no column 'idd' \(data.ignore\); did you mean 'id'"):
        facts(tmp_path, "id,a,y\n" + ROWS, ignore=["idd"])
    with pytest.raises(Refused, match="column 1 has no name"):
        facts(tmp_path, ",a,y\n" + ROWS.replace("1,", "1.5,", 1))


def test_targets(tmp_path):
    prices = "".join(f'{n},"${1000 + 7 * n:,}"\n' for n in range(60))
    assert facts(tmp_path, "a,y\n" + prices)["task"] == "regression"
    assert facts(tmp_path, "2020,2021\n" + "1,0\n2,1\n3,0\n", target=2021)["classes"] == ["0", "1"]
    letters = "".join(f"{n},{n % 26}\n" for n in range(600))
    with pytest.raises(Refused, match="26 different whole numbers; set data.task=classification.*\n.*regression"):
        facts(tmp_path, "a,y\n" + letters)
    assert facts(tmp_path, "a,y\n" + letters, task="classification")["outputs"] == 26
    assert facts(tmp_path, "a,y\n" + letters, task="regression")["outputs"] == 1
    codes = "".join(f"{n / 7:.3f},{['1', '01', '1.0'][n % 3]}\n" for n in range(30))
    assert facts(tmp_path, "a,y\n" + codes)["classes"] == ["01", "1"]
    large = "".join(f"{n / 7:.3f},{2**53 + n % 2}\n" for n in range(30))
    assert facts(tmp_path, "a,y\n" + large)["classes"] == [str(2**53), str(2**53 + 1)]
    names = "".join(f"{n / 7:.3f},name{n}\n" for n in range(30))
    with pytest.raises(Refused, match="column 'y' is different in 30 of 30 rows"):
        facts(tmp_path, "a,y\n" + names)


def test_many_words_need_a_word(tmp_path):
    tickets = "".join(f"T{n % 150},{n % 2}\n" for n in range(600))
    with pytest.raises(Refused, match=r"150 different words, .*\n.*data.ignore=\[a\], or set data.max_categories=150"):
        facts(tmp_path, "a,y\n" + tickets)
    assert facts(tmp_path, "a,y\n" + tickets, max_categories=150)["shape"] == [150]


def test_every_problem_is_listed(tmp_path):
    people = "".join(f"name{n},{'x' if n == 3 else n},T{n % 150},{n % 2}\n" for n in range(600))
    path = written(tmp_path, "Name,Age,Ticket,y\n" + people)
    found = inspect_table(path, "y", TASKS)
    assert [("Name" in p, "Age" in p, "Ticket" in p) for p in found.problems] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    assert [row["becomes"] for row in found.described] == ["refused", "refused", "refused", "the target"]


def test_inspect_data_prints_what_would_be_read_and_all_that_is_wrong(tmp_path, capsys):
    from scripts.inspect_data import main

    path = written(tmp_path, "a;b;y\n0,5;x;1\n1,5;x;0\n2,5;z;1\n")
    words = ["data=table", f"data.path={path}", "data.target=y"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "cells are separated by semicolons" in printed and "number (decimal comma)" in printed
    assert "task=binary" in printed and "3 inputs" in printed
    bad = written(tmp_path, "a;b;y\n0,5;x;1\n;;0\n2,5;z;1\n", "bad.csv")
    assert main(["data=table", f"data.path={bad}", "data.target=y"]) == CONFIG
    told = capsys.readouterr()
    assert "row 3: column 'a' is missing" in told.err and "row 3: column 'b' is missing" in told.err
    with pytest.raises(Refused, match="data=digits reads no files of your own"):
        main(["data=digits"])
    with pytest.raises(Refused, match="data.path=FILE.csv"):
        main(["data=table"])


def test_a_list_of_files_and_a_pattern_are_paths(tmp_path):
    for k in range(2):
        written(tmp_path, "a,y\n" + "".join(f"{n},{n % 2}\n" for n in range(20 * k, 20 * k + 20)), f"part{k}.csv")
    listed = f"[{tmp_path / 'part0.csv'},{tmp_path / 'part1.csv'}]"
    for path in (listed, f"'{tmp_path / 'part*.csv'}'"):
        found = checked(["data=table", f"data.path={path}", "data.target=y"]).cfg.data
        assert found.described[0].distinct == 40


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"separator": ";;"}, "data.separator=;;: expected one sign"),
        ({"separator": 1}, "data.separator=1: expected a text"),
        ({"decimal": "x"}, "data.decimal=x: expected . or ,"),
        ({"day_first": "maybe"}, "data.day_first=maybe"),
        ({"header": 3}, "data.header=3"),
        ({"max_categories": 0}, "data.max_categories=0"),
        ({"na_values": "NA"}, "data.na_values=NA: expected a list"),
        ({"date_parts": "day"}, "data.date_parts=day: expected a list"),
        ({"date_parts": None}, "data.date_parts=None: expected a list"),
        ({"date_parts": ["day", "day"]}, "data.date_parts=.*: expected a list of some of day, week, year, each once"),
        ({"date_parts": ["day", "month"]}, "data.date_parts=.*: expected a list"),
        ({"ignore": None}, "data.ignore=null: expected a list"),
        ({"ignore": "a"}, r"data.ignore=a: expected a list of columns, as data.ignore=\[a\]"),
    ],
)
def test_words_that_are_none_are_refused(tmp_path, words, said):
    with pytest.raises(Refused, match=said):
        facts(tmp_path, "id,a,y\n" + ROWS, **words)


def test_several_values_at_once(tmp_path, load):
    body = "".join(f"{n / 7:.3f},{n},{3 * n + 0.5}\n" for n in range(60))
    path = written(tmp_path, "a,s,d\n" + body)
    found = table_facts(path, ["s", "d"], TASKS)
    assert (found["task"], found["outputs"], found["shape"]) == ("regression", 2, [1])
    assert [row["becomes"] for row in found["described"]] == ["1 input", "the target", "the target"]
    data = load("table", path=path, target=["s", "d"])
    (x, y), test = data.arrays()
    assert y.shape == (60, 2) and bool((y[:, 1] == 3 * y[:, 0] + 0.5).all()) and test is None
    with pytest.raises(Refused, match="row 2: column 'w' holds numbers, but here 'x'"):
        table_facts(written(tmp_path, "a,s,w\n1,2,x\n2,3,z\n", "w.csv"), ["s", "w"], TASKS)
    with pytest.raises(Refused, match="data.ignore names s, which is the target"):
        table_facts(path, ["s", "d"], TASKS, ignore=["s"])


@pytest.mark.parametrize(
    ("trained", "new", "expected"),
    [
        ("x;y\n1.500;1\n2,5;0\n", "x\n1.500\n2.250\n", [1500, 2250]),
        ("x;y\n1,5;1\n2,5;0\n", "x\n1.5\n2.25\n", [1.5, 2.25]),
        ('x,y\n"1,720.5",1\n2,0\n', 'x\n"1,720"\n', [1720]),
        ("x,y\n01/13/1970,1\n02/14/1970,0\n", "x\n01/02/1970\n", [1]),
        ("x,y\n1,1\n2,0\n", "x\n01\n", [1]),
        ("x,y\n$5,1\n$6,0\n", "x\n$7\n", [7]),
        ("x,y\n5 kg,1\n6 kg,0\n", "x\n7kg\n", [7]),
        ("x,y\n5 kg,1\n6 kg,0\n", "x\n7 g\n", "another unit than in the training table ('kg' and 'g')"),
        ("x,y\n$5,1\n$6,0\n", "x\n€5\n", "another unit than in the training table ('$' and '€')"),
        ("x,y\n17%,1\n20%,0\n", "x\n0.17\n", "another unit"),
        ("x,y\n1,1\n2,0\n", "x\n$5\n", "another unit"),
        (
            "x,y\n01/13/1970,1\n02/14/1970,0\n",
            "x\n13/02/1970\n",
            "dates as day/month/year, and in the training",
        ),
        ("x,y\n1970-01-02,1\n1970-01-03,0\n", "x\n1970-02-31\n", "row 2: column 'x' seems to hold dates"),
        ("x,y\n1970-01-02,1\n1970-01-03,0\n", "x\nsoon\n", "holds dates, but here words: soon"),
        ("x,y\n1.5,1\n2,0\n", "x\n3\nx\n", "row 3: column 'x' holds numbers, but here 'x'"),
    ],
)
def test_a_new_table_is_read_as_the_one_that_was_trained_on(tmp_path, load, trained, new, expected):
    data = load("table", path=written(tmp_path, trained), target="y")
    path = written(tmp_path, new, "new.csv")
    if isinstance(expected, str):
        with pytest.raises(Refused) as refusal:
            data.read(path)
        assert expected in str(refusal.value)
    else:
        assert data.read(path).flatten().tolist() == expected


@pytest.mark.parametrize(
    ("trained", "new", "expected", "faults"),
    [
        ("1.5", "2\n1e999\n", [2], {1: "'1e999' in column 'x' is too large"}),
        ("1.5", "2.5\n1,5\n3\n", [2.5, 3], {1: "'1,5' in column 'x' is no number with a decimal point"}),
        ("1,5", "2,5\n1.5\n1.500\n", [2.5, 1500], {1: "'1.5' in column 'x' is no number with a decimal comma"}),
        ("1.5", "2.5\n1.234.567\n", [2.5], {1: "'1.234.567' in column 'x' is no number with a decimal point"}),
        ("1.5", "2,5\n1,5\nx\n", [2.5, 1.5], {2: "'x' in column 'x' is no number"}),
        ("1.5", "2.5\n$5\n3\n", [2.5, 3], {1: "'$5' in column 'x' has another unit than in the training table (none)"}),
        (
            "$5",
            "$7\n5\n€5\n",
            [7],
            {
                k: f"'{v}' in column 'x' has another unit than in the training table ($)"
                for k, v in {1: "5", 2: "€5"}.items()
            },
        ),
        ("5 kg{}", "7 kg{}\n5\n", [7], {1: "'5' in column 'x' has another unit than in the training table (kg{})"}),
        ("5 kg", "(3 kg)\n007 kg\n", [-3, 7], {}),
        ("5 kg", "7 kg\n5\n5 g\n(6 kg)\n", [7, -6], {1: "has another unit", 2: "'5 g' in column 'x' is no number"}),
        ("1,5", "1,5\n01\n1e39\n", [1.5, 1], {2: "'1e39' in column 'x' is too large"}),
        ("1970-01-09", "1970-01-02\n31.01.2024\n", [1], {1: "'31.01.2024' in column 'x' is no date as year-month-day"}),
        ("1970-01-09", "02.01.1970\nsoon\n", [1], {1: "'soon' in column 'x' is no date"}),
        ("13/01/1970", "02/01/1970\n01/31/1970\n31/01/1970\n", [1, 30], {1: "no date as day/month/year"}),
    ],
)
def test_cells_in_another_form_than_the_column_are_named(tmp_path, load, trained, new, expected, faults):
    data = load("table", path=written(tmp_path, f"x;y\n{trained};1\n{trained.replace('9', '8')};0\n"), target="y")
    x, found = data.rows_to_predict(
        written(tmp_path, f"x;z\n{new}".replace("\n", ";0\n").replace("z;0", "z"), "new.csv")
    )
    assert x.flatten().tolist() == expected
    assert [*found] == [*faults] and all(faults[row] in found[row] for row in faults)


def test_numbers_of_parquet_that_are_none_are_named(tmp_path, load):
    data = load("table", path=written(tmp_path, "x,y\n1.5,1\n2,0\n"), target="y")
    path = str(tmp_path / "new.parquet")
    duckdb.sql("select unnest([1.5, 'nan'::double, 'inf'::double, 2]) as x").write_parquet(path)
    x, found = data.rows_to_predict(path)
    assert x.flatten().tolist() == [1.5, 2]
    assert found == {1: "column 'x' is missing", 2: "inf in column 'x' is no number or too large"}


def test_a_code_among_decimal_commas_is_no_number(tmp_path):
    table = read_table(written(tmp_path, "x;y\n1,5;0\n01;1\n"))
    with pytest.raises(Refused, match="row 3: column 'x' holds numbers, but here '01'"):
        read_as(table, 0, NUMBER, "", Reading())


def test_words_of_a_new_table_may_all_be_numbers(tmp_path, load):
    data = load("table", path=written(tmp_path, "x,y\n1,1\np,0\nq,1\n"), target="y")
    assert data.read(written(tmp_path, "x\n1\n1\np\n", "new.csv")).tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_classes_are_values_however_they_are_written(tmp_path):
    assert facts(tmp_path, "x;y\n1;1.000\n2;1\n3;1.000.000\n4;1\n")["classes"] == ["1", "1000", "1000000"]
    assert facts(tmp_path, "x;y\n1;1,0\n2;1\n3;2\n4;2,0\n")["classes"] == ["1", "2"]
    assert facts(tmp_path, "x;y\n1;1 000\n2;1\n3;1'000\n4;1\n")["classes"] == ["1", "1000"]
    with pytest.raises(Refused, match="several targets are values or labels"):
        facts(tmp_path, "x,s,d\n1,0,1\n2,1,0\n", target=["s", "d"], task="classification")
    with pytest.raises(Refused, match="each named once"):
        facts(tmp_path, "x,s,d\n1,0,1\n2,1,0\n", target=["s", "s"])
    assert facts(tmp_path, "x,y\n0,01\n1,02\n2,03\n", task="regression")["outputs"] == 1


def test_points_between_thousands_beside_decimal_commas(tmp_path):
    content = "x;p;y\n1.720;0,5;a\n3.450;1,5;b\n"
    with pytest.raises(Refused, match="points in column 'x' may stand between thousands"):
        facts(tmp_path, content)
    assert facts(tmp_path, content, decimal=",")["described"][0]["values"] == "1720 … 3450"
    with pytest.raises(Refused, match="points in column 'x' may stand between thousands"):
        facts(tmp_path, content.replace("1.720", "1.720 €").replace("3.450", "3.450 €"))
    assert kinds(facts(tmp_path, "x;p;y\n0.720;0,5;a\n3.450;1,5;b\n")) == ["number", "number (decimal comma)"]


def test_missing_values_that_are_numbers(tmp_path):
    found = facts(tmp_path, "x,z,y\n1,-999.0,a\n1.5,2,b\n", na_values=[-999], ignore=["z"])
    assert found["shape"] == [1]
    with pytest.raises(Refused, match="row 2: column 'z' is missing"):
        facts(tmp_path, "x,z,y\n1,-999.0,a\n1.5,2,b\n", na_values=[-999])
    with pytest.raises(Refused, match="row 3: column 'x' is missing"):
        facts(tmp_path, "x,y\n1,a\nNULL,b\n2,a\n", na_values=[None])


def test_parquet_of_other_types(tmp_path):
    import duckdb

    folder = tmp_path / "x=7"
    folder.mkdir()
    duckdb.execute(f"copy (select 1 as x, 'a' as y from range(3)) to '{folder / 'f.parquet'}' (format parquet)")
    table = read_table(folder / "f.parquet")
    assert table.names == ["x", "y"] and table.all("select distinct c0 from t") == [(1,)]
    duckdb.execute(f"copy (select 1.5::double as x, 'a' as y) to '{folder / 'g.parquet'}' (format parquet)")
    with pytest.raises(Refused, match="g.parquet has the columns x DOUBLE.*has x INTEGER"):
        read_table([str(folder / "f.parquet"), str(folder / "g.parquet")])
    duckdb.execute(f"copy (select [1, 2] as x, 'a' as y) to '{folder / 'h.parquet'}' (format parquet)")
    with pytest.raises(Refused, match=r"column 'x' is of type INTEGER\[\].*data.ignore"):
        read_column(read_table(folder / "h.parquet"), 0, Reading())
    duckdb.execute(
        f"copy (select x, 'a' as y from (values (-999), (1)) v(x)) to '{folder / 'i.parquet'}' (format parquet)"
    )
    found = read_table(folder / "i.parquet", Writing(na_values=("-999",)))
    assert found.all("select c0 from t") == [(None,), (1,)]


@pytest.mark.parametrize(
    ("name", "content", "words", "said"),
    [
        ("own.xlsx", b"a,b\n1,2\n", {}, "is no readable workbook"),
        ("own.csv.gz", b"\x1f\x8b\x08\x00broken", {}, "cannot be read"),
        ("own.csv", b'"x,y\n' + b"1,a\n2,b\n" * 40_000, {}, "a quoted cell"),
        ("own.csv", "ö,y\n1,2\n".encode("latin-1"), {"encoding": "utf-8"}, "is not UTF-8"),
        ("own.csv", b"a,y\n1,2\n", {"encoding": "hex"}, "data.encoding=hex"),
        ("own.csv", b"a,y\n1,2\n", {"encoding": "rot13"}, "data.encoding=rot13"),
        ("own.csv", b"#x,y\n1,a\n2,b\n", {}, "a line that begins with # has as many cells as the next"),
    ],
)
def test_broken_files_are_refused(tmp_path, name, content, words, said):
    with pytest.raises(Refused, match=said):
        read_table(written(tmp_path, content, name), Writing(**words))
    bom = read_table(written(tmp_path, b"\xef\xbb\xbfa,y\n1,2\n", "bom.csv"), Writing(encoding="utf-8"))
    assert bom.names == ["a", "y"]


def test_what_a_file_holds_does_not_steer_the_terminal(tmp_path, load, capsys, monkeypatch):
    escape = "\x1b[31mred\x1b[0m"
    body = "".join(f"{escape if n % 2 else 'b'},{n % 3}\n" for n in range(30))
    data = load("table", path=written(tmp_path, "a,y\n" + body), target="y")
    assert "\x1b" not in data.described and "\\x1b[31mred" in data.described
    path = written(tmp_path, "a,b,y\n1,2,0\n" + f"3,{escape},1\n5,6,0\n", "bad.csv")
    from dlcourse.cli import guarded
    from scripts.inspect_data import main

    monkeypatch.setattr("sys.argv", ["inspect_data.py", "data=table", f"data.path={path}", "data.target=y"])
    assert guarded(main) == CONFIG
    assert "\x1b" not in capsys.readouterr().err


def test_a_space_in_a_name_divides_no_table_of_one_column(tmp_path):
    for rows in ("28631\n", "28631\n7\n", "1\n2\n3\n"):
        assert read_table(written(tmp_path, f"o p\n{rows}")).names == ["o p"]
    assert read_table(written(tmp_path, "o p\n1 2\n")).names == ["o", "p"]


def test_what_is_missing_in_parquet_may_be_written_as_nan(tmp_path):
    path = str(tmp_path / "own.parquet")
    duckdb.execute(f"copy (select unnest([1.5, 'nan'::double, 2]) as x, unnest([1, 2, 3]) as y) to '{path}'")
    assert (
        inspect_table(path, "y", TASKS, words={**NA, "na_values": ["NaN"]})
        .problems[0]
        .startswith(f"{path}, row 3: column 'x' is missing")
    )
    (x, _) = table_facts(path, "y", TASKS, words={"na_values": ["NaN"], "missing": "mean"})["described"]
    assert (x["missing"], x["values"]) == (1, "1.5 … 2")


def test_a_moment_with_a_time_zone_does_not_depend_on_that_of_the_machine(tmp_path, monkeypatch):
    path = str(tmp_path / "own.parquet")
    moment = "'1970-01-02 00:00:00+00'::timestamptz + to_hours(range)"
    duckdb.execute(f"copy (select {moment} as t, range as y from range(2)) to '{path}' (format parquet)")
    table = read_table(path)
    table.connection.execute("set timezone = 'Asia/Tokyo'")
    found = read_column(table, 0, Reading())
    assert table.array(found.value).tolist() == [1, 1 + 1 / 24]


def test_points_before_a_unit_may_stand_between_thousands_too(tmp_path):
    rows = "".join(f"{n},5;1.{n}20 kg;{n}\n" for n in range(1, 9))
    found = inspect_table(written(tmp_path, f"a;b;y\n{rows}"), "y", TASKS, words=NA)
    assert "the points in column 'b' may stand between thousands" in found.problems[0]


@pytest.mark.parametrize(("there", "said"), [("10250 g", "another unit"), ("8.223 kg", "8.223 kg")])
def test_targets_of_another_file_are_read_as_those_of_the_first(tmp_path, load, there, said):
    own = written(tmp_path, "x;y\n" + "".join(f"{n};{n},25 kg\n" for n in range(30)))
    other = written(tmp_path, f"x;y\n1;{there}\n", "other.csv")
    data = load("table", path=own, target="y", test_path=other)
    if said == there:
        assert data.arrays()[1][1].flatten().tolist() == [8223]
    else:
        with pytest.raises(Refused, match=said):
            data.arrays()


def test_files_to_test_and_validate_on_have_whole_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "x,y\n" + "".join(f"{n},{n % 2}\n" for n in range(30)))
    (tmp_path / "t.csv").write_text("x,y\n1,1\n2,0\n")
    files = ["data.path=own.csv", "data.test_path=t.csv", "data.val_path=[t.csv]"]
    cfg = checked(["data=table", "data.target=y", *files]).cfg
    assert cfg.data.test_path == str(tmp_path / "t.csv") and cfg.data.val_path == [str(tmp_path / "t.csv")]


def test_a_file_that_is_named_twice_is_refused(tmp_path):
    path = written(tmp_path, "x,y\n1,1\n")
    with pytest.raises(Refused, match="own.csv twice"):
        read_table([path, path])


@pytest.mark.parametrize("task", [None, "classification", "regression"])
def test_a_target_without_values_is_refused(tmp_path, task):
    found = inspect_table(
        written(tmp_path, "x,y\n1,\n2,\n3,\n"), "y", TASKS, task, words={**NA, "missing": "drop_rows"}
    )
    assert "the target column 'y' has no values; there is nothing to learn" in found.problems[0]
