"""Several columns of two words each are labels: read, named, refused, predicted and reported."""

import csv

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_score, roc_auc_score

import dlcourse
from dlcourse.errors import Refused
from dlcourse.runs.trained import restore
from scripts.evaluate import evaluate
from scripts.predict import predict
from tests.composing import checked
from tests.data.test_table_cases import facts, written
from tests.refusing import refusal

TABLE = "u,ill,smokes,tired (very)\n1,0,nein,true\n2,1.0,ja,false\n3,1,nein,TRUE\n4,0,nein,false\n"
NAMES = ["ill", "smokes", "tired (very)"]
LABELS = {"task": "multilabel"}


def becomes(found):
    return {row["column"]: row["becomes"] for row in found["described"]}


def test_each_column_is_a_label_and_its_words_are_said(tmp_path, load):
    content = TABLE.replace("TRUE", "true")
    found = facts(tmp_path, content, NAMES, **LABELS)
    assert (found["y"], found["task"], found["outputs"], found["classes"]) == ("labels", "multilabel", 3, NAMES)
    assert found["label_words"] == [["0", "1"], ["nein", "ja"], ["false", "true"]]
    assert becomes(found)["smokes"] == "a label: 'ja', without it 'nein'" and becomes(found)["u"] == "1 input"
    order = NAMES[::-1]
    data = load("table", path=written(tmp_path, content), target=order, task="multilabel")
    _, y = data.arrays()[0]
    assert y.tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0]] and data.classes == order
    one = facts(tmp_path, content, ["ill"], **LABELS)
    assert one["outputs"] == 1 and one["classes"] == ["ill"]


@pytest.mark.parametrize(
    ("target", "words", "said"),
    [
        (["ill", "u"], LABELS, "column 'u' has 4 different values, and a label two"),
        (["ill", "tired (very)"], LABELS, "column 'tired (very)' has 3 different values"),
        (["ill", "ill"], LABELS, "each named once"),
        (["ill", "smokes"], {}, "A label of two words is learned by data.task=multilabel"),
        (["ill", "smokes"], {"task": "binary"}, "or set data.task=multilabel"),
        (["ill", "weight"], LABELS, "no column 'weight'"),
    ],
)
def test_what_is_no_label_names_itself(tmp_path, target, words, said):
    assert said in refusal(lambda: facts(tmp_path, TABLE, target, **words))


def test_several_targets_without_a_word_are_values_as_before(tmp_path):
    content = "u,a,b\n1,0,1\n2,1,0\n3,1,1\n"
    found = facts(tmp_path, content, ["a", "b"])
    assert found["y"] == "values" and "label_words" not in found
    alike = refusal(lambda: facts(tmp_path, "u,a,b\n1,0,1\n2,0,0\n", ["a", "b"], **LABELS))
    assert "column 'a' is '0' in every row" in alike


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    draw = np.random.default_rng(0)
    x = draw.normal(size=(300, 3))
    rows = ["a,b,c,Fieber,Müde (stark)"]
    rows += [f"{a:.4f},{b:.4f},{c:.4f},{int(a > 0.5)},{'ja' if b + 0.3 * c > 0.8 else 'nein'}" for a, b, c in x]
    (folder / "own.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    words = ["data=table", f"data.path={folder / 'own.csv'}", "data.target=[Fieber,'Müde (stark)']"]
    quiet = ["logger=none", "callbacks=none", "trainer.max_epochs=6", "loss.pos_weight=balanced"]
    return dlcourse.run(*words, "task=multilabel", *quiet, f"run_dir={folder / 'run'}"), folder / "own.csv", words


def test_both_words_for_the_task_are_one(run):
    trained, _, words = run
    trees = [
        checked([*words, word, "loss.pos_weight=balanced"]).tree for word in ("task=multilabel", "data.task=multilabel")
    ]
    assert trees[0]["loss"] == trees[1]["loss"] and trees[0]["loss"]["pos_weight"] == "balanced"
    assert trees[0]["data"] == trees[1]["data"] and trees[0]["task"] == trees[1]["task"]
    assert trees[0]["task"]["labels"] == ["Fieber", "Müde (stark)"]
    train = trained.data.sets["train"]
    assert trained.model.loss.counts[1].tolist() == train.y.sum(0).tolist()


def test_predictions_carry_the_names_of_the_columns(run, tmp_path, capsys):
    trained, table, _ = run
    words = [f"run={trained.run_dir}", f"input={table}"]
    assert predict([*words, f"output={tmp_path / 'found.csv'}"]) == 0
    capsys.readouterr()
    assert predict(words) == 0
    lines = csv.DictReader(capsys.readouterr().out.splitlines(), delimiter="\t")
    with (tmp_path / "found.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 300
    for row, line in zip(found, lines, strict=True):
        for name, words in (("Fieber", ("0", "1")), ("Müde (stark)", ("nein", "ja"))):
            assert line[f"predicted {name}"] == row[f"predicted {name}"] in words
            probability = f"probability {name}={words[1]}"
            assert float(line[probability]) == pytest.approx(float(row[probability]), rel=1e-5)
            assert (row[f"predicted {name}"] == words[1]) == (float(row[probability]) > 0.5)
    right = [row["predicted Müde (stark)"] == row["Müde (stark)"] for row in found]
    assert np.mean(right) > 0.8


def test_another_table_is_read_by_the_words_of_the_run(run, tmp_path, capsys):
    """A table in which no row has a label, so that the words of its own would be others."""
    trained, table, words = run
    lines = table.read_text("utf-8").splitlines()
    other = tmp_path / "other.csv"
    other.write_text("\n".join([lines[0], *(line for line in lines[1:] if line.endswith("nein"))]) + "\n")
    _, _, data = restore(trained.run_dir)
    data.path = str(other)
    (_, y), _ = data.arrays()
    assert y[:, 1].sum() == 0 and y[:, 0].sum() > 0
    other.write_text("\n".join([*lines[:40], lines[40].rpartition(",")[0] + ",jain"]) + "\n")
    with pytest.raises(Refused, match="'jain' in column 'Müde .stark.' is unknown; known: nein, ja"):
        data.arrays()
    assert evaluate([f"run={trained.run_dir}", *words, "data.task=multilabel"]) == 0
    assert f"{trained.metrics['test/acc']:.4f}" in capsys.readouterr().out


def test_the_report_has_each_label(run):
    trained, _, _ = run
    from dlcourse.tasks.predictions import forward_batches

    test = trained.data.sets["test"]
    labels, scores = trained.model.task.visualize(trained.model, trained.data, forward_batches(trained.model, test.x))
    a = trained.model.output(trained.model(test.x)).detach().numpy()
    there, called = test.y.numpy(), a > 0.5
    for k, row in enumerate([cell.value for cell in row] for row in labels.table.rows):
        assert row[0] == trained.data.classes[k] and row[3] == there[:, k].sum()
        assert row[4] == pytest.approx(precision_score(there[:, k], called[:, k]))
        assert row[6] == pytest.approx(f1_score(there[:, k], called[:, k]))
        _, share, area, average = (cell.value for cell in scores.table.rows[k])
        assert (share, area) == pytest.approx((there[:, k].mean(), roc_auc_score(there[:, k], a[:, k])))
        assert average == pytest.approx(average_precision_score(there[:, k], a[:, k]))
    usual = np.broadcast_to(trained.data.sets["train"].y.mean(0).numpy() > 0.5, there.shape)
    assert f"labels {(usual == there).mean():.1%} are as in most training rows" in labels.text
    assert "weighs classes" in scores.plots[2].caption and scores.table.columns[0] == "label"
    page = (trained.run_dir / "report.html").read_text("utf-8")
    assert "a label: &#39;ja&#39;, without it &#39;nein&#39;" in page and "Müde (stark)" in page
