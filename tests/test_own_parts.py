"""The page on parts of one's own: each in a package outside the checkout by words, and in the checkout by a file."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlcourse import Refused, run

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "notebooks" / "own_parts.md").read_text("utf-8")
#: Of each part: its class, the room of dlcourse/ that it is added to, its group, and its name there.
PARTS = {
    "An activation": ("Squareplus", "activations", "activation", "squareplus"),
    "An initialisation": ("Orthogonal", "init", "init", "orthogonal"),
    "A loss": ("LogCosh", "losses", "loss", "log_cosh"),
    "An optimizer": ("Lion", "optimizers", "optimizer", "lion"),
    "A schedule": ("InverseRoot", "schedulers", "scheduler", "inverse_root"),
    "A metric": ("Within", "metrics", "metrics", "within"),
    "A model": ("Wide", "models/wide", "model", "wide"),
    "A data set": ("Rings", "data/rings", "data", "rings"),
    "A task": ("Logarithm", "tasks/logarithm", "task", "logarithm"),
}
#: ``python train.py`` with each list of words in turn, in one process.
ONE_AFTER_ANOTHER = """
import json, sys
from dlcourse.cli import guarded, train

for words in json.loads(sys.argv[1]):
    sys.argv = ["train.py", *words]
    if code := guarded(train):
        sys.exit(code)
"""
QUICK = ["logger=none", "callbacks=none", "trainer.max_epochs=1"]


def blocks(language: str, text: str = PAGE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def chapters() -> dict[str, str]:
    titles = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(titles[1::2], titles[2::2], strict=True))


def commands(text: str) -> list[list[str]]:
    lines = [line for block in blocks("bash", text) for line in block.replace("\\\n", "").splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith("python train.py")]


def write_package(folder: Path) -> None:
    (folder / "my_package.py").write_text("\n\n".join(blocks("python")))
    (block,) = blocks("yaml")
    path = folder / re.findall(r"^# (my_conf/\S+)", block)[0]
    path.parent.mkdir(parents=True)
    path.write_text(block)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's package and config folder, and the folder beside them in which the commands are said."""
    write_package(tmp_path)
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DLCOURSE_ALLOW", "my_package")
    monkeypatch.delitem(sys.modules, "my_package", raising=False)
    yield tmp_path
    sys.modules.pop("my_package", None)


@pytest.mark.parametrize("title", [*PARTS, "A callback"])
def test_words_are_enough_for_a_class_of_ones_own_package(title: str, outside: Path, capfd) -> None:
    (words,) = commands(chapters()[title])
    done = run(*words, *(word for word in QUICK if title != "A callback" or not word.startswith("callbacks")))
    assert done.metrics["steps"] > 0 and (done.run_dir / "report.html").is_file()
    assert "‖w‖ = " in capfd.readouterr().out or title != "A callback"
    assert "test/within" in done.metrics or title != "A metric"


def test_without_the_permission_nothing_is_imported(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLCOURSE_ALLOW")
    for title in [*PARTS, "A callback"]:
        (words,) = commands(chapters()[title])
        with pytest.raises(Refused, match=r"_target_=my_package.* may not run") as refusal:
            run(*words, *QUICK)
        assert refusal.value.code == 2 and "my_package" not in sys.modules


def test_a_config_folder_of_ones_own(outside: Path) -> None:
    words, _ = commands(chapters()["In the checkout, or in a config folder of your own"])
    done = run(*words, *QUICK)
    config = (done.run_dir / "config.yaml").read_text()
    assert "_target_: my_package.Lion" in config and "optimizer: lion" in config
    with pytest.raises(Refused, match="did you mean lion"):
        run("optimizer=lyon", *words[1:], *QUICK)
    with pytest.raises(Refused, match="if they are yours: 'allow=\\[searchpath\\]'"):
        run(*words[:-1], *QUICK)
    with pytest.raises(Refused, match="nowhere is not a folder"):
        run("optimizer=lion", "hydra.searchpath=[nowhere]", "allow=[searchpath]", *QUICK)


@pytest.mark.slow
def test_a_sweep_over_a_choice_of_ones_own(outside: Path) -> None:
    _, words = commands(chapters()["In the checkout, or in a config folder of your own"])
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{outside}"}
    command = [sys.executable, str(ROOT / "train.py"), *words, *QUICK, f"sweep_dir={outside / 'sweep'}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = (outside / "sweep" / "sweep.csv").read_text()
    assert "lion" in table and "adam" in table and table.count("finished") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer=own"], "optimizer._target_ is not set: optimizer._target_=my_package.MyClass"),
        (["loss=own", "loss._target_=torch.nn.SmoothL1Loss"], "must be a subclass of dlcourse.losses.Loss"),
        (["model=own", "model._target_=torch.nn.Linear"], "must be a subclass of dlcourse.models.base.Model"),
        (["task=own", "task._target_=torch.nn.Identity"], "must be a subclass of dlcourse.tasks.base.Task"),
        (["loss=own", "loss._target_=my_package.LogCosh"], "LogCosh accepts targets as values, the task has class"),
        (["optimizer=own", "optimizer._target_=my_package.Lyon"], "my_package.Lyon: there is no such class"),
        (["optimizer=own", "optimizer._target_=my_package.Lion", "optimizer.beta=1"], "optimizer has no key beta"),
        (["optimizer=own", "optimizer._target_=my_package.Lion", "trainer.max_epoch=3"], "mean trainer.max_epochs"),
        (["optimizer=own", "optimizer._target_=my_package.Lion", "+optimizer.beta=1"], "has no argument beta"),
    ],
)  # fmt: skip
def test_refused(words: list[str], said: str, outside: Path) -> None:
    with pytest.raises(Refused) as refusal:
        run(*words, *QUICK)
    assert refusal.value.code == 2 and said in str(refusal.value)
    assert not list(Path("runs").rglob("metrics.jsonl"))


def add_to_checkout(root: Path, title: str) -> None:
    """The class goes into its room, and a file into its group: nothing else changes."""
    name, room, group, choice = PARTS[title]
    (source,) = blocks("python", chapters()[title])
    path = root / "dlcourse" / f"{room}.py"
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n\nimport torch\nfrom torch import nn\n\n\n{source}")
    target = f"dlcourse.{room.replace('/', '.')}.{name}"
    own = root / "conf" / group / "own.yaml"
    text = own.read_text("utf-8") if own.exists() else f"{choice}:\n  _target_: ???\n  mode: max\n  reach: 50\n"
    text = text.replace("???", target)
    if title == "A model":
        text += "activation: ${activation}\nwidth: 512\n"
    if title == "A data set":
        text = text.replace("shape: null", "shape: [2]").replace("outputs: null", "outputs: 2")
        text = text.replace("task: classification", "task: binary")
    (root / "conf" / group / f"{choice}.yaml").write_text(text, "utf-8")


def test_in_the_checkout_it_is_a_class_and_a_file(tmp_path: Path) -> None:
    for name in ("conf", "dlcourse"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train.py", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for title in PARTS:
        add_to_checkout(tmp_path, title)
    readme = (ROOT / "README.md").read_text("utf-8")
    (mish,) = [block for block in blocks("yaml", readme) if "Mish" in block]
    (tmp_path / "conf/activation/mish.yaml").write_text(mish)
    changed = {path for path, was in before.items() if path.read_bytes() != was}
    assert {path.name for path in changed} == {f"{room}.py" for _, room, *_ in PARTS.values() if "/" not in room}
    classes = ["model=wide", "data=rings", "activation=squareplus", "optimizer=lion", "init=orthogonal"]
    values = ["data=diabetes", "task=logarithm", "loss=log_cosh", "metrics=within", "activation=mish"]
    classes += ["scheduler=inverse_root", "optimizer.lr=0.02", "trainer.max_epochs=60"]
    values += ["trainer.max_epochs=20"]
    both = [[*QUICK[:2], *words, f"run_dir={tmp_path / words[1][5:]}"] for words in (classes, values)]
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", ONE_AFTER_ANOTHER, json.dumps(both)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    accuracy, within = map(float, re.findall(r"test/(?:acc|within)\s+([\d.]+)", done.stdout))
    assert accuracy >= 0.9 and within >= 0.4, done.stdout
