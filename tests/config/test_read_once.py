"""What the tests compose from files that were read before is what a command composes from the files."""

from pathlib import Path

import pytest

from dlcourse import Refused
from dlcourse.config.compose import Composed
from tests.composing import checked
from tests.read_once import read_files_anew, read_files_once

WORDS = [
    ["model=cnn", "data=digits", "optimizer=adam", "activation=tanh"],
    ["experiment=08b_vanishing_gradients"],
    ["sweep=digits_grid"],
    ["debug=fast", "callbacks=diagnostics", "metrics=[f1,auroc]", "+model.name=mine", "optimizer.lr=0.5"],
]


def composed_anew(words: list[str]) -> Composed:
    read_files_anew()
    try:
        return checked(words)
    finally:
        read_files_once()


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_it_is_composed_as_from_the_files(words: list[str]) -> None:
    anew = composed_anew(words)
    for again in (checked(words), checked(words)):
        assert again.cfg == anew.cfg and again.tree == anew.tree
        assert (again.choices, again.multirun) == (anew.choices, anew.multirun)


def test_what_is_changed_in_a_composition_stays_there() -> None:
    checked([]).cfg.optimizer.lr = 7
    assert checked([]).cfg.optimizer.lr != 7


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    """One's own config folder, written by a test."""
    file = tmp_path / "conf" / "optimizer" / "mine.yaml"
    file.parent.mkdir(parents=True)
    words = ["optimizer=mine", f"hydra.searchpath=[{tmp_path / 'conf'}]", "allow=[searchpath]"]
    for lr in ("0.5", "0.25"):
        file.write_text(f"# Mine.\n_target_: torch.optim.SGD\nlr: {lr}\n")
        assert checked(words).cfg.optimizer.lr == float(lr)
    file.unlink()
    with pytest.raises(Refused, match="mine"):
        checked(words)
