"""Where a stream comes from: files, folders, sockets, the simulation; all as blocks of one plane.

    with open_source("run.hdf5", front) as source:
        for block in source.blocks(skip=0):
            block.timestamp, block.samples

What files, folders and sockets hold shows in their content, see `dune_files.open_stream`. Frames of
whole boards are brought down to their collection wires where that gives the plane of the trigger.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.dune_files import open_stream
from hairtrigger.detectors.wib_channels import collection_columns
from hairtrigger.errors import InputError, StorageError
from hairtrigger.stream.block import SourceBlock
from hairtrigger.stream.simulated import PREFIX, SimulatedSource, read_options
from hairtrigger.studies.supernova_front import FrontConfig

TCP, UNIX = "tcp://", "unix:"
CONNECT_S = 30.0
TICK_S = 512e-9
"""A tick of a plane, where the source does not say."""


class Source(Protocol):
    """A stream of one plane. ``replayable``: opened again it gives the same ticks from the first
    on, so that a run that was ended can be gone on with; ``live``: it does not wait for us;
    ``origin``: timestamp of its first tick, once that is known; ``tick_s``: seconds of a tick."""

    name: str
    counts_per_tick: int
    tick_s: float
    origin: int | None
    replayable: bool
    live: bool

    def blocks(self, skip: int) -> Iterator[SourceBlock]:
        """`SourceBlock`s, without the first ``skip`` ticks of a replayable source."""
        ...

    def faults(self) -> dict[str, int]:
        """How often each kind of fault was met so far."""
        ...

    def stop(self) -> None:
        """Let `blocks` end soon; called while another thread is in it."""
        ...

    def close(self) -> None: ...


class FrameSource:
    """Whatever `open_stream` opened, as blocks of ``columns`` of its channels (None: all);
    ``received``: the socket that it reads, if it reads one."""

    def __init__(
        self,
        opened: Any,
        name: str,
        columns: NDArray[np.int64] | None = None,
        received: _Received | None = None,
    ) -> None:
        self._stream, self._received, self._columns = opened, received, columns
        self.name = name
        self.replayable, self.live = received is None, received is not None
        self.counts_per_tick = opened.counts_per_tick
        self.origin: int | None = None
        format = getattr(opened, "format", None)
        self.tick_s = TICK_S if format is None else format.step / format.clock_mhz * 1e-6

    def blocks(self, skip: int) -> Iterator[SourceBlock]:
        """See `Source`. Raises StorageError for a source that ends within ``skip``."""
        left = skip
        for block in self._stream:
            ticks = len(block.samples)
            if self.origin is None:
                self.origin = block.first_timestamp
            if left >= ticks:
                left -= ticks
                continue
            samples, missing = block.samples, block.missing
            if self._columns is not None:
                samples = np.take(samples, self._columns, axis=1)
                missing = None if missing is None else np.take(missing, self._columns, axis=1)
            timestamp = block.first_timestamp + left * self.counts_per_tick
            yield SourceBlock(
                timestamp, samples[left:], None if missing is None else missing[left:]
            )
            left = 0
        if left:
            raise StorageError(
                f"{self.name} ends {left} ticks before the place that was reached",
                "give the source of the run, or another folder",
            )

    def faults(self) -> dict[str, int]:
        return dict(self._stream.faults.counts)

    def stop(self) -> None:
        if self._received is not None:
            self._received.stop()

    def close(self) -> None:
        self._stream.close()


def plane_columns(opened: Any, front: FrontConfig, name: str) -> NDArray[np.int64] | None:
    """Columns of the blocks of ``opened`` that are the plane's wires; None for all.

    Raises `InputError` where the stream has another ADC, or neither so many channels nor so many
    collection wires.
    """
    if opened.bits != front.bits:
        raise InputError(
            f"{name} has samples of {opened.bits} bits, the trigger reads {front.bits}.",
            "Give a trigger that was trained for this ADC.",
        )
    if opened.channels == front.wires:
        return None
    format = getattr(opened, "format", None)
    found = "" if format is None else f" ({len(opened.links)} links of {format.name})"
    if format is not None and opened.channels == len(opened.links) * format.channels:
        columns = collection_columns(format, opened.links)
        if len(columns) == front.wires:
            return columns
        found += f", {len(columns)} of them collection wires"
    raise InputError(
        f"{name} has {opened.channels} channels{found}; the trigger reads {front.wires} wires.",
        "Give the links of one plane, or a trigger of this detector.",
    )


def open_source(text: str, front: FrontConfig, *, plane: int = 0, **options: Any) -> Source:
    """The source that ``text`` names: a path, ``tcp://HOST:PORT``, ``unix:PATH`` or ``simulate:``.

    ``plane``: which simulated plane; ``options``: for `open_stream`. Raises StorageError for what
    is missing or cannot be reached, InputError for what does not fit the trigger.
    """
    if text.startswith(PREFIX):
        return SimulatedSource(read_options(text), front, plane)
    received = _Received(_connect(text), text) if text.startswith((TCP, UNIX)) else None
    try:
        opened = open_stream(received or text, **options)
    except BaseException:
        if received is not None:
            received.close()
        raise
    try:
        columns = plane_columns(opened, front, text)
        if columns is not None and received is None:
            # A file can be opened again, so that no other columns are put together.
            opened.close()
            opened, columns = open_stream(text, channels=columns, **options), None
        return FrameSource(opened, text, columns, received)
    except BaseException:
        opened.close()
        raise


class _Received:
    """What a socket receives, as a file that knows where it comes from."""

    def __init__(self, connected: socket.socket, name: str) -> None:
        self.name = name
        self._socket = connected
        self._file = connected.makefile("rb")

    def read(self, size: int = -1) -> bytes:
        return self._file.read1(size)

    def stop(self) -> None:
        """Wake up whoever waits for more: there is none."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.stop()
        self._file.close()
        self._socket.close()


def _connect(text: str) -> socket.socket:
    try:
        if text.startswith(UNIX):
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                made.connect(text.removeprefix(UNIX))
            except BaseException:
                made.close()
                raise
            return made
        host, colon, port = text.removeprefix(TCP).rpartition(":")
        if not colon or not port.isdigit() or not host:
            raise InputError(f"{text} is no address.", "Give tcp://HOST:PORT.")
        made = socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S)
        made.settimeout(None)
        return made
    except (OSError, OverflowError) as error:
        raise StorageError(
            f"{text} cannot be reached: {error}", "start what sends the stream first"
        ) from error
