"""Finds, in the syntax trees of sources, the private names of other people's libraries.

A private name is ours where it is imported from our packages, or belongs to a class of ours: the class or one it
inherits from defines it, and some class of ours reads it. What is defined and never read, somebody else reads: it
overrides a private method, or is a private attribute that a library looks for.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

OURS = ("dlcourse", "scripts", "tests", "train")
#: Public by their documentation, in spite of the underscore: of named tuples, and of os.
DOCUMENTED = {"_asdict", "_field_defaults", "_fields", "_make", "_replace", "_exit"}


def is_private(name: str) -> bool:
    """_name and __name, but neither __name__ nor Hydra's _target_."""
    return re.fullmatch(r"_+[^\W_](.*[^_])?", name) is not None and name not in DOCUMENTED


def dotted(node: ast.AST) -> str:
    """a.b.c of names and attributes; of anything else ''."""
    if isinstance(node, ast.Name):
        return node.id
    base = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{base}.{node.attr}" if isinstance(node, ast.Attribute) and base else ""


def is_instance(node: ast.AST) -> bool:
    """Whether it is self, cls or super()."""
    return dotted(node) in ("self", "cls") or isinstance(node, ast.Call) and dotted(node.func) == "super"


def definitions(source: ast.ClassDef) -> Iterator[tuple[str, int]]:
    """The names that a class defines, in its body or on self, and where."""
    for node in source.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((target.id, node.lineno) for target in targets if isinstance(target, ast.Name))
    for node in ast.walk(source):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_instance(node.value):
            yield node.attr, node.lineno


class Classes:
    """The classes of all sources, by name."""

    def __init__(self, trees: Mapping[str, ast.Module]):
        self.bases: dict[str, set[str]] = defaultdict(set)
        self.names: dict[str, set[str]] = defaultdict(set)
        self.read: set[str] = set()
        for tree in trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    self.bases[node.name] |= {dotted(base).rpartition(".")[2] for base in node.bases}
                    self.names[node.name] |= {name for name, _ in definitions(node)}
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    self.read.add(node.attr)

    def owns(self, name: str, attribute: str) -> bool:
        """Whether a class, or one of ours that it inherits from, defines what one of ours reads."""
        if attribute in self.names.get(name, ()):
            return attribute in self.read
        return any(self.owns(base, attribute) for base in self.bases.get(name, set()) - {name})


class Finder(ast.NodeVisitor):
    """The private names of one source that are not ours, as (line, name)."""

    def __init__(self, classes: Classes, tree: ast.Module):
        self.classes, self.within = classes, [""]
        self.ours, self.found = set[str](), set[tuple[int, str]]()
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                self.ours.add(node.name)
            elif isinstance(node, ast.ImportFrom) and (node.level or ours(node.module or "")):
                self.ours |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.Import):
                self.ours |= {alias.asname or alias.name.split(".")[0] for alias in node.names if ours(alias.name)}
        self.visit(tree)

    def check(self, node: ast.AST, names: str) -> None:
        if any(map(is_private, names.split("."))):
            self.found.add((node.lineno, names))  # type: ignore[attr-defined]

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if not ours(alias.name):
                self.check(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if not node.level and not ours(node.module or ""):
                self.check(node, f"{node.module}.{alias.name}")

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.within.append(node.name)
        for name, line in definitions(node):
            if is_private(name) and not self.classes.owns(node.name, name):
                self.found.add((line, name))
        self.generic_visit(node)
        self.within.pop()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        of_ours = is_private(node.attr) and dotted(node.value).split(".")[0] in self.ours
        if not of_ours and not self.classes.owns(self.within[-1], node.attr):
            self.check(node, node.attr)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        named = isinstance(node.value, str) and re.fullmatch(r"[\w.]+", node.value)  # as getattr takes them
        if named and not self.classes.owns(self.within[-1], str(node.value)):
            self.check(node, str(node.value))

    def visit_keyword(self, node: ast.keyword) -> None:
        self.check(node, node.arg or "")
        self.generic_visit(node)


def ours(module: str) -> bool:
    return module.split(".")[0] in OURS


def foreign_private_names(sources: Mapping[str, str]) -> list[str]:
    """The private names of other libraries in sources (by path), as PATH:LINE: NAME."""
    trees = {path: ast.parse(source) for path, source in sources.items()}
    classes = Classes(trees)
    found = [(path, *each) for path, tree in trees.items() for each in Finder(classes, tree).found]
    return [f"{path}:{line}: {name}" for path, line, name in sorted(found)]
