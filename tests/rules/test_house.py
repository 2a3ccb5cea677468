"""The rules of the house, read from the syntax tree: a rule that matters is a test."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "rbee"

LEVELS = {
    "errors": 0,
    "version": 0,
    "policy": 1,
    "wire": 1,
    "settings": 1,
    "edge": 2,
    "models": 3,
    "worker": 4,
    "hive": 4,
    "queen": 4,
    "keeper": 4,
}
IMPURE = {"asyncio", "time", "random", "os", "socket", "subprocess", "threading"}
BANNED_NAMES = {"utils", "helpers", "common", "misc", "manager", "base"}
BROAD = {"Exception", "BaseException"}
FILE_LINES, FUNCTION_LINES = 400, 60


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def room(path: Path) -> str:
    part = path.relative_to(SRC).parts[0]
    return part.removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.relative_to(ROOT)}: imports are absolute"
            module = node.module or ""
            yield from (
                (f"rbee.{name.name}" for name in node.names) if module == "rbee" else (module,)
            )


def tracked() -> list[Path]:
    """What git knows; in a copy without git, whatever lies in our folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name]
    folders = ("src", "tests", "test-harness", "bench", "docs", "scripts", ".ci")
    inside = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return [path for path in (*ROOT.iterdir(), *inside) if path.suffix != ".pyc"]


def test_imports_go_downward_only():
    """A room imports lower rooms; queen, hive, worker and keeper meet in `wire` alone."""
    wrong = []
    for path in sources("src/rbee"):
        own = room(path)
        for name in imports(path):
            if not name.startswith("rbee.") or own == "__init__":
                continue
            other = name.split(".")[1]
            if other != own and LEVELS[other] >= LEVELS[own] and LEVELS[own] != 1:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            if LEVELS[own] == 1 and LEVELS[other] > 1:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")

    assert not wrong


def test_decisions_and_shapes_are_pure():
    """On levels 0 and 1 the world is an argument: no clock, dice, socket or process."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("src/rbee")
        if room(path) != "__init__" and LEVELS[room(path)] <= 1
        for name in imports(path)
        if name.split(".")[0] in IMPURE
    ]

    assert not wrong


def test_files_and_functions_are_short():
    """At most 400 lines a file and 60 a function."""
    wrong = []
    for path in sources("src", "tests", "test-harness", "bench"):
        if len(path.read_text().splitlines()) > FILE_LINES:
            wrong.append(str(path.relative_to(ROOT)))
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    wrong.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines")

    assert not wrong


def test_names_say_what_things_are():
    """No file and no class is called after nothing."""
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources("src", "tests", "test-harness", "bench")
        for name in (path.stem, *classes(path))
        if any(part in BANNED_NAMES for part in words(name))
    ]

    assert not wrong


def classes(path: Path) -> Iterator[str]:
    return (node.name for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))


def words(name: str) -> list[str]:
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    return spaced.replace("_", " ").split()


def test_no_error_is_swallowed():
    """An `except` names what it expects; catching everything must do something with it."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources("src", "tests", "test-harness", "bench")
        for node in ast.walk(tree(path))
        if swallows(node)
    ]

    assert not wrong


def swallows(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        silent = all(isinstance(line, ast.Pass | ast.Continue) for line in node.body)
        return node.type is None or (silent and is_broad(node.type))
    if isinstance(node, ast.Call) and called(node) == "suppress":
        return any(is_broad(argument) for argument in node.args)
    return False


def is_broad(kind: ast.expr) -> bool:
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(isinstance(one, ast.Name) and one.id in BROAD for one in kinds)


def called(node: ast.Call) -> str:
    """The last word of what is called: `sleep` of `time.sleep(1)` and of `sleep(1)`."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def test_tests_do_not_sleep():
    """Tests wait for a condition with a limit; only `eventually` may sleep between looks."""
    wrong = []
    for path in sources("tests", "test-harness"):
        if path.name == "eventually.py":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and called(node) == "sleep":
                first = node.args[0] if node.args else None
                if not (isinstance(first, ast.Constant) and first.value == 0):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")

    assert not wrong


def test_every_test_states_its_promise():
    """A test's docstring is what it promises."""
    wrong = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sources("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert not wrong


def test_the_tree_names_no_place_of_the_workshop():
    """No package registry's host, no path of a machine, nothing left to do."""
    forbidden = [
        *("pypi" + ".org", "files.pythonhosted" + ".org", "registry.npmjs" + ".org"),
        *("deb.debian" + ".org", "/" + "work/", "/" + "farm/", "TO" + "DO", "FIX" + "ME"),
    ]
    wrong = []
    for path in tracked():
        if path.name == "LICENSE" or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        wrong += [f"{path.relative_to(ROOT)}: {word}" for word in forbidden if word in text]

    assert not wrong


def test_folders_of_tests_are_packages() -> None:
    """Two test files may share a name: each folder is a package, or pytest mixes them up."""
    folders = {path.parent for path in sources("tests") if path.name.startswith("test_")}
    bare = [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").is_file()]
    assert not bare, f"these folders of tests need an __init__.py: {sorted(bare)}"


def test_a_cancelled_wait_is_over():
    """`asyncio.wait_for` of Python 3.11 may swallow a cancellation that comes in the moment of the
    result, and what was to end goes on for ever; `asyncio.timeout` does not."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources("src/rbee")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and called(node) == "wait_for"
    ]

    assert not wrong
