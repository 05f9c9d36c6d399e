"""Columns and paths as a shell hands them over: text where Hydra's grammar cannot read them, and never a reference."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

import dlcourse
from dlcourse.config.groups import CONF
from dlcourse.config.overrides import Overrides
from dlcourse.config.own_text import OWN_TEXT, quoted, split
from scripts.evaluate import evaluate
from scripts.inspect_data import main as inspect_data
from scripts.predict import predict
from tests.composing import checked
from tests.refusing import refusal

SCRIPTS = {"run", "input", "output"}


def value(word):
    return Overrides.parse([word]).parsed[0].value()


def test_each_key_is_one_of_conf_or_of_a_script():
    root = OmegaConf.load(CONF / "config.yaml")
    data = OmegaConf.merge(*(OmegaConf.load(CONF / "data" / f"{name}.yaml") for name in ("table", "huggingface")))
    batches = {f"data.{key}" for key in OmegaConf.load(CONF / "batches.yaml")}
    for key in OWN_TEXT - SCRIPTS - batches:
        file = data if key.startswith("data.") else root
        assert OmegaConf.select(file, key, default=OWN_TEXT) is not OWN_TEXT, key


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("data.path=/tmp/my data (v=2)#1/ü~.csv", "/tmp/my data (v=2)#1/ü~.csv"),
        ("data.path=~/x.csv", "~/x.csv"),
        ("data.target=class (0, 1)", "class (0, 1)"),
        ("data.target=a=b", "a=b"),
        ("data.target=it's", "it's"),
        ("data.target=[kg] mass; net!", "[kg] mass; net!"),
        ("data.target={a}", "{a}"),
        ("data.target=f(x)\\", "f(x)\\"),
        ("data.target=2021", 2021),
        ("data.target=1_000", "1_000"),
        ("data.target=1e3", "1e3"),
        ("data.target=true", "true"),
        ("data.target=int(3)", "int(3)"),
        ("data.target=null", None),
        ("data.target='a, b'", "a, b"),
        ("data.target=[a, Größe]", ["a", "Größe"]),
        ("data.ignore=[Name of person, class (0, 1)]", ["Name of person", "class (0, 1)"]),
        ("data.ignore=['a, b', Größe [m, cm], \"it's\"]", ["a, b", "Größe [m, cm]", "it's"]),
        ("data.ignore=[1.10, 1e3, 1_000, a]", ["1.10", "1e3", "1_000", "a"]),
        ("data.target=[2021, 1.5, true]", ["2021", "1.5", "true"]),
        ("data.ignore=[2021, '1.10', null]", [2021, "1.10", None]),
        ("data.separator=;", ";"),
        ("data.decimal=,", ","),
        ("data.comment=#", "#"),
        ("data.na_values=[#N/A, -]", ["#N/A", "-"]),
        ("run_dir=runs/a=1 (ü)", "runs/a=1 (ü)"),
        ("++data.group=Gruppe (ü)", "Gruppe (ü)"),
    ],
)
def test_what_a_word_stands_for(word, expected):
    found = value(word)
    assert found == expected and type(found) is type(expected)
    assert value(Overrides.parse([word]).texts[0]) == expected  # what a run directory records


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "data.target=a,b",
            "One name is put in quotes, \"data.target='a,b'\", a list in brackets, 'data.target=[a,b]'",
        ),
        ("data.path=/tmp/a, b.csv", "\"data.path='/tmp/a, b.csv'\""),
        ("data.target=range(3)", "\"data.target='range(3)'\""),
        ("data.ignore=[a (b, c]", "No spaces around ="),
        ("data.ignore=[ü,,a]", "No spaces around ="),
        ("data.target=ü\na", "No spaces around ="),
        ("tags=a (b)", "No spaces around ="),
        ("data.name=ü", "No spaces around ="),
        ("+data.path.x=ü", "No spaces around ="),
        ("~data.target=ü", "No spaces around ="),
        ("model=ü", "No spaces around ="),
    ],
)
def test_what_is_refused_and_the_way_out(word, said):
    assert said in refusal(checked, ["data=table", word])


@pytest.mark.parametrize(
    "word",
    [
        "data.path=a (${oc.env:WANDB_API_KEY}).csv",
        "data.path=ü${oc.env:WANDB_API_KEY}",
        "data.target=x=${oc.env:WANDB_API_KEY}",
        "data.target=${oc.env:WANDB_API_KEY}",
        "data.ignore=[ü, ${oc.env:WANDB_API_KEY}]",
        "data.ignore=['ü', '${oc.env:WANDB_API_KEY}', (]",
        "run_dir=ü ${oc.env:WANDB_API_KEY}",
        "data.path=\\${oc.env:WANDB_API_KEY} (ü)",
        "data.target=$(${oc.env:WANDB_API_KEY}",
    ],
)
def test_no_text_is_a_reference(monkeypatch, tmp_path, word):
    monkeypatch.setenv("WANDB_API_KEY", "hunter2")
    (tmp_path / "own.csv").write_text("u,hunter2,y\n1,0,a\n2,1,b\n")
    words = ["data=table", f"data.path={tmp_path / 'own.csv'}", "data.target=y", word]
    assert "hunter2" not in refusal(checked, words)


#: Characters that Hydra gives no meaning where it can read the text: not a list, an escape, a quote or a reference.
PLAIN = st.text(
    st.one_of(st.sampled_from("ab1 ()=#~ü€:;!?*%/"), st.characters(exclude_categories=["C", "Z"])), min_size=1
).filter(lambda text: not set(text) & set(",[]{}\\'\"$"))


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(PLAIN)
def test_any_plain_text_is_itself(text):
    override = Overrides.parse([f"data.target={text}"]).parsed[0]
    if not override.is_sweep_override() and override.value() is not None:
        assert text.startswith(("str(", "json_str(")) or str(override.value()) == text.strip()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.from_regex(r"/[\w./-]+", fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_a_plain_path_needs_no_quotes(path):
    assert quoted("run_dir", path) == f"run_dir={path}" and value(f"run_dir={path}") == path


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.text(st.characters(exclude_categories=["C"])).filter(lambda text: "${" not in text), min_size=1))
def test_any_text_can_be_quoted(texts):
    assert [value(quoted("data.target", text)) for text in texts] == texts


def test_names_of_a_list_are_told_apart():
    assert split("a, b (c, d), [e, f] g") == ["a", "b (c, d)", "[e, f] g"]
    assert split("'a, b' , \"c\"") == ["a, b", "c"] and split("it's, b") == ["it's", "b"]
    assert split("a), (b") is None and split("'a, b") is None and split("a,") is None


def test_a_table_whose_names_need_quotes(tmp_path, capsys, monkeypatch):
    """From train.py to predict.py, as a shell hands the words over; what is recorded is read again."""
    folder = tmp_path / "my data (v=2)#1"
    folder.mkdir()
    path = folder / "ü~.csv"
    rows = [f"{k % 7},{k},{k % 3},{'ja' if k % 2 else 'nein'},{k % 2}" for k in range(60)]
    path.write_text('"Größe, m",Name of person,"a (0, 1)","class (0, 1)",2021\n' + "\n".join(rows) + "\n")
    words = ["data=table", f"data.path={path}", "data.ignore=[Name of person, a (0, 1)]"]
    quiet = ["logger=none", "callbacks=none", "trainer.max_epochs=1", "model.hidden=[4]"]
    run = folder / "run (1)"
    done = dlcourse.run(*words, "data.target=class (0, 1)", *quiet, f"run_dir={run}")
    assert done.run_dir == run and done.data.targets == ["class (0, 1)"]
    assert [column["name"] for column in done.data.columns] == ["Größe, m", "2021"]
    recorded = OmegaConf.to_container(OmegaConf.load(run / "overrides.yaml"))
    again = checked(recorded)
    assert again.tree["data"] == checked([*words, "data.target=class (0, 1)"]).tree["data"]
    page = (run / "report.html").read_text("utf-8")
    assert "data.target=" in page
    assert evaluate([f"run={run}", *words, "data.target=class (0, 1)"]) == 0
    output = folder / "found (ü).csv"
    assert predict([f"run={run}", f"input={path}", f"output={output}"]) == 0 and output.exists()
    assert inspect_data([*words, "data.target=2021"]) == 0
    assert "the target" in capsys.readouterr().out
    from dlcourse.cli import guarded, train

    monkeypatch.setattr("sys.argv", ["train.py", f"resume={run}", "trainer.max_epochs=2"])
    assert guarded(train) == 0
    monkeypatch.setattr("sys.argv", ["train.py", *words, "data.target=class (0, 1)", "--cfg", "job"])
    assert guarded(train) == 0
    assert "target: class (0, 1)" in capsys.readouterr().out
