"""Streams of samples kept as NumPy arrays: ``.npy``, or an array in an ``.npz``, block by block."""

import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from hairtrigger.detectors.wib import Link
from hairtrigger.detectors.wib_blocks import Block
from hairtrigger.detectors.wib_faults import Faults
from hairtrigger.detectors.wib_stream import BLOCK_TICKS, check_columns
from hairtrigger.errors import InputError, StorageError

SAMPLES = "samples"
"""The array of an ``.npz`` that holds the samples, where it has several."""


class ArrayStream:
    """Blocks of a ``.npy`` file of whole numbers (ticks, channels) or (images, ticks, channels).

    ``file`` stands at the begin of the ``.npy``; nothing but the block in hand is in memory. Images
    follow each other in time. ``bits``: of a sample; tick 0 is at ``first_timestamp``. Raises
    StorageError for what is no ``.npy``, InputError for other shapes, types and orders, and, when
    the block is read, for samples outside 0 to 2^bits - 1. A file cut short ends early, with a
    fault.
    """

    links: tuple[Link, ...] = ()

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        *,
        block_ticks: int = BLOCK_TICKS,
        channels: Sequence[int] | np.ndarray | None = None,
        bits: int = 14,
        first_timestamp: int = 0,
        counts_per_tick: int = 32,
    ) -> None:
        self.name = name
        self.block_ticks = block_ticks
        self.bits = bits
        self.first_timestamp = first_timestamp
        self.counts_per_tick = counts_per_tick
        self.faults = Faults()
        self._file = file
        shape, self._dtype = _header(file, name)
        if block_ticks < 1 or not 1 <= bits <= 16:
            raise InputError(
                f"block_ticks = {block_ticks}, bits = {bits} make no stream",
                "give a block of at least 1 and 1 to 16 bits",
            )
        if len(shape) not in (2, 3) or not shape[-1]:
            raise InputError(
                f"{name} holds an array of shape {shape}",
                "store samples as (ticks, channels) or (images, ticks, channels)",
            )
        if self._dtype.kind not in "ui":
            raise InputError(
                f"{name} holds {self._dtype}, but samples are whole numbers"
                + (": NaN has no place among them" if self._dtype.kind == "f" else ""),
                "store them as uint16",
            )
        self._columns = shape[-1]
        self._ticks = int(np.prod(shape[:-1]))
        self._wanted = None if channels is None else np.asarray(channels)
        check_columns(self._wanted, self._columns)
        self.channels = self._columns if self._wanted is None else len(self._wanted)

    def __enter__(self) -> "ArrayStream":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> Iterator[Block]:
        row = self._columns * self._dtype.itemsize
        for start in range(0, self._ticks, self.block_ticks):
            ticks = min(self.block_ticks, self._ticks - start)
            data = self._read(ticks * row)
            whole = len(data) // row
            recent = Faults()
            if whole < ticks:
                recent.add("truncated", 1, [f"tick {start + whole} of {self.name}"])
                self.faults.update(recent)
            if whole:
                yield self._block(start, data[: whole * row], recent)
            if whole < ticks:
                return

    def _read(self, size: int) -> bytes:
        parts, left = [], size
        while left:
            try:
                part = self._file.read(left)
            except (OSError, EOFError, zipfile.BadZipFile) as error:
                raise StorageError(
                    f"{self.name} cannot be read: {error}", "copy it again"
                ) from error
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _block(self, start: int, data: bytes, faults: Faults) -> Block:
        values = np.frombuffer(data, self._dtype).reshape(-1, self._columns)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= 1 << self.bits:
            tick, channel = np.argwhere((values < 0) | (values >> self.bits != 0))[0].tolist()
            raise InputError(
                f"{self.name}: the sample at tick {start + tick}, channel {channel} is "
                f"{values[tick, channel]}, not in 0 to {(1 << self.bits) - 1}",
                f"store samples of {self.bits} bits, or say how many bits they have",
            )
        samples = values.astype(np.uint16)
        if self._wanted is not None:
            samples = samples[:, self._wanted]
        return Block(self.first_timestamp + start * self.counts_per_tick, samples, None, faults)


def _header(file: BinaryIO, name: str) -> tuple[tuple[int, ...], np.dtype]:
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(file)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise StorageError(
            f"{name} is no .npy file, or is truncated: {error}", "save it with numpy.save"
        ) from error
    if fortran and len(shape) > 1:
        raise InputError(
            f"{name} is stored column by column, not in the order of time",
            "save numpy.ascontiguousarray of it",
        )
    return shape, dtype


def open_npz(file: Any, name: str, **options: Any) -> ArrayStream:
    """The stream of an ``.npz``: of its array ``samples``, or of its only one.

    Arrays ``first_timestamp`` and ``counts_per_tick`` beside it are taken where ``options``, which
    are those of `ArrayStream`, do not say otherwise. Raises as `ArrayStream`, and InputError for an
    archive without such an array.
    """
    try:
        archive = zipfile.ZipFile(file)
        names = [item.removesuffix(".npy") for item in archive.namelist() if item.endswith(".npy")]
        numbers = {}
        for key in ("first_timestamp", "counts_per_tick"):
            if key in names:
                with archive.open(f"{key}.npy") as member:
                    numbers[key] = np.lib.format.read_array(member, allow_pickle=False)
        others = [item for item in names if item not in numbers]
        chosen = SAMPLES if SAMPLES in names else others[0] if len(others) == 1 else None
        if chosen is None:
            raise InputError(
                f"{name} has the arrays {', '.join(sorted(names)) or 'none'}",
                f"store the samples as {SAMPLES!r}",
            )
        member = archive.open(f"{chosen}.npy")
    except InputError:
        raise
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as error:
        raise StorageError(f"{name} is a damaged .npz: {error}", "save it again") from error
    for key, value in numbers.items():
        if value.size != 1 or value.dtype.kind not in "ui":
            raise InputError(f"{key} in {name} is {value!r}", "store one whole number")
        options.setdefault(key, int(value.item()))
    return ArrayStream(member, f"{chosen} of {name}", **options)
