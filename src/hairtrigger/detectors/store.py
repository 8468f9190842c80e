"""A chunked store of events on disk: named arrays with an event axis, and what made them.

A store is a folder: a Zarr (version 3) group with one array per name, cut into chunks of events,
and ``finished.jsonl``, one line per finished chunk with the checksum of each array. A chunk counts
only once its line is whole, and is compared with its checksums whenever it is read, so an
interrupted run resumes at the first chunk without a line, and nothing half written is read as
valid.

    store = create_or_resume(path, kind="rpc", events=1_000_000, arrays={...}, metadata={...})
    fill(store, produce)                 # produce(start, stop) -> {name: array}
    open_store(path).read(0, 1000)
"""

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hairtrigger.errors import InputError, StorageError

FORMAT = "hairtrigger-events"
FORMAT_VERSION = 1
FINISHED = "finished.jsonl"
DEFAULT_CHUNK = 32768

REMAKE = "delete the store and make it again"
MAKE_ROOM = (
    "check that the disk has room and that you may write there, then run it again: "
    "what is finished is kept"
)


@dataclass(frozen=True)
class ArraySpec:
    """The shape of one event's entry (``()`` for a number) and the NumPy name of its type."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class EventStore:
    """An open store. ``kind`` names the detector; ``metadata`` says how the events were made.

    ``finished`` maps the number of each finished chunk to the checksums of its arrays.
    """

    path: Path
    kind: str
    events: int
    chunk: int
    arrays: dict[str, ArraySpec]
    metadata: dict[str, Any]
    finished: dict[int, dict[str, int]] = field(compare=False)
    group: Any = field(compare=False, repr=False)

    def __len__(self) -> int:
        return self.events

    @property
    def chunks(self) -> int:
        """How many chunks a complete store has."""
        return -(-self.events // self.chunk)

    @property
    def complete(self) -> bool:
        """Whether every chunk is finished."""
        return len(self.finished) == self.chunks

    def span(self, index: int) -> tuple[int, int]:
        """The first event of a chunk and the one after its last."""
        return index * self.chunk, min((index + 1) * self.chunk, self.events)

    def read(self, start: int = 0, stop: int | None = None) -> dict[str, np.ndarray]:
        """All arrays from event ``start`` to ``stop`` (the end by default), checksums compared.

        Raises InputError for a range outside the store, StorageError for a chunk that is not
        finished, missing or damaged.
        """
        stop = self.events if stop is None else stop
        if not 0 <= start <= stop <= self.events:
            raise InputError(
                f"events {start} to {stop} reach outside the store of {self.events} events",
                f"stay between 0 and {self.events}",
            )
        found = {
            name: np.empty((stop - start, *spec.shape), spec.dtype)
            for name, spec in self.arrays.items()
        }
        for index in range(start // self.chunk, -(-stop // self.chunk) if stop > start else 0):
            first, last = self.span(index)
            low, high = max(start, first), min(stop, last)
            for name, values in self.read_chunk(index).items():
                found[name][low - start : high - start] = values[low - first : high - first]
        return found

    def read_chunk(self, index: int) -> dict[str, np.ndarray]:
        """The arrays of one finished chunk, compared with their checksums (see ``read``)."""
        if index not in self.finished:
            raise StorageError(
                f"chunk {index} of {self.chunks} in {self.path} is not finished",
                "run what fills the store again with the same settings: it goes on from here",
            )
        first, last = self.span(index)
        found = {}
        for name in self.arrays:
            with _explained(f"chunk {index} of {name!r} in {self.path} is unreadable", REMAKE):
                found[name] = np.asarray(self.group[name][first:last])
            if _checksum(found[name]) != self.finished[index].get(name):
                raise StorageError(
                    f"chunk {index} of {name!r} in {self.path} is damaged: its checksum differs",
                    REMAKE,
                )
        return found

    def write_chunk(self, index: int, values: dict[str, np.ndarray]) -> None:
        """Write the arrays of one chunk, then its line: only then is it finished.

        Raises InputError for names, shapes or types other than the store's, StorageError when
        writing fails (full disk, read-only).
        """
        first, last = self.span(index)
        if set(values) != set(self.arrays):
            raise InputError(
                f"chunk {index} has the arrays {sorted(values)}",
                f"give exactly {sorted(self.arrays)}",
            )
        for name, spec in self.arrays.items():
            shape, dtype = (last - first, *spec.shape), np.dtype(spec.dtype)
            if values[name].shape != shape or values[name].dtype != dtype:
                raise InputError(
                    f"{name!r} of chunk {index} is {values[name].dtype} {values[name].shape}",
                    f"give {dtype} {shape}",
                )
        sums = {name: _checksum(array) for name, array in values.items()}
        line = json.dumps({"chunk": index, "sums": sums}) + "\n"
        with _explained(f"chunk {index} cannot be written to {self.path}", MAKE_ROOM):
            for name, array in values.items():
                self.group[name][first:last] = array
            _append(self.path / FINISHED, line)
        self.finished[index] = sums


def create_or_resume(
    path: str | Path,
    *,
    kind: str,
    events: int,
    arrays: dict[str, ArraySpec],
    metadata: dict[str, Any],
    chunk: int = DEFAULT_CHUNK,
) -> EventStore:
    """A new store at ``path``, or the one that is there if it was made from the same arguments.

    ``metadata`` is JSON that fixes the events: seed, configuration, version. A new store appears
    whole or not at all. Raises StorageError if the path holds anything else, naming the first
    difference, and InputError for a negative number of events or a chunk below 1.
    """
    if events < 0 or chunk < 1:
        raise InputError(
            f"a store of {events} events in chunks of {chunk} cannot be",
            "give events of at least 0 and a chunk of at least 1",
        )
    path = Path(path)
    wanted = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "events": events,
        "chunk": chunk,
        "arrays": {name: [list(spec.shape), spec.dtype] for name, spec in arrays.items()},
        "metadata": metadata,
    }
    wanted = json.loads(json.dumps(wanted))
    with _explained(f"no store can be created at {path}", MAKE_ROOM):
        vacant = not path.exists() or (path.is_dir() and not any(path.iterdir()))
        if vacant:
            _create(path, wanted)
    store, found = _open(path, "r+")
    difference = _first_difference(wanted, found)
    if difference:
        raise StorageError(
            f"{path} holds other events: {difference}",
            "choose another path, or delete the store if it is no longer needed",
        )
    return store


def open_store(path: str | Path, *, partial: bool = False) -> EventStore:
    """Open the complete store at ``path`` to read; with ``partial`` also one not finished yet.

    Raises StorageError for a path without a store, a store of another version, and an incomplete or
    damaged one.
    """
    store, _ = _open(Path(path), "r")
    if not (store.complete or partial):
        raise StorageError(
            f"{store.path} is incomplete: {len(store.finished)} of {store.chunks} chunks",
            "run what fills the store again with the same settings: it goes on from there",
        )
    return store


def fill(
    store: EventStore,
    produce: Callable[[int, int], dict[str, np.ndarray]],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make and write the chunks that are missing. ``produce(start, stop)`` gives their arrays.

    ``progress(done, events)`` is called first and after each chunk. An interrupt loses the chunk in
    hand, no more.
    """
    done = sum(last - first for first, last in map(store.span, store.finished))
    if progress is not None:
        progress(done, store.events)
    for index in range(store.chunks):
        if index in store.finished:
            continue
        first, last = store.span(index)
        store.write_chunk(index, produce(first, last))
        done += last - first
        if progress is not None:
            progress(done, store.events)


def _create(path: Path, attributes: dict[str, Any]) -> None:
    """Build the empty store beside ``path`` and move it there in one step."""
    import zarr

    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        group = zarr.create_group(draft / "store", zarr_format=3, attributes=attributes)
        events, chunk = attributes["events"], attributes["chunk"]
        for name, (shape, dtype) in attributes["arrays"].items():
            group.create_array(
                name,
                shape=(events, *shape),
                chunks=(max(1, min(chunk, events)), *(max(1, size) for size in shape)),
                dtype=dtype,
            )
        (draft / "store" / FINISHED).touch()
        os.replace(draft / "store", path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _open(path: Path, mode: Literal["r", "r+"]) -> tuple[EventStore, dict[str, Any]]:
    import zarr

    if not path.exists():
        raise StorageError(f"{path} does not exist", "check the path, or simulate the events first")
    foreign = StorageError(
        f"{path} is not a store of events, or its zarr.json is damaged",
        "choose another path, or delete what is there if it is no longer needed",
    )
    if not path.is_dir():
        raise foreign
    try:
        group = zarr.open_group(path, mode=mode, zarr_format=3)
        attributes = dict(group.attrs)
    except (zarr.errors.GroupNotFoundError, ValueError, KeyError, TypeError) as error:
        raise foreign from error
    except OSError as error:
        raise StorageError(
            f"{path} cannot be opened: {error}", "check that you may read it"
        ) from error
    if attributes.get("format") != FORMAT:
        raise foreign
    if attributes.get("format_version") != FORMAT_VERSION:
        raise StorageError(
            f"{path} has store format {attributes.get('format_version')!r}, "
            f"but this hairtrigger reads format {FORMAT_VERSION}",
            "make the store again, or use the hairtrigger that made it",
        )
    try:
        arrays = {
            name: ArraySpec(tuple(shape), dtype)
            for name, (shape, dtype) in attributes["arrays"].items()
        }
        store = EventStore(
            path,
            attributes["kind"],
            attributes["events"],
            attributes["chunk"],
            arrays,
            attributes["metadata"],
            {},
            group,
        )
        for name, spec in arrays.items():
            held = group[name]
            if held.shape != (store.events, *spec.shape) or held.dtype != np.dtype(spec.dtype):
                raise ValueError(f"{name!r} is {held.dtype} {held.shape}")
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise StorageError(f"{path} is a damaged store of events: {error}", REMAKE) from error
    store.finished.update(_read_finished(path, store))
    return store, attributes


def _read_finished(path: Path, store: EventStore) -> dict[int, dict[str, int]]:
    """The finished chunks. A last line without its end is a chunk that was not finished."""
    with _explained(f"{path / FINISHED} cannot be read", REMAKE):
        text = (path / FINISHED).read_text(encoding="utf-8", errors="replace")
    finished = {}
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            entry = json.loads(line)
            index, sums = entry["chunk"], entry["sums"]
            if not (0 <= index < store.chunks and set(sums) == set(store.arrays)):
                raise ValueError(f"chunk {index} with {sorted(sums)}")
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path / FINISHED}, line {number}, is damaged: {error}", REMAKE
            ) from error
        finished[index] = sums
    return finished


def _append(path: Path, line: str) -> None:
    """Append one line; a torn line that an interrupted run left is cut off first."""
    with open(path, "r+b") as file:
        content = file.read()
        file.seek(content.rfind(b"\n") + 1)
        file.truncate()
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def _first_difference(wanted: Any, found: Any, name: str = "") -> str:
    """The first entry that differs, in words; empty if none does."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in [*wanted, *(key for key in found if key not in wanted)]:
            at = f"{name}.{key}" if name else str(key)
            difference = _first_difference(wanted.get(key), found.get(key), at)
            if difference:
                return difference
        return ""
    return "" if wanted == found else f"{name} is {found!r} there, {wanted!r} here"


@contextmanager
def _explained(problem: str, fix: str) -> Iterator[None]:
    """Turn what the file system or a decoder raises into a StorageError with a way out."""
    try:
        yield
    except StorageError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise StorageError(f"{problem}: {error}", fix) from error
