"""Ignores each configuration key, and each limit, in turn, and sees that the test named for it notices.

    mutate_keys.py                                        everything
    mutate_keys.py host.fill_rate host.listeners:LISTENERS_MAX   some of it

tests/test_key_coverage.py names the tests.  A key is ignored by giving every configuration the key's default; a limit
by making it a million times as large wherever the program looks at it, in a copy of the program.  Nothing here changes
a file of the repository.  Exit status 1 if a test did not notice.
"""

import argparse
import ast
import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from mutation import ROOT, Outcome, copy_program, run_tests

IGNORE_KEY = """
import radiosync.config as config

section = config._SECTIONS[{section!r}]
default = section().{key}
check = section.__post_init__

def ignore(self):
    check(self)
    object.__setattr__(self, {key!r}, default)

section.__post_init__ = ignore
config._check_together = lambda config: None  # the test's other keys were meant to go with its own value
"""


def tables() -> ModuleType:
    """Return the module of the tests that names them."""
    spec = importlib.util.spec_from_file_location("test_key_coverage", ROOT / "tests" / "test_key_coverage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ignore_key(dotted: str, folder: Path) -> None:
    """Leave in `folder` what makes every Python process ignore a key."""
    section, _, key = dotted.partition(".")
    (folder / "sitecustomize.py").write_text(IGNORE_KEY.format(section=section, key=key))


def ignore_limit(named: str, folder: Path) -> None:
    """Leave in `folder` a copy of the program that ignores a limit, "package.module:NAME"."""
    module, _, name = named.partition(":")
    changed = 0
    for path in copy_program(folder).rglob("*.py"):
        home = ".".join(path.relative_to(folder).with_suffix("").parts)
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        knows = home == f"radiosync.{module}" or any(
            isinstance(node, ast.ImportFrom)
            and node.module == f"radiosync.{module}"
            and any(alias.name == name for alias in node.names)
            for node in ast.walk(tree)
        )
        if knows:
            text, count = _enlarged(text, tree, name)
            path.write_text(text, encoding="utf-8")
            changed += count
    if not changed:
        sys.exit(f"mutate_keys: nothing looks at {named}")


def _enlarged(text: str, tree: ast.Module, name: str) -> tuple[str, int]:
    """Return the text with every look at `name` a million times as large, and how many there were."""
    lines = text.encode().splitlines(keepends=True)
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)]
    for node in sorted(found, key=lambda n: (n.lineno, n.col_offset), reverse=True):
        line, begin = lines[node.lineno - 1], node.col_offset
        end = begin + len(name)
        lines[node.lineno - 1] = line[:begin] + f"({name} * 1_000_000)".encode() + line[end:]
    return b"".join(lines).decode(), len(found)


def passes(tests: list[str], folder: Path | None) -> bool:
    """Run tests, with what lies in `folder` first on the path, and say whether they pass."""
    return run_tests(tests, folder) is Outcome.PASSED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="keys and limits; all if none is named")
    options = parser.parse_args()
    named = tables()
    tests = {name: test for name, test in (named.KEYS | getattr(named, "LIMITS", {})).items() if test}
    chosen = options.names or list(tests)
    if unknown := [name for name in chosen if name not in tests]:
        sys.exit(f"mutate_keys: no test is named for {', '.join(unknown)}")
    if not passes(sorted({tests[name] for name in chosen}), None):
        sys.exit("mutate_keys: the tests fail as it is")
    missed = 0
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
            (ignore_limit if ":" in name else ignore_key)(name, Path(folder))
            verdict = "MISSED" if passes([tests[name]], Path(folder)) else "noticed"
        missed += verdict != "noticed"
        print(f"{verdict:7} {name:42} {tests[name]}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} noticed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
