"""A word is parsed once, a configuration resolved once, a checkpoint read once; whoever needs them is handed them."""

import sys
from collections import Counter

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from dlcourse.cli import guarded, train
from dlcourse.config import compose as composing
from dlcourse.config.overrides import Overrides
from dlcourse.errors import Refused
from dlcourse.sweeps.together import compose_trials
from tests.composing import checked, checked_multirun
from tests.refusing import refusal

WORDS = [
    "data=and",
    "model=mlp",
    "trainer=cpu",
    "logger=none",
    "callbacks=none",
    "trainer.max_epochs=3",
    "report=false",
]
OPENED: list[str] = []
RECORDING = False


def hook(event, arguments):
    if RECORDING and event == "open" and str(arguments[0]).endswith(".ckpt"):
        OPENED.append(str(arguments[0]).rpartition("/")[2])


sys.addaudithook(hook)  # which cannot be removed


@pytest.fixture
def counts(monkeypatch):
    """How often each word was parsed, and how often a whole configuration was composed and resolved."""
    found = Counter()
    parse, to_container, compose = OverridesParser.parse_override, OmegaConf.to_container, composing.hydra_compose

    def counted_parse(self, word):
        found[word] += 1
        return parse(self, word)

    def counted_resolve(cfg, *, resolve=False, **more):
        found["resolved"] += resolve and "trainer" in cfg and "data" in cfg
        return to_container(cfg, resolve=resolve, **more)

    def counted_compose(*arguments, **more):
        found["composed"] += 1
        return compose(*arguments, **more)

    monkeypatch.setattr(OverridesParser, "parse_override", counted_parse)
    monkeypatch.setattr(OmegaConf, "to_container", staticmethod(counted_resolve))
    monkeypatch.setattr(composing, "hydra_compose", counted_compose)
    return found


def command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    assert guarded(train) == 0


def test_a_run_parses_each_word_once_and_resolves_once_and_a_resume_reads_its_checkpoint_once(
    counts, monkeypatch, tmp_path
):
    words = [*WORDS, f"run_dir={tmp_path / 'run'}"]
    command(monkeypatch, *words)
    assert counts == Counter([*words, "composed", "resolved"])
    counts.clear()
    OPENED.clear()
    monkeypatch.setattr(sys.modules[__name__], "RECORDING", True)
    again = [f"resume={tmp_path / 'run'}", "trainer.max_epochs=4"]
    command(monkeypatch, *again)
    # What is stored is resolved to be checked, and once more with the longer limit.
    assert counts == Counter([*again, "resolved", "resolved"])
    assert OPENED.count("last.ckpt") == 1, OPENED


def test_a_persons_table_takes_one_composition_more_and_one_word(counts, tmp_path):
    (tmp_path / "own.csv").write_text("size,kind\n1,a\n3,b\n5,a\n")
    words = ["data=csv", f"data.path={tmp_path / 'own.csv'}", "data.target=kind"]
    checked(words)
    assert counts == Counter([*words, "task=binary", "composed", "composed", "resolved"])
    counts.clear()
    checked([*words, "task=binary"])
    assert counts == Counter([*words, "task=binary", "composed", "resolved"])


def test_keys_of_the_loss_that_a_persons_table_chooses(counts, tmp_path):
    """The first composition has another loss, which lacks the key; a key that no loss has is refused as always."""
    (tmp_path / "own.csv").write_text("size,kind\n1,a\n3,b\n5,a\n")
    words = ["data=table", f"data.path={tmp_path / 'own.csv'}", "data.target=kind"]
    found = checked([*words, "loss.pos_weight=balanced"])
    assert found.tree["loss"]["pos_weight"] == "balanced" and found.choices["task"] == "binary"
    assert found.overrides.texts == [*words, "loss.pos_weight=balanced"]
    assert max(counts[word] for word in found.overrides.texts) == 1
    assert "did you mean loss.pos_weight" in refusal(checked, [*words, "loss.pos_wieght=balanced"])
    assert "did you mean loss.class_weights" in refusal(checked, ["data=iris", "loss.class_weight=balanced"])
    assert "loss has no key pos_weight" in refusal(checked, [*words, "loss.pos_weight=3", "task=classification"])


def test_a_multirun_parses_each_value_once(counts):
    checked_multirun(["model=mlp,cnn", "seed=range(3)", "logger=none"])
    parsed = {key: count for key, count in counts.items() if "=" in key}
    words = ["model=mlp,cnn", "seed=range(3)", "logger=none", "model=mlp", "model=cnn", "seed=0", "seed=1", "seed=2"]
    assert parsed == dict.fromkeys(words, 1)


def test_trials_that_differ_in_numbers_share_the_words_that_are_the_same(counts, tmp_path):
    jobs = [["data=and", "logger=none", f"seed={k}", f"run_dir={tmp_path / str(k)}"] for k in range(3)]
    assert [composed.tree["seed"] for composed, _ in compose_trials(jobs)] == [0, 1, 2]
    assert {word: counts[word] for job in jobs for word in job} == {word: 1 for job in jobs for word in job}
    assert counts["composed"] == 1 and counts["resolved"] == 3


def test_overrides_are_looked_up_by_key_and_derived_without_parsing_again(counts, monkeypatch):
    monkeypatch.setenv("DLCOURSE_ALLOW", "mine, yours")
    given = Overrides.parse(["model=cnn", "optimizer.lr=0.1", "+allow=[other]"])
    assert "model" in given and "data" not in given and given.packages == ["mine", "yours", "other"]
    assert given.text("optimizer.lr") == "0.1" and given.text("seed", "0") == "0"
    more = given.after("logger=none").plus("seed=1").replace({1: "model=mlp"})
    assert more.texts == ["logger=none", "model=mlp", "optimizer.lr=0.1", "+allow=[other]", "seed=1"]
    assert more.only(lambda key: key == "seed").texts == ["seed=1"]
    assert set(counts.values()) == {1}
    with pytest.raises(Refused, match="no model=ccn"):
        given.plus("model=ccn")


def test_training_begins_without_what_draws_the_report():
    program = """
import sys
from dlcourse.config.gate import compose_checked
from dlcourse.config.overrides import Overrides
import dlcourse.report, dlcourse.runs.fit as fit
print(sorted(name for name in sys.modules if name.startswith(("dlcourse.report.", "dlcourse.plots."))))
"""
    import subprocess

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
