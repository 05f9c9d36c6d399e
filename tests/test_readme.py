"""The README's own examples, run in a copy of the checkout: an activation, a model and a data set of one's own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
QUICK = ["logger=none", "callbacks=none", "trainer.max_epochs=2"]


def block(language: str, first: str) -> str:
    """The code block that begins with a line."""
    found = re.search(rf"```{language}\n({re.escape(first)}.*?)```", README, re.DOTALL)
    assert found, first
    return found[1]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("readme")
    for name in ("conf", "dlcourse"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train.py", root)
    (root / "conf/activation/mish.yaml").write_text(block("yaml", "_target_: torch.nn.Mish"))
    (root / "dlcourse/models/wide.py").write_text(block("python", "# dlcourse/models/wide.py"))
    (root / "conf/model/wide.yaml").write_text(block("yaml", "# conf/model/wide.yaml"))
    (root / "dlcourse/data/rings.py").write_text(block("python", "# dlcourse/data/rings.py"))
    (root / "conf/data/rings.yaml").write_text(block("yaml", "# @package _global_\n# conf/data/rings.yaml"))
    return root


def test_a_model_a_data_set_and_an_activation_of_ones_own(copy: Path) -> None:
    """All three at once, with the words that the README says."""
    for command in ("activation=mish", "model=wide model.width=1024"):
        assert f"python train.py {command}\n" in README
    words = ["activation=mish", "model=wide", "model.width=1024", "data=rings", *QUICK, "trainer.max_epochs=20"]
    env = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run([sys.executable, "train.py", *words], cwd=copy, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"test/acc\s+([\d.]+)", done.stdout)
    assert accuracy and float(accuracy[1]) >= 0.9, done.stdout


def test_the_choices_that_the_readme_lists_are_those_on_disk() -> None:
    rows = re.findall(r"^\| `(\w+)`[^|]* \| (.+) \|$", README, re.MULTILINE)
    assert len(rows) >= 10
    for group, listed in rows:
        on_disk = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")} - (
            {"none"} if group in ("debug", "experiment", "sweep") else set()
        )
        assert set(re.findall(r"`(\w+)`", listed)) == on_disk, group


def test_each_file_of_the_library_has_a_line_in_the_tree() -> None:
    tree = block("", "train.py        trains")
    for path in (ROOT / "dlcourse").glob("*.py"):
        assert path.name == "__init__.py" or path.name in tree
