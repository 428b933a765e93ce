"""The rooms of the house: what each says it is, the page that lists them, and imports that run one way between them.

Imports are counted here with ``ast`` alone, wherever they stand (in functions and for types too), beside the contracts of
pyproject.toml, which import-linter holds.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.test_house import MODULES, PACKAGES, PROJECT, ROOT, syntax

MAX_FILES = 12
PAGE = (ROOT / "docs" / "rooms.md").read_text(encoding="utf-8")
#: Each room with what it holds and what it may import, as the page has them, in its order.
ROWS = re.findall(r"^\| \[`([\w.]+)`\]\(\.\./([\w/]+)/__init__\.py\) \| (.+) \| (.+) \|$", PAGE, flags=re.MULTILINE)
ORDER = [name for name, *_ in ROWS]
ROOMS = sorted(name for name, path in MODULES.items() if path.name == "__init__.py" and name not in PACKAGES)
PER_ROOM = pytest.mark.parametrize("room", ROOMS)


def is_package(name: str) -> bool:
    """Whether a module is the ``__init__`` of a folder."""
    return MODULES[name].name == "__init__.py"


def room_of(name: str) -> str:
    """The room that a module stands in; a file beside the rooms of a package is a room of its own."""
    parent = name.rpartition(".")[0]
    return name if is_package(name) or parent in PACKAGES else parent


def imports_of(tree: ast.Module, modules: Iterable[str]) -> set[str]:
    """The modules of ours that a syntax tree imports: at its top, in functions, and for types alone."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            wholes = {f"{module}.{alias.name}" for alias in node.names}
            found |= {whole if whole in modules else module for whole in wholes}
    return found & set(modules)


def circle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """A circle of the graph, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def between_rooms(imports: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """What the rooms import of each other. A package that names its own rooms in its ``__init__`` does not import upwards."""
    graph: dict[str, set[str]] = {room_of(name): set() for name in imports}
    for name, targets in imports.items():
        own = f"{name}." if is_package(name) else None
        graph[room_of(name)] |= {room_of(target) for target in targets if own is None or not target.startswith(own)}
    return {room: others - {room} for room, others in graph.items()}


IMPORTS = {name: imports_of(syntax(name), MODULES) - {name} for name in MODULES}


# ---- one way ---------------------------------------------------------------------------------------------------------


def test_files_import_each_other_in_no_circle() -> None:
    assert circle_in(IMPORTS) == []


def test_rooms_import_each_other_in_no_circle() -> None:
    assert circle_in(between_rooms(IMPORTS)) == []


def test_no_package_imports_one_that_stands_on_it() -> None:
    upwards = [
        (name, target)
        for name, targets in IMPORTS.items()
        for target in targets
        if PACKAGES.index(target.split(".")[0]) > PACKAGES.index(name.split(".")[0])
    ]
    assert upwards == []


@pytest.mark.parametrize(
    "source",
    [
        "import b",
        "from b import thing",
        "def f():\n    from b import thing",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import b",
        "async def f():\n    try:\n        import b\n    except ImportError:\n        pass",
    ],
)
def test_the_count_sees_an_import_wherever_it_stands(source: str) -> None:
    graph = {"a": imports_of(ast.parse(source), {"a", "b"}), "b": {"a"}}
    assert circle_in(graph)


#: What the contract named "pure" says of their imports; files can be opened without one.
PURE = next(c["source_modules"] for c in PROJECT["tool"]["importlinter"]["contracts"] if c["id"] == "pure")


@pytest.mark.parametrize("room", PURE)
def test_the_pure_core_opens_no_file(room: str) -> None:
    calls = [
        f"{name}:{node.lineno}"
        for name in MODULES
        if f"{name}.".startswith(f"{room}.")
        for node in ast.walk(syntax(name))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"open", "input", "np.load", "np.save", "torch.save"}
    ]
    assert calls == []


# ---- size and words --------------------------------------------------------------------------------------------------


@PER_ROOM
def test_a_room_holds_at_most_twelve_files(room: str) -> None:
    files = [name for name in MODULES if not is_package(name) and name.rpartition(".")[0] == room]
    assert len(files) <= MAX_FILES


@PER_ROOM
def test_a_room_says_what_it_is_and_holds_no_logic(room: str) -> None:
    tree = syntax(room)
    assert len(docstring_of(room).split("\n\n")) >= 2, "what it is; what it may import and its public things"
    assert [ast.unparse(node) for node in tree.body[1:] if is_logic(node)] == []


def is_logic(node: ast.stmt) -> bool:
    """Whether a statement of an ``__init__`` is more than an import, a table of names, or a lookup in such a table."""
    if isinstance(node, ast.FunctionDef):
        return node.name not in {"__getattr__", "__dir__"}
    if isinstance(node, ast.If):
        return ast.unparse(node.test) != "TYPE_CHECKING"
    return not isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)


@PER_ROOM
def test_the_public_things_that_a_room_names_are_there(room: str) -> None:
    words = public_of(room)
    assert words
    assert [word for word in words if not is_there(room, word)] == []


def is_there(room: str, word: str) -> bool:
    """Whether a room has a file of that name, a file with that name in it, or that name in its own list."""
    file, _, name = word.partition(".")
    if f"{room}.{file}" in MODULES:
        return not name or name in defined_in(f"{room}.{file}")
    _, listed, names = MODULES[room].read_text().partition("__all__ = ")
    return bool(listed) and not name and word in re.findall(r"\w+", names)


def defined_in(name: str) -> Iterator[str]:
    """The names that a module's top level defines."""
    for node in syntax(name).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def docstring_of(room: str) -> str:
    """A room's docstring."""
    text = ast.get_docstring(syntax(room))
    assert text, f"{room} does not say what it is"
    return text


def sentences_of(room: str) -> tuple[str, str, str]:
    """What a room says that it is, what it may import, and its public things; each on one line."""
    text = re.sub(r"[ \n]*\n(?! {4})", " ", docstring_of(room).replace("\n\n", "  "))
    found = re.match(r"(.+?)  It may import (.+?)\. Its public things are (.+?)\.(?:  |$)", text, flags=re.DOTALL)
    assert found, f"{room}: write 'It may import ... . Its public things are ... .' after the first sentence"
    return found[1], found[2], found[3]


def public_of(room: str) -> list[str]:
    """The public things that a room names."""
    return re.findall(r"`([\w.]+)`", sentences_of(room)[2])


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_page_lists_every_room_once() -> None:
    assert sorted(ORDER) == ROOMS
    assert [name for name, folder, *_ in ROWS if folder != name.replace(".", "/")] == []


@pytest.mark.parametrize(("room", "what", "may"), [(row[0], row[2], row[3]) for row in ROWS], ids=ORDER)
def test_the_page_says_of_a_room_what_the_room_says(room: str, what: str, may: str) -> None:
    assert (what, may) == sentences_of(room)[:2]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_has_the_order_of_the_contract(package: str) -> None:
    (contract,) = [c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["id"] == f"rooms-{package}"]
    place = {
        f"{package}.{name.strip()}": -number
        for number, layer in enumerate(contract["layers"])
        for name in layer.split("|")
    }
    rooms = [name for name in ORDER if name in place]
    assert rooms == sorted(rooms, key=lambda name: place[name])
    assert {name for name in ORDER if name.count(".") == 1 and name.startswith(f"{package}.")} <= set(place)


def test_every_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:population|fitness|evolve|tests)/[\w/]+(?:/|\.\w+))`", PAGE)
    assert len(named) > 50
    assert [path for path in named if not (ROOT / path).exists()] == []


@PER_ROOM
def test_a_room_imports_what_it_says_it_may(room: str) -> None:
    allowed = rooms_named(sentences_of(room)[1])
    (used,) = [others for name, others in between_rooms(IMPORTS).items() if name == room]
    assert used - allowed - {"population.lazy_torch"} == set()  # it stands for torch itself


def rooms_named(may: str) -> set[str]:
    """The rooms that a sentence allows: a whole package by its name, all up to a room, or a room or file by its name."""
    allowed: set[str] = set()
    for up_to, name in re.findall(r"(up to )?`([\w.]+)`", may):
        package = name.split(".")[0]
        if up_to:
            below = [room for room in ORDER[: ORDER.index(name) + 1] if room.startswith(f"{package}.")]
            allowed |= {*below, *GROUND[package]}
        elif name in PACKAGES:
            allowed |= {room_of(module) for module in MODULES if module.split(".")[0] == package}
        else:
            assert name in MODULES, f"there is no {name}"
            allowed.add(name)
    return allowed


#: The files below the rooms of a package, as the page lists them.
GROUND = {
    package: {
        path.removesuffix(".py").replace("/", ".")
        for path in re.findall(rf"`({package}/\w+\.py)`", PAGE.split(f"\n## {package}")[1].split("\n| room")[0])
    }
    for package in PACKAGES
}
