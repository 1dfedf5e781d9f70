"""The rules of the source, read from its syntax: what may import what, and how long a thing may be.

Each check is a function from sources to complaints, so that the second half of this file can show each of them a
violation and see that it complains.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Imports go down, or stay inside one package.
LAYER = {
    "": 0,  # radiosync/__init__.py
    "units": 0,
    "errors": 0,
    "wire": 1,
    "audio": 1,
    "config_rules": 1,
    "config": 1,
    "timeline": 1,
    "clock": 2,
    "repair": 2,
    "host": 3,
    "listener": 3,
    "drivers": 4,
    "sim": 4,
    "ui": 5,
    "cli": 5,
    "__main__": 5,
}
# In these layers one may use another (the format of a stream is part of a message), but never in a circle.  Elsewhere
# neighbours do not know each other: host and listener meet on the wire alone, drivers and sim nowhere.
SOCIABLE_LAYERS = {0, 1, 5}

CORE_LAYERS = {0, 1, 2, 3}
# The core does no I/O, reads no clock, starts no thread and has no randomness of its own.
OUTSIDE_WORLD = {
    "asyncio",
    "concurrent",
    "datetime",
    "importlib",
    "multiprocessing",
    "ntplib",
    "os",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "sounddevice",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
# The simulator may use processes, but a run must depend on nothing but its seed.
CHANCE = {"datetime", "secrets", "time", "uuid"}
CLOCKS = {"datetime", "time"}  # read in one place only, or two parts of the program would live by two clocks
CLOCK_MODULE = "drivers.clocks"
AUDIO_LIBRARIES = {"soundfile", "soxr"}  # in audio/ alone, and in drivers/ to read files; elsewhere audio is arrays

FILE_LINES_MAX = 400  # what a reader holds in mind at once, and a session.py that only dispatches
FUNCTION_LINES_MAX = 70  # a screen

Sources = dict[str, str]
"""Module name without "radiosync." -> source; a package's own module has the package's name."""


def read_sources() -> Sources:
    sources = {}
    for path in sorted((ROOT / "radiosync").rglob("*.py")):
        parts = list(path.relative_to(ROOT / "radiosync").with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        sources[".".join(parts)] = path.read_text(encoding="utf-8")
    return sources


def imports(module: str, source: str, sources: Sources) -> Iterator[tuple[int, str, str]]:
    """Yield line, imported module and imported name ("" for the module itself); ours start with "radiosync"."""
    # A relative import counts from the package the module is in, which for a package is itself.
    package = module.split(".") if any(other.startswith(module + ".") for other in sources) else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                base = ["radiosync", *package[: len(package) - node.level + 1], *base]
            for alias in node.names:
                yield node.lineno, ".".join(base), alias.name


def targets(module: str, sources: Sources) -> Iterator[tuple[int, str]]:
    """Yield line and name of each module of ours that `module` imports."""
    for line, imported, name in imports(module, sources[module], sources):
        top, _, ours = imported.partition(".")
        if top != "radiosync":
            continue
        submodule = f"{ours}.{name}" if ours else name
        yield line, submodule if submodule in sources else ours


def top(module: str) -> str:
    return module.partition(".")[0]


def layer_complaints(sources: Sources) -> Iterator[str]:
    for module in sources:
        if top(module) not in LAYER:
            yield f"{module}: has no layer; give it one in this test"
            continue
        for line, target in targets(module, sources):
            mine, its = LAYER[top(module)], LAYER.get(top(target), -1)
            same = top(module) == top(target)
            if its > mine:
                yield f"{module}:{line}: imports {target}, which is above it"
            elif its == mine and not same and mine not in SOCIABLE_LAYERS:
                yield f"{module}:{line}: imports {target}, its neighbour"


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return one circle of `graph`, or nothing."""
    state: dict[str, int] = {}  # 1 while its targets are looked at, 2 afterwards

    def visit(node: str, path: list[str]) -> list[str]:
        state[node] = 1
        for target in sorted(graph.get(node, ())):
            if state.get(target) == 1:
                return [*path[path.index(target) :], target]
            if target not in state and (cycle := visit(target, [*path, target])):
                return cycle
        state[node] = 2
        return []

    for node in sorted(graph):
        if node not in state and (cycle := visit(node, [node])):
            return cycle
    return []


def cycle_complaints(sources: Sources) -> Iterator[str]:
    modules: dict[str, set[str]] = {}
    packages: dict[str, set[str]] = {}
    for module in sources:
        for _, target in targets(module, sources):
            modules.setdefault(module, set()).add(target)
            if top(module) != top(target):
                packages.setdefault(top(module), set()).add(top(target))
    for graph in (modules, packages):
        if cycle := find_cycle(graph):
            yield "imports in a circle: " + " -> ".join(cycle)


def banned_in(module: str) -> set[str]:
    layer = LAYER.get(top(module), 0)
    if layer in CORE_LAYERS:
        return OUTSIDE_WORLD | (set() if top(module) == "audio" else AUDIO_LIBRARIES)
    if top(module) == "sim":
        return CHANCE | AUDIO_LIBRARIES
    if top(module) == "drivers":
        return {"soxr"} | (set() if module == CLOCK_MODULE else CLOCKS)
    return AUDIO_LIBRARIES


def purity_complaints(sources: Sources) -> Iterator[str]:
    for module, source in sources.items():
        must_repeat = LAYER.get(top(module), 0) in CORE_LAYERS or top(module) == "sim"
        for line, imported, name in imports(module, source, sources):
            if top(imported) in banned_in(module):
                yield f"{module}:{line}: imports {imported}"
            if must_repeat and imported == "random" and name != "Random":
                yield f"{module}:{line}: imports random; take a Random as an argument"
        if must_repeat:
            for line in unseeded_numpy(source):
                yield f"{module}:{line}: uses numpy's randomness without a seed"


def unseeded_numpy(source: str) -> Iterator[int]:
    """Yield the line of each use of numpy.random but `default_rng(SEED)` and the names of types."""
    tree = ast.parse(source)
    seeded = {
        id(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (node.args or node.keywords) and isinstance(node.func, ast.Attribute)
    }
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="numpy.random") | ast.ImportFrom(module="numpy", names=[ast.alias("random")]):
                yield node.lineno
            case ast.Attribute(ast.Attribute(ast.Name("np" | "numpy"), "random"), attribute):
                if attribute != "Generator" and not (attribute == "default_rng" and id(node) in seeded):
                    yield node.lineno


def size_complaints(sources: Sources) -> Iterator[str]:
    for module, source in sources.items():
        if (lines := len(source.splitlines())) > FILE_LINES_MAX:
            yield f"{module}: {lines} lines, more than {FILE_LINES_MAX}"
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    yield f"{module}:{node.lineno}: {node.name} has {lines} lines, more than {FUNCTION_LINES_MAX}"


# The source as it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [layer_complaints, cycle_complaints, purity_complaints, size_complaints])
def test_the_source(check: Callable[[Sources], Iterator[str]]) -> None:
    sources = read_sources()
    assert "units" in sources, "the source has been found"
    assert not list(check(sources))


def test_sizes_of_tools() -> None:
    tools = {f"tools/{path.name}": path.read_text(encoding="utf-8") for path in (ROOT / "tools").rglob("*.py")}
    assert not list(size_complaints(tools))


# Each check complains when it should ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("units", "from radiosync.errors import UserError\nfrom radiosync.wire import codec"),
        ("wire.codec", "import radiosync.clock.filter"),
        ("clock.filter", "def f():\n    from radiosync.host.session import HostSession"),
        ("clock.filter", "from radiosync.repair import symbols"),
        ("host.session", "from radiosync.listener import jitter"),
        ("listener.session", "from ..host import session"),
        ("drivers.udp", "from radiosync.sim.world import World"),
        ("sim.world", "import radiosync.drivers.udp"),
        ("sim.world", "from radiosync import drivers"),
        ("sim.world", "if TYPE_CHECKING:\n    from radiosync.cli import main"),
        ("surprise.thing", "import struct"),
    ],
)
def test_layers_are_seen(module: str, source: str) -> None:
    others = ["wire.codec", "clock.filter", "host.session", "listener.jitter", "drivers", "drivers.udp", "sim.world"]
    assert len(list(layer_complaints(dict.fromkeys(others, "") | {module: source}))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "host.session",
            "from radiosync.host.pacer import Pacer\nfrom radiosync.wire.codec import decode\nimport struct",
        ),
        ("wire.codec", "from radiosync.audio.format import AudioFormat"),
        ("cli", "from radiosync.ui import view\nfrom radiosync.drivers import udp\nfrom radiosync.sim import world"),
        ("host.session", "from . import pacer\nfrom ..wire import codec"),
    ],
)
def test_layers_allow_what_is_meant(module: str, source: str) -> None:
    others = ["host.pacer", "wire.codec", "drivers.udp", "sim.world", "ui.view"]
    assert not list(layer_complaints(dict.fromkeys(others, "") | {module: source}))


def test_circles_are_seen() -> None:
    within = {
        "host.a": "from radiosync.host import b",
        "host.b": "from radiosync.host.c import X",
        "host.c": "import radiosync.host.a",
    }
    assert list(cycle_complaints(within)) == ["imports in a circle: host.a -> host.b -> host.c -> host.a"]
    # No module imports itself here, but neither package can be understood first.
    between = {
        "wire.a": "import radiosync.audio.a",
        "audio.a": "",
        "audio.b": "import radiosync.wire.b",
        "wire.b": "",
    }
    assert list(cycle_complaints(between)) == ["imports in a circle: audio -> wire -> audio"]
    del between["audio.b"]
    assert not list(cycle_complaints(between))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        *(("host.session", f"import {name}") for name in sorted(OUTSIDE_WORLD)),
        ("units", "from time import monotonic_ns"),
        ("audio.codec", "import os.path as p"),
        ("clock.filter", "def f():\n    import threading"),
        ("clock.filter", "import random"),
        ("clock.filter", "from random import Random, randint"),
        ("wire.codec", "import soundfile"),
        ("listener.playout", "import soundfile"),
        ("drivers.udp", "from time import sleep"),
        ("drivers.udp", "import datetime"),
        ("cli", "import soxr"),
        ("sim.world", "import time"),
        ("sim.world", "from random import choice"),
        ("sim.world", "import numpy as np\nnp.random.normal(3)"),
        ("audio.conceal", "import numpy as np\nrng = np.random.default_rng()"),
        ("audio.conceal", "from numpy.random import normal"),
        ("audio.conceal", "from numpy import random"),
    ],
)
def test_the_outside_world_is_seen(module: str, source: str) -> None:
    assert len(list(purity_complaints({module: source}))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("clock.filter", "from random import Random"),
        ("audio.codec", "import soundfile, soxr, struct"),
        ("drivers.clocks", "import time"),
        ("drivers.song_file", "import soundfile"),
        ("drivers.udp", "import os, socket, threading, random"),
        ("sim.world", "import numpy as np\nrng: np.random.Generator = np.random.default_rng(7)"),
        ("host.session", "from radiosync.host.time import x"),
    ],
)
def test_the_outside_world_is_where_it_may_be(module: str, source: str) -> None:
    assert not list(purity_complaints({module: source}))


def test_sizes_are_seen() -> None:
    body = "    x = 1\n"
    assert not list(size_complaints({"units": "def f():\n" + body * (FUNCTION_LINES_MAX - 1)}))
    assert len(list(size_complaints({"units": "def f():\n" + body * FUNCTION_LINES_MAX}))) == 1
    assert len(list(size_complaints({"units": "class A:\n async def f():\n" + body * FUNCTION_LINES_MAX}))) == 1
    assert not list(size_complaints({"units": "x = 1\n" * FILE_LINES_MAX}))
    assert len(list(size_complaints({"units": "x = 1\n" * (FILE_LINES_MAX + 1)}))) == 1
