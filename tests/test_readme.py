"""README and the pages it links to: every command in them is accepted, and those that take seconds run.

The default tests compose each ``train.py`` command, look each other option up in its program's help, and run the
chapters on a person's own data and on what can be done after training. The slow tests run the rest.
"""

import contextlib
import gc
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.composing import checked, checked_multirun
from tests.faults.process import Done, start

ROOT = Path(__file__).parent.parent
PAGES = {
    name: (ROOT / name).read_text("utf-8")
    for name in (
        "README.md",
        "notebooks/README.md",
        "notebooks/reference.md",
        "notebooks/own_parts.md",
        "scripts/benchmarks/README.md",
        "tests/faults/README.md",
    )
}
README = PAGES["README.md"]
QUICK = ["logger=none", "callbacks=none", "trainer.max_epochs=2"]


#: Programs that are not ours, and that the tests do not need.
OUTSIDE = ("export", "source", "scontrol", "optuna-dashboard", "[")
#: Examples with parts of one's own, which tests/test_own_parts.py runs.
OWN = re.compile("my_package|my_conf|activation=mish")
#: What is added to the long ones in the slow tests, by what they contain.
SHORTER = {
    "model=torchvision": ["trainer.max_epochs=1", "trainer.limit_train_batches=3"],
    "data=scenes": ["data.n_samples=100", "data.n_test_samples=20", "trainer.max_epochs=1"],
    "data=mnist": ["trainer.max_epochs=1", "trainer.limit_train_batches=20"],
    "sampler=tpe": ["sweep.n_trials=2", "trainer.max_epochs=1"],
    "sampler=nsga2": ["sweep.n_trials=2", "trainer.max_epochs=1"],
    "sweep=mnist_tpe": ["sweep.n_trials=1", "trainer.max_epochs=1", "trainer.limit_train_batches=20"],
    "sweep=digits_": ["sweep.n_trials=2", "trainer.max_epochs=1"],
    "-m": ["trainer.max_epochs=1"],
    "experiment=(08b|12)_": ["trainer.max_epochs=2"],  # at full length in tests/test_lecture.py
    "--short": ["08f_softmax"],
}
#: Commands that need what a test machine may lack: a GPU, a cluster, a server, a network.
ELSEWHERE = (
    "model.weights=DEFAULT",
    "model.weights=imagenet",
    "submitit_",
    "hydra/launcher=ray",
    "accelerator=gpu",
    "logger.mode=online",
    "num_nodes=2",
    "torchrun",
)


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language; "" are those without one, as what a command prints."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page], re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


def block(language: str, first: str) -> str:
    """The code block that begins with a line."""
    (found,) = [text for page in PAGES for text in blocks(page, language) if text.startswith(first)]
    return found


def prose(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def split(line: str) -> list[list[str]]:
    """The commands of a line of shell, without its comment."""
    found: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word == "&&":
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words]


def commands(page: str, text: str | None = None) -> list[list[str]]:
    """Every command of a page: in its blocks of shell, in its examples with a prompt, and within a sentence."""
    shell = "".join(blocks(page, "bash")) if text is None else text
    lines = shell.replace("\\\n", " ").splitlines()
    if text is None:
        lines += [line[2:] for part in blocks(page, "") for line in part.splitlines() if line.startswith("$ ")]
        lines += re.findall(r"`((?:python|pip) [^`…]+)`", prose(page))
    return [words for line in lines for words in split(line)]


def cases(*pages: str) -> list:
    found = {shlex.join(words): words for page in pages for words in commands(page)}
    return [pytest.param(words, id=line) for line, words in found.items()]


def chapter(title: str) -> str:
    """The blocks of shell of one chapter of README."""
    text = README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert text, title
    return "".join(re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples name: a table, a folder of pictures, a picture of a seven."""
    folder = tmp_path_factory.mktemp("place")
    towns = ("Bonn", "Ulm", "Jena")
    rows = [(30 + k, 1 + k % 5, towns[k % 3], 80.5 + 2 * k + 30 * (k % 3)) for k in range(100)]
    table = "".join(f"{','.join(map(str, row))}\n" for row in [("area", "rooms", "town", "price"), *rows])
    (folder / "my.csv").write_text(table)
    noise = np.random.default_rng(0)
    for name, brightness in (("cats", 60), ("dogs", 180)):
        (folder / "my_pictures" / name).mkdir(parents=True)
        for k in range(20):
            pixels = noise.integers(0, 60, (12, 16, 3)) + brightness
            Image.fromarray(pixels.astype("uint8")).save(folder / "my_pictures" / name / f"{k}.png")
    seven = np.zeros((8, 8), dtype="uint8")
    seven[1, 2:6] = seven[2:4, 5] = seven[4:7, 3] = 255
    Image.fromarray(seven).resize((80, 80)).save(folder / "seven.png")
    return folder


def process(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A Python command in a process of its own, with the library that lies in the folder, or this one."""
    env = os.environ | {"PYTHONPATH": str(folder if (folder / "dlcourse").exists() else ROOT)}
    return subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True)


def forked(folder: Path, *words: str) -> Done:
    """The same with this library, forked from a process that has torch."""
    return start(Path(words[0]), words[1:], cwd=folder).end(600)


def here(words: list[str]) -> tuple[int, str, str]:
    """A Python command in this process, which has torch: its exit code, what it printed, and its complaints."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", [str(ROOT / words[0]), *words[1:]])
        try:
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            gc.enable()  # a command of its own ends before garbage matters
    return code, out.getvalue(), err.getvalue()


@cache
def help_of(script: str) -> str:
    return here([script, "--help"])[1]


def python(words: list[str]) -> list[str] | None:
    """The script of a command and what it is given, whichever program starts it; None: it starts none."""
    for k, word in enumerate(words):
        if word.endswith(".py") and words[0].rpartition("/")[2] in ("python", "srun", "torchrun"):
            return words[k:]
    return None


# Every command


@pytest.mark.parametrize("words", cases(*PAGES))
def test_a_command_is_accepted(words: list[str], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    program, script = words[0].rpartition("/")[2], python(words)
    if script and script[0] == "train.py":
        check_training(script[1:])
    elif script:
        check_script(*script)
    elif program == "pip":
        check_packages(words)
    elif program == "wandb":
        from wandb.cli.cli import cli

        assert words[1] in cli.commands
    elif words[:2] == ["python3", "-m"]:
        assert words[2] == "venv"
    elif words[1:3] == ["-m", "tests.faults"]:
        told = here(["tests/faults/__main__.py", "--help"])[1]
        assert all(word in told for word in words[3:] if word.startswith("--"))
    elif program == "python":
        assert words[1:3] == ["-m", "pytest"] and (
            len(words) == 3 or words[3:] in (["-m", "slow"], ["-m", "gpu"], ["-n", "0"])
        )
    else:
        assert program in OUTSIDE or re.fullmatch(r"RUN=runs/[\w/-]+", words[0])


def check_training(words: list[str]) -> None:
    if OWN.search(" ".join(words)) or any(word.startswith("resume=$") for word in words):
        return  # run by tests/test_own_parts.py, test_after_training and test_a_command_runs
    words = [word for word in words if word not in ("--help", "--cfg", "job", "--resolve")]
    if "-m" in words:
        checked_multirun([word for word in words if word != "-m"])
    else:
        checked(words)


def check_script(script: str, *words: str) -> None:
    told = help_of(script)
    assert told
    for word in words:
        if script == "scripts/course.py" and not word.startswith("--"):
            assert list((ROOT / "conf/experiment").glob(f"{word}*.yaml")) or word.startswith("runs/")
        elif word.startswith("--") or script == "scripts/benchmark.py" and word.isidentifier():
            assert word in told


def check_packages(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = re.findall(r"\.\[([\w,]+)\]", " ".join(words))
    assert words[1:3] == ["install", "-e"] and {name for names in asked for name in names.split(",")} <= set(extras)


@pytest.mark.parametrize("page", PAGES)
def test_shell_is_sound(page: str) -> None:
    done = subprocess.run(["bash", "-n"], input="\n".join(blocks(page, "bash")), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# The chapters that take seconds


def test_your_own_data(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    run = 0
    for words in commands("README.md", chapter("Your own data")):
        code, out, err = here([*words[1:], *QUICK, "report=false"])
        assert code == 0 and ("test/loss" if words[1] == "train.py" else "the target") in out, err
        run += 1
    assert run >= 3


def test_after_training(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example in Python trains, and the commands take its run directory. Export, and MNIST, are slow tests."""
    monkeypatch.chdir(place)
    example = block("python", "from dlcourse import run")
    assert '"trainer.max_epochs=10"' in example
    told: dict = {}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(example.replace("max_epochs=10", "max_epochs=2"), told)
    run = told["result"].run_dir
    assert str(run) in out.getvalue() and told["result"].history
    listed = commands("README.md", chapter("After training"))
    assert listed[0][0].startswith("RUN=")
    expected = {
        "evaluate.py": "test/acc",
        "predict.py": "7=",
        "report.py": "report.html",
        "runs.py": "model=cnn",
        "train.py": "best weights: epoch",
    }
    ran = set()
    for words in listed[1:]:
        name = words[1].rpartition("/")[2]
        if name == "export.py" or any(word.startswith("init_from=") for word in words):
            continue
        given = [word.replace("$RUN", str(run)).replace("max_epochs=60", "max_epochs=3") for word in words[1:]]
        code, out, err = here([*given, "paths.runs_dir=."] if name == "runs.py" else given)
        assert code == 0 and ("output=answer.csv" in given or expected[name] in out), err
        ran.add(name)
    assert "seven.png,7," in (place / "answer.csv").read_text()
    assert ran == set(expected)


# What the pages say of the checkout


def test_the_choices_in_tables_are_those_on_disk() -> None:
    rows = re.findall(r"^\| `(\w+)`[^|]* \| (`.+) \|$", README, re.MULTILINE)
    experiments = re.findall(r"^\| (`[^|]+) \| L\d", PAGES["notebooks/README.md"], re.MULTILINE)
    assert len(rows) >= 15
    for group, listed in [*rows, ("experiment", " ".join(experiments))]:
        on_disk = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")} - (
            {"none", "own"} if group in ("debug", "experiment", "sweep") else {"own"}
        )
        assert set(re.findall(r"`(\w+)`", listed)) == on_disk, group


def test_choices_within_sentences_are_on_disk() -> None:
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()} | {"hydra/launcher"}
    for page in PAGES:
        for text in re.findall(r"`([^`]+)`", prose(page)):
            for group, choice in re.findall(r"(?<![\w.])([\w/]+)=(\w+)(?![\w.…])", text):
                if group in groups:
                    assert (ROOT / "conf" / group / f"{choice}.yaml").exists(), f"{page}: {text}"


def anchors(text: str) -> Iterator[str]:
    for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        name, _, anchor = link.partition("#")
        if not name.startswith("http"):
            target = (ROOT / page).parent / name
            assert target.exists(), link
            assert not anchor or anchor in anchors(target.read_text("utf-8")), link


def test_each_file_of_the_library_has_a_line_in_the_tree() -> None:
    tree = block("", "train.py        trains")
    for path in (ROOT / "dlcourse").glob("*.py"):
        assert path.name == "__init__.py" or path.name in tree


@pytest.mark.parametrize("page", PAGES)
def test_lines_are_short(page: str) -> None:
    assert not [line for line in PAGES[page].splitlines() if len(line) > 120 and not line.startswith("|")]


# Everything else


def long_cases() -> list:
    return [
        case
        for case in cases("README.md", "notebooks/README.md", "notebooks/reference.md")
        if (script := python(case.values[0]))
        and script[0] in ("train.py", "scripts/export.py", "scripts/gradcheck.py", "scripts/course.py")
        and (script[0] != "scripts/course.py" or "--short" in script)
        and not any(part in str(case.id) for part in ELSEWHERE)
        and not OWN.search(str(case.id))
    ]


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    with contextlib.chdir(place):
        code, _, err = here(["train.py", "model=cnn", *QUICK, "run_dir=trained"])
    assert code == 0, err
    return place / "trained"


@pytest.mark.slow
@pytest.mark.parametrize("words", long_cases())
def test_a_command_runs(words: list[str], place: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, or, if the command starts others, in one of its own."""
    monkeypatch.chdir(place)
    script = python(words)
    assert script
    shutil.rmtree("used", ignore_errors=True)
    shutil.copytree(trained, "used")
    given = [word.replace("$RUN", "used") for word in script]
    line = shlex.join(given)
    shorter = [word for part, more in SHORTER.items() if re.search(rf"(^| ){part}", line) for word in more]
    given += dict.fromkeys(shorter)
    if re.search("-m |sweep=|experiment=|trainer=ddp", line):
        if "trainer=ddp" in line:  # which starts the rest of its processes as this one was
            plain = process(place, str(ROOT / given[0]), *given[1:])
            code, err = plain.returncode, plain.stderr
        else:
            done = forked(place, str(ROOT / given[0]), *given[1:])
            code, err = done.code, done.err
    else:
        code, _, err = here(given)
    if "data=mnist" in line and "no source" in err:
        pytest.skip(err)
    assert code == (3 if "lr=1e12" in line else 0), err


def shown() -> list[tuple[str, str]]:
    """The examples of what is printed: each begins with the command that prints it."""
    return [(page, text) for page in PAGES for text in blocks(page, "") if text.startswith("$ python train.py ")]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "text"), shown(), ids=lambda value: value.partition("\n")[0])
def test_what_is_printed_looks_like_the_example(page: str, text: str, place: Path) -> None:
    """Every line of it, but for its numbers and what the run directory is called."""

    def plain(printed: str) -> list[str]:
        printed = re.sub(r"runs/[\w/-]+", "RUN", printed)
        return [re.sub(r"[\d.+-]+|nan|inf", "0", line).strip() for line in printed.splitlines()]

    command, *lines = text.splitlines()
    script, *words = shlex.split(command)[2:]
    done = forked(place, str(ROOT / script), *words)
    printed = plain(done.out + done.err)
    assert len(lines) >= 3 and not [line for line in plain("\n".join(lines)) if line != "…" and line not in printed]


@pytest.mark.slow
def test_the_plot_on_the_front_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines in the reference make it: the same points, at the same places."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    kept = (ROOT / "notebooks/moons.svg").read_text("utf-8")
    exec(block("python", "import re\n"), {})
    made = (tmp_path / "notebooks/moons.svg").read_text("utf-8")
    places = r'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)"'
    assert re.findall(places, made) == re.findall(places, kept) != []
