"""The shape of the inside, by the syntax tree: no import climbs, no task is asked for by name, files stay short."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dlcourse"
FILES = sorted(PACKAGE.rglob("*.py"))
#: The rooms from the ground up: a file imports from its own room and from those below it, wherever the import stands.
ROOMS = (
    *("errors", "internals", "download", "scratch"),
    *(
        "activations",
        "losses",
        "cross_entropies",
        "code_losses",
        "centres",
        "optimizers",
        "schedulers",
        "init",
        "noise",
    ),
    *("metrics", "chosen_metrics", "pairs"),
    *("plots", "tasks", "models", "data", "config", "runs", "callbacks", "measures", "report", "sweeps", "cli"),
    "__init__",
)
#: The lecture's nouns: they know torch, and nothing of ours.
LEAVES = ("activations", "losses", "optimizers", "schedulers", "init", "noise")
LONGEST = 250
TASKS = {path.stem for path in (ROOT / "conf" / "task").glob("*.yaml")} - {"own"}


def room(name: str) -> str:
    """The room of a module dlcourse.ROOM…"""
    return name.split(".")[1] if "." in name else "__init__"


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of ours that a file imports, at its top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("dlcourse"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dlcourse"):
            if node.module == "dlcourse":
                yield from (f"dlcourse.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def climbs(tree: ast.AST, own: str) -> list[str]:
    return [name for name in imported(tree) if ROOMS.index(room(name)) > ROOMS.index(own)]


def named_tasks(tree: ast.AST, names: set[str], classes: set[str]) -> list[str]:
    """Strings that equal a task's name, and questions for a task's class."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in names:
            found.append(f"{node.lineno}: {node.value!r}")
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            asked = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
            asked |= {each.attr for each in ast.walk(node.args[1]) if isinstance(each, ast.Attribute)}
            found += [f"{node.lineno}: isinstance of {name}" for name in asked & classes]
    return found


def task_classes() -> set[str]:
    trees = [ast.parse(path.read_text("utf-8")) for path in (PACKAGE / "tasks").glob("*.py")]
    bases = {"Task", "Classification"}
    nodes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    return {"Task", *(node.name for node in nodes if bases & {getattr(base, "id", "") for base in node.bases})}


def test_every_file_is_in_a_room() -> None:
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_import_climbs(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    tree = ast.parse(path.read_text("utf-8"))
    assert climbs(tree, own) == []
    if own in LEAVES:
        assert [*imported(tree)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_task_is_asked_for_by_name(path: Path) -> None:
    if path.parent.name != "tasks":
        assert named_tasks(ast.parse(path.read_text("utf-8")), TASKS, task_classes()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_files_stay_short(path: Path) -> None:
    if path.name != "scratch.py":
        assert len(path.read_text("utf-8").splitlines()) <= LONGEST


def test_the_searches_find_what_they_are_for() -> None:
    code = "def f(task):\n    from dlcourse.report.page import build_report\n    return task == 'regression'"
    assert climbs(ast.parse(code), "runs") == ["dlcourse.report.page"] and climbs(ast.parse(code), "cli") == []
    assert named_tasks(ast.parse(code), TASKS, task_classes()) == ["3: 'regression'"]
    asked = ast.parse("isinstance(model.task, supervised.Binary)")
    assert named_tasks(asked, TASKS, task_classes()) == ["1: isinstance of Binary"]
    assert {"Classification", "Binary", "Multilabel", "Regression", "Reconstruction"} < task_classes()
