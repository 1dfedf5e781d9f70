"""A scenario as the text of a scenario file: what is not as usual, to be read, kept and tried again."""

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from radiosync.sim.scenario import UNLIMITED, Scenario

_TABLES = ("listeners", "faults", "orders", "villains")


def toml_lines(scenario: Scenario) -> Iterator[str]:
    """Yield the lines of a file that `Scenario.load` reads as `scenario` again."""
    yield f"title = {_value(scenario.title)}"
    sections = {key: value for key, value in _unusual(scenario).items() if key not in {"title", "config", *_TABLES}}
    for key in [key for key, value in sections.items() if not is_dataclass(value)]:
        yield f"{key} = {_value(sections.pop(key))}"
    for key, value in sections.items():
        yield from ("", f"[{key}]", *_lines(value))
    config: dict[str, dict[str, object]] = {}
    for key, value in scenario.config.items():
        section, _, name = key.partition(".")
        config.setdefault(section, {})[name] = value
    for section, keys in config.items():
        yield from ("", f"[config.{section}]", *(f"{name} = {_value(value)}" for name, value in keys.items()))
    for table in _TABLES:
        for row in getattr(scenario, table):
            yield from ("", f"[[{table}]]", *_lines(row))


def _lines(value: Any) -> Iterator[str]:
    for key, part in _unusual(value).items():
        yield f"{key} = {_value(part)}"


def _unusual(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that are not as by default."""
    found = {}
    for each in fields(value):
        usual = each.default if each.default_factory is MISSING else each.default_factory()
        mine = getattr(value, each.name)
        if mine != usual:
            found[each.name] = mine
    return found


def _value(value: Any) -> str:
    if value is None:
        return f'"{UNLIMITED}"'
    if is_dataclass(value):
        return "{ " + ", ".join(_lines(value)) + " }" if _unusual(value) else "{}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
