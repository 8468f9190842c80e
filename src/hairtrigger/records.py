"""Frozen dataclasses to JSON and back; what does not fit the dataclass is refused, not repaired."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from hairtrigger.errors import StorageError

Record = TypeVar("Record")


def to_json(record: Any) -> Any:
    """The JSON of a dataclass made of dataclasses, tuples, mappings, text, numbers and None."""
    return json.loads(to_text(record))


def to_text(record: Any) -> str:
    """The same as text. Raises ValueError for NaN and infinity: None says that a number is not."""
    return json.dumps(dataclasses.asdict(record), indent=1, allow_nan=False) + "\n"


def problems(kind: Any, found: Any, at: str = "") -> list[str]:
    """What in the JSON ``found`` is not as the type ``kind`` says, each with its place."""
    here = at or "the whole"
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(found, dict):
            return [f"{here} is {_word(found)}, not an object"]
        hints = typing.get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind)]
        wrong = [f"{_join(at, name)} is missing" for name in names if name not in found]
        wrong += [f"{_join(at, name)} is unknown" for name in found if name not in names]
        for name in names:
            if name in found:
                wrong += problems(hints[name], found[name], _join(at, name))
        return wrong
    if origin in (types.UnionType, typing.Union):
        # None or something: what is wrong with the something is what helps.
        real = [option for option in arguments if option is not types.NoneType]
        each = [
            problems(option, found, at) for option in (real if found is not None else arguments)
        ]
        return [] if not all(each) else min(each, key=len)
    if origin is tuple:
        if not isinstance(found, list):
            return [f"{here} is {_word(found)}, not a list"]
        every = len(arguments) == 2 and arguments[1] is ...
        if not every and len(found) != len(arguments):
            return [f"{here} has {len(found)} entries, not {len(arguments)}"]
        options = [arguments[0]] * len(found) if every else list(arguments)
        pairs = enumerate(zip(options, found, strict=True))
        return [p for n, (option, value) in pairs for p in problems(option, value, f"{at}[{n}]")]
    if origin in (dict, Mapping):
        if not isinstance(found, dict):
            return [f"{here} is {_word(found)}, not an object"]
        pairs = found.items()
        return [p for name, value in pairs for p in problems(arguments[1], value, _join(at, name))]
    return [] if _is_plain(kind, found) else [f"{here} is {_word(found)}, not {kind.__name__}"]


def from_json(kind: type[Record], found: Any) -> Record:
    """The dataclass ``kind`` from its JSON. Raises ValueError with the first problems."""
    wrong = problems(kind, found)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError("; ".join(wrong[:3]) + more)
    return _build(kind, found)


def read_record(kind: type[Record], path: Path) -> Record:
    """The dataclass ``kind`` in a JSON file. Raises StorageError: missing, damaged or foreign."""
    try:
        return from_json(kind, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read: {error.strerror}", "run again what makes it"
        ) from error
    except ValueError as error:
        raise StorageError(
            f"{path} is damaged or of another version: {error}", "run again what makes it"
        ) from error


def _build(kind: Any, found: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _build(hints[name], value) for name, value in found.items()})
    if origin in (types.UnionType, typing.Union):
        fitting = next(option for option in arguments if not problems(option, found))
        return _build(fitting, found)
    if origin is tuple:
        every = len(arguments) == 2 and arguments[1] is ...
        options = [arguments[0]] * len(found) if every else arguments
        return tuple(_build(option, value) for option, value in zip(options, found, strict=True))
    if origin in (dict, Mapping):
        return {name: _build(arguments[1], value) for name, value in found.items()}
    return float(found) if kind is float else found


def _is_plain(kind: Any, found: Any) -> bool:
    if kind is Any:
        return True
    if kind is type(None) or kind is None:
        return found is None
    if isinstance(found, bool):
        return kind is bool
    if kind is float:
        return isinstance(found, int | float) and math.isfinite(found)
    return isinstance(found, kind)


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else str(name)


def _word(found: Any) -> str:
    text = json.dumps(found) if not isinstance(found, dict | list) else type(found).__name__
    return text if len(text) <= 40 else text[:37] + "..."
