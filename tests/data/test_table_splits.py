"""Which rows of a table train, validate and test: equal rows, rare classes, groups, time, folds, files of their own."""

import itertools

import numpy as np
import pytest
import torch

import dlcourse
from dlcourse.data.splits import cut, fold_of, share, share_late
from dlcourse.data.table_facts import table_facts
from dlcourse.errors import Refused

TASKS = {"two": "binary", "classes": "classification", "values": "regression"}
QUIET = ["logger=none", "callbacks=none", "report=false"]
STAGES = ("train", "val", "test")


def write(path, head, rows):
    path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


@pytest.fixture
def split(load, tmp_path):
    """The sets of a table, each row as the list of its inputs."""

    def made(head, rows, **words):
        data = load("table", path=write(tmp_path / "t.csv", head, rows), target="y", **words)
        data.setup()
        return data, {stage: [tuple(row) for row in data.sets[stage].x.tolist()] for stage in STAGES}

    return made


def measured(n, seed=0):
    draw = np.random.default_rng(seed)
    return [(round(float(draw.normal()), 4), round(float(draw.normal()), 4), "ab"[k % 2]) for k in range(n)]


def test_rows_with_equal_inputs_are_in_one_set(split):
    rows = measured(100) * 3
    data, sets = split("p,q,y", rows)
    for one, other in itertools.combinations(STAGES, 2):
        assert not set(sets[one]) & set(sets[other])
    assert sum(map(len, sets.values())) == 300 and [len(set(sets[stage])) for stage in STAGES] == [72, 8, 20]
    assert "200 rows repeat the inputs of another and are in its set" in data.note


def test_rows_that_differ_only_in_columns_out_of_use_are_equal(split):
    rows = [(k, *row) for k, row in enumerate(measured(60) * 2)]
    _, sets = split("id,p,q,y", rows, ignore=["id"])
    assert not set(sets["train"]) & set(sets["test"]) and not set(sets["train"]) & set(sets["val"])


def test_the_split_does_not_depend_on_the_order_and_a_new_row_moves_only_those_at_the_cut(split):
    rows = measured(200)
    tested = set(split("p,q,y", rows)[1]["test"])
    assert set(split("p,q,y", rows[::-1])[1]["test"]) == tested
    more = set(split("p,q,y", [*rows, *measured(5, seed=1)])[1]["test"])
    assert len(tested - more) <= 5


@pytest.mark.parametrize(
    ("count", "expected", "note"),
    [
        (1, [1, 0, 0], "the validation set has no row of class 'rare'; the test set has no row of class 'rare'"),
        (2, [1, 0, 1], "the validation set has no row of class 'rare'"),
        (3, [1, 1, 1], None),
        (10, [7, 1, 2], None),
    ],
)
def test_every_class_is_in_every_set_for_which_it_has_rows(split, count, expected, note):
    rows = [(*row[:2], "rare" if k < count else "often") for k, row in enumerate(measured(100))]
    data, _ = split("p,q,y", rows)
    assert data.note == note
    rare = data.classes.index("rare")
    assert [int((data.sets[stage].y == rare).sum()) for stage in STAGES] == expected


def test_fewer_than_twenty_different_rows_are_shared(split):
    rows = [(a, b, int(a and b)) for a in (0, 1) for b in (0, 1)] * 50
    data, sets = split("a,b,y", rows)
    assert all(len(sets[stage]) == 200 for stage in STAGES)
    assert data.note.endswith("4 different rows: training, validation and test use the same ones")


def test_equal_inputs_are_equal_however_they_are_written(split):
    rows = [(n, n % 2) for n in range(50)] + [(f"{n}.0", n % 2) for n in range(50)]
    _, sets = split("p,y", rows, ignore=[])
    assert [len(set(sets[stage])) for stage in STAGES] == [36, 4, 10]
    assert not set(sets["train"]) & set(sets["test"]) and not set(sets["train"]) & set(sets["val"])


def test_few_groups_and_few_inputs_with_a_time_are_divided_all_the_same(split):
    rows = [(f"g{k % 5}", k, *row) for k, row in enumerate(measured(100))]
    _, sets = split("who,t,p,q,y", rows, group="who", ignore=["t"])
    assert [len(sets[stage]) for stage in STAGES] == [60, 20, 20]
    rows = [(k, k % 4, "ab"[k % 2]) for k in range(100)]
    _, sets = split("t,p,y", rows, time="t")
    assert [len(sets[stage]) for stage in STAGES] == [72, 8, 20]


def test_equal_rows_that_the_last_rows_validate_are_told(split):
    data, _ = split("p,q,y", measured(50) * 2, split_seed=None)
    assert "validation rows have the inputs of a training row" in data.note


def test_a_group_is_in_one_set_and_no_input(split):
    rows = [(f"patient {k % 30}", *row) for k, row in enumerate(measured(300))]
    data, sets = split("who,p,q,y", rows, group="who")
    assert data.shape == (2,)
    who = {(np.float32(p), np.float32(q)): name for name, p, q, _ in rows}
    people = {stage: {who[np.float32(p), np.float32(q)] for p, q in sets[stage]} for stage in STAGES}
    for one, other in itertools.combinations(STAGES, 2):
        assert not people[one] & people[other]
    assert [len(people[stage]) for stage in STAGES] == [22, 2, 6]


def test_the_latest_rows_test(split):
    rows = [(f"2024-01-{1 + k % 25:02d}", *row) for k, row in enumerate(measured(250))]
    data, sets = split("day,p,q,y", rows, time="day")
    day = {(np.float32(p), np.float32(q)): d for d, p, q, _ in rows}
    days = {stage: {day[np.float32(p), np.float32(q)] for p, q in sets[stage]} for stage in STAGES}
    assert max(days["train"]) < min(days["val"]) and max(days["val"]) < min(days["test"])
    assert [len(days[stage]) for stage in STAGES] == [18, 2, 5]
    assert data.shape == (2,)
    kept, _ = split("day,p,q,y", rows, time="day", columns=["day", "p"])
    assert kept.shape == (2,)


def test_files_of_their_own_test_and_validate(split, tmp_path):
    rows = measured(100)
    test = write(tmp_path / "test.csv", "y,q,p", [row[::-1] for row in rows[:10]])  # its columns in another order
    val = write(tmp_path / "val.csv", "p,q,y", measured(30, seed=2))
    data, sets = split("p,q,y", rows, test_path=test, val_path=val)
    assert [len(sets[stage]) for stage in STAGES] == [100, 30, 10]
    assert sets["test"] == sets["train"][:10]
    assert data.note == "10 of 10 test rows have the inputs of a row of data.path"
    both, _ = split("p,q,y", rows, test_path=val, val_path=val)
    assert both.note == "30 of 30 validation rows have the inputs of a row of data.test_path"


def test_weights_reach_the_loss_of_training_rows_only(load, tmp_path):
    rows = [(*row[:2], k % 3, row[2]) for k, row in enumerate(measured(100))]
    path = write(tmp_path / "t.csv", "p,q,w,y", rows)
    data = load("table", path=path, target="y", weight="w")
    data.setup()
    assert data.shape == (2,)
    train = data.sets["train"]
    assert train.weight.tolist() == [rows[k][2] for k in train.index.tolist()]
    assert data.sets["val"].weight is None and data.sets["test"].weight is None
    words = ["data=table", f"data.path={path}", "data.target=y", "data.weight=w", "trainer.max_epochs=1"]
    done = dlcourse.run(*QUIET, *words, f"run_dir={tmp_path / 'run'}")
    batch = done.data.sets["train"].first(64)
    with torch.no_grad():
        z = done.model(batch.x)[:, 0]
        each = torch.nn.functional.binary_cross_entropy_with_logits(z, batch.y.float(), reduction="none")
        found = done.model.loss_of(batch)
    assert float(found.loss) == pytest.approx(float((each * batch.weight).sum() / batch.weight.sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        ({"weight": "y"}, "data.weight names y, which is the target"),
        ({"weight": "loss"}, r"no column 'loss' \(data.weight\)"),
        ({"weight": "p"}, r"row \d+: the weight in column 'p' is -"),
        ({"group": "s"}, "column 's' has 2 groups; training, validation and test need one each"),
        ({"time": "s"}, "data.time=s is a column of words"),
        ({"time": "one"}, "all rows, or all that do not test, are of the same time; leave data.time out"),
        ({"time": "p", "folds": 5}, "data.time and data.folds both say which rows test or validate"),
        ({"group": "s", "test_path": "t.csv"}, "data.group and data.test_path both say"),
        ({"group": "s", "time": "p"}, "data.group and data.time both say"),
        ({"group": "s", "val_path": "t.csv"}, "data.group and data.val_path both say"),
        ({"group": "q", "split_seed": "null"}, "takes the last rows to validate, and data.group keeps groups together"),
    ],
)
def test_words_that_do_not_fit_are_refused(tmp_path, monkeypatch, words, reported):
    monkeypatch.chdir(tmp_path)
    rows = [(*row[:2], "uv"[k % 2], 1, row[2]) for k, row in enumerate(measured(60))]
    path = write(tmp_path / "t.csv", "p,q,s,one,y", rows)
    given = [
        "data=table",
        f"data.path={path}",
        "data.target=y",
        *(f"data.{key}={value}" for key, value in words.items()),
    ]
    with pytest.raises(Refused, match=reported):
        dlcourse.run(*QUIET, *given, f"run_dir={tmp_path / 'run'}")


# Folds


@pytest.mark.parametrize("name", ["iris", "table", "diabetes"])
def test_the_folds_test_each_row_once(load, tmp_path, name):
    words = {}
    if name == "table":
        rows = measured(90) + measured(10)
        words = {"path": write(tmp_path / "t.csv", "p,q,y", rows), "target": "y"}
    tested = []
    for fold in range(5):
        data = load(name, folds=5, fold=fold, **words)
        data.setup()
        tested.append(data.sets["test"].index)
        total = sum(len(rows) for rows in data.sets.values())
        assert len(tested[-1]) == pytest.approx(total / 5, abs=8)
        everything = torch.cat([data.sets[stage].index for stage in STAGES])
        assert sorted(everything.tolist()) == list(range(total))
    assert sorted(torch.cat(tested).tolist()) == list(range(total))


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        (["data=mnist", "data.folds=5"], "data=mnist has a test set of its own; leave folds out"),
        (["data=iris", "data.folds=5", "data.fold=5"], "data.fold=5 must be one of 0 … 4, of data.folds=5"),
        (["data=iris", "data.folds=1"], "data.folds=1"),
        (["data=and", "data.folds=5"], "data.folds=5: data=and has 4 different rows; set data.folds=4, or fewer"),
    ],
)
def test_folds_that_do_not_exist_are_refused(tmp_path, words, reported):
    with pytest.raises(Refused, match=reported):
        dlcourse.run(*QUIET, *words, f"run_dir={tmp_path / 'run'}")


# The functions, on numbers


def test_a_large_table_is_divided_where_it_is(split, monkeypatch):
    rows = measured(200)
    _, expected = split("p,q,y", rows)
    monkeypatch.setattr("dlcourse.data.sets.LARGE", 1)
    data, sets = split("p,q,y", rows)
    assert sets == expected
    assert len({data.sets[stage].x.untyped_storage().data_ptr() for stage in STAGES}) == 1
    for stage in STAGES:
        positions = data.sets[stage].index.tolist()
        assert [tuple(np.float32(rows[at][:2])) for at in positions] == sets[stage]
        assert ["ab"[int(y)] for y in data.sets[stage].y] == [rows[at][2] for at in positions]


def test_arrays_that_may_be_others_keep_their_order(load, monkeypatch):
    monkeypatch.setattr("dlcourse.data.sets.LARGE", 1)
    data = load("iris")
    arrays = data.arrays()
    before = arrays[0][0].clone()
    monkeypatch.setattr(data, "arrays", lambda: arrays)
    data.setup()
    assert torch.equal(arrays[0][0], before)


def test_small_classes_do_not_all_leave_the_same_folds_empty():
    keys, classes = torch.arange(100), torch.arange(100) // 2
    folds = fold_of(keys, classes, 5)
    assert min(torch.bincount(folds, minlength=5)) >= 10
    assert all(len(folds[classes == k].unique()) == 2 for k in range(50))


def test_of_very_many_rows_as_many_are_cut_off_as_are_asked_for():
    count = 2**24 + 10
    kept, others = cut(torch.zeros(count), torch.arange(count), 1e-4, 0)
    assert len(others) == round(1e-4 * count) and len(kept) + len(others) == count


def test_a_share_of_the_keys_of_each_group():
    keys = torch.tensor([5, 5, 1, 9, 7, 2, 2, 8])
    groups = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1])
    assert share(keys, groups, 0.4).tolist() == [True, True, True, False, False, True, True, False]
    assert fold_of(keys, groups, 2).tolist() == [0, 0, 0, 1, 1, 1, 1, 0]


def test_a_key_of_two_groups_is_in_one_set():
    chosen = share(torch.tensor([3, 3, 4, 6, 6, 7]), torch.tensor([0, 1, 0, 1, 1, 1]), 0.5)
    assert chosen[0] == chosen[1] and chosen[3] == chosen[4]


@pytest.mark.parametrize(
    ("times", "fraction", "expected"),
    [
        ([3, 1, 2, 5, 4], 0.4, [False, False, False, True, True]),
        ([1, 1, 1, 2, 2], 0.2, [False, False, False, True, True]),
        ([1, 1, 1, 1, 2], 0.9, [False, False, False, False, True]),
    ],
)
def test_the_latest_share(times, fraction, expected):
    assert share_late(torch.tensor(times), fraction).tolist() == expected


def test_the_columns_apart_are_shown(tmp_path):
    path = write(tmp_path / "t.csv", "who,p,q,y", [(k % 9, *row) for k, row in enumerate(measured(40))])
    found = table_facts(path, "y", TASKS, apart={"group": "who", "weight": None, "time": None})
    assert found["described"][0] == {"column": "who", "becomes": "the group"} and found["shape"] == [2]
