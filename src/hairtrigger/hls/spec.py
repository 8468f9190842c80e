"""Injections from a JSON file: a list of tables, each with a place and a function, or the name of
one that is shipped. docs/backends/hls.md has an example."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hairtrigger.errors import GraphError, InputError, StorageError
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.text import parse
from hairtrigger.hls import shipped
from hairtrigger.hls.injection import Injection, Place, Port, read_source
from hairtrigger.hls.report import read_report

_OWN = {"where", "function", "source", "takes", "gives", "io_types", "meaning", "report"}
_NEEDED = {"where", "function", "source"}
_SHIPPED = {
    "front": {"image", "pixel", "threshold", "maximum", "channels"},
    "packed_conv": {"layer"},
    "early_exit": {"threshold"},
}
_WAY_OUT = (
    f"A table has {', '.join(sorted(_OWN))}, or shipped, with one of {', '.join(_SHIPPED)}, and "
    "its options."
)


def read_injections(path: Path | str, graph: Graph) -> tuple[Injection, ...]:
    """The injections of a file for the network ``graph``; files it names lie relative to it.

    Raises `StorageError` for a file that cannot be read, `InputError` for what it says.
    """
    path = Path(path)
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.", _WAY_OUT) from error
    except ValueError as error:
        raise InputError(f"{path.name} is no JSON: {error}.", _WAY_OUT) from error
    if not isinstance(given, list) or not all(isinstance(x, dict) for x in given):
        raise InputError(f"{path.name} holds no list of tables.", _WAY_OUT)
    found: list[Injection] = []
    for number, entry in enumerate(given):
        try:
            found.append(_read(entry, path.parent, graph, found))
        except InputError as error:
            raise InputError(
                f"{path.name}, injection {number}: {error.problem}", error.fix or _WAY_OUT
            ) from error
    return tuple(found)


def _read(
    entry: Mapping[str, Any], folder: Path, graph: Graph, before: list[Injection]
) -> Injection:
    if "shipped" in entry:
        return _read_shipped(entry, graph, before)
    _keys(entry, _OWN, _NEEDED)
    texts = {x: _text(entry, x) for x in _OWN - {"io_types"} if x in entry}
    options: dict[str, Any] = {}
    if "io_types" in entry:
        io_types = entry["io_types"]
        if not isinstance(io_types, list):
            raise InputError("io_types is no list.", _WAY_OUT)
        options["io_types"] = tuple(str(x) for x in io_types)
    if "meaning" in texts:
        options["meaning"] = _graph(folder / texts["meaning"])
    if "report" in texts:
        options["report"] = read_report(folder / texts["report"])
    options |= {x: Port.parse(texts[x]) for x in ("takes", "gives") if x in texts}
    source = read_source(folder / texts["source"])
    return Injection(Place.parse(texts["where"]), texts["function"], source, **options)


def _read_shipped(entry: Mapping[str, Any], graph: Graph, before: list[Injection]) -> Injection:
    name = _text(entry, "shipped")
    if name not in _SHIPPED:
        raise InputError(f"No injection {name!r} is shipped.", _WAY_OUT)
    _keys(entry, {"shipped", *_SHIPPED[name]}, {"shipped"})
    if name == "packed_conv":
        return shipped.packed_conv(graph, _text(entry, "layer") if "layer" in entry else None)
    if name == "early_exit":
        return shipped.early_exit(graph, before, threshold=_whole(entry, "threshold", 0))
    image = entry.get("image")
    if not isinstance(image, list) or len(image) != 2:
        raise InputError("image is no pair of rows and columns.", _WAY_OUT)
    rows, columns = (_whole({"image": x}, "image") for x in image)
    port = Port.parse(f"{_text(entry, 'pixel')}[1]")
    return shipped.front(
        graph,
        (rows, columns),
        port.format,
        threshold=_whole(entry, "threshold"),
        maximum=_flag(entry, "maximum"),
        channels=_flag(entry, "channels"),
    )


def _keys(entry: Mapping[str, Any], known: set[str], needed: set[str]) -> None:
    wrong = sorted(set(entry) - known)
    missing = sorted(needed - set(entry))
    if wrong or missing:
        raise InputError(f"Unknown: {wrong}; missing: {missing}.", _WAY_OUT)


def _graph(path: Path) -> Graph:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} cannot be read.", "Give the text of a Graph.") from error
    except GraphError as error:
        raise InputError(f"{path.name}: {error.problem}", error.fix) from error


def _checked(entry: Mapping[str, Any], name: str, right: Callable[[Any], bool], what: str) -> Any:
    value = entry.get(name)
    if not right(value):
        raise InputError(f"{name}={value!r} is no {what}.", _WAY_OUT)
    return value


def _text(entry: Mapping[str, Any], name: str) -> str:
    return str(_checked(entry, name, lambda x: isinstance(x, str), "text"))


def _whole(entry: Mapping[str, Any], name: str, usual: int | None = None) -> int:
    if usual is not None and name not in entry:
        return usual
    return int(_checked(entry, name, lambda x: type(x) is int and x >= 0, "whole number from 0"))


def _flag(entry: Mapping[str, Any], name: str) -> bool:
    return name in entry and bool(
        _checked(entry, name, lambda x: isinstance(x, bool), "true or false")
    )
