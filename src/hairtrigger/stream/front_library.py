"""The front of the supernova chain as compiled C++: built once for a machine, called by ctypes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.cpp.library import compiler_flags, processor
from hairtrigger.errors import InputError, ToolError
from hairtrigger.stream.front_source import ABI, lane_bits, write_front
from hairtrigger.studies.supernova_front import FrontConfig, FrontState
from hairtrigger.tools import cache
from hairtrigger.tools.compiler import Unit, compile_objects, find_compiler, link

KIND = "front"
SOURCE, LIBRARY = "front.cpp", "front.so"
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class FrontLibrary:
    """A loaded front. ``state_dtype``: what it holds between two ticks, as a structure."""

    config: FrontConfig
    path: Path
    state_dtype: np.dtype[Any]
    _run: Any

    def pack(self, state: FrontState) -> NDArray[Any]:
        """A state as the library holds it, (1,) of ``state_dtype``."""
        fraction = self.config.pedestal_fraction
        held = np.zeros(1, dtype=self.state_dtype)
        up = state.pedestal.astype(np.int64) + (1 << fraction >> 1)
        held["level"], held["rest"] = up >> fraction, up & ((1 << fraction) - 1)
        held["history"][:, : state.history.size] = state.history.reshape(-1)
        held["sums"], held["phase"] = state.sums, state.phase
        return held

    def unpack(self, held: NDArray[Any]) -> FrontState:
        """The reverse of `pack`."""
        config, one = self.config, held[0]
        up = one["level"].astype(np.int32) << config.pedestal_fraction
        pedestal = up + one["rest"].astype(np.int32) - (1 << config.pedestal_fraction >> 1)
        kept = len(config.taps) - 1
        history = one["history"][: kept * config.wires].astype(np.int16)
        return FrontState(
            pedestal.astype(np.int32),
            history.reshape(kept, config.wires),
            one["sums"].astype(np.int32),
            int(one["phase"]),
        )

    def run(
        self, held: NDArray[Any], samples: NDArray[np.uint16]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        """Rows of pixels (rows, columns) that samples (ticks, wires) complete, and the sum of each.

        ``held`` is that of `pack`, and goes on. Raises `InputError` for other shapes and dtypes
        and for samples out of the ADC's range; ``held`` is then as it was.
        """
        config = self.config
        if samples.dtype != np.uint16 or samples.ndim != 2 or samples.shape[1] != config.wires:
            raise InputError(
                f"Samples of dtype {samples.dtype} and shape {samples.shape}.",
                f"Give uint16 (ticks, {config.wires}).",
            )
        samples = np.ascontiguousarray(samples)
        rows = len(samples) // config.block[0] + 1  # one more where a block was begun
        pixels = np.empty((rows, config.columns), dtype=np.uint8)
        sums = np.empty(rows, dtype=np.uint32)
        arrays = (held, samples, pixels, sums)
        state, block, out, totals = (x.__array_interface__["data"][0] for x in arrays)
        made = self._run(state, block, len(samples), out, totals)
        if made < 0:
            raise InputError(
                f"Samples up to {samples.max()} from an ADC of {config.bits} bits.",
                "Give counts, or the trigger of their ADC.",
            )
        return pixels[:made], sums[:made]


def compile_front(config: FrontConfig, *, folder: Path | None = None) -> FrontLibrary:
    """Write, compile and load the front of ``config``; equal ones are compiled once for a machine.

    ``folder``: where it is kept, by default the user's cache. Raises `ToolError` without a compiler
    or where it fails, `StorageError` for the folder.
    """
    text = write_front(config)
    compiler, flags = find_compiler(), compiler_flags()
    key = cache.content_key([text, *compiler.command, compiler.version, *flags, processor()])

    def fill(entry: Path) -> None:
        (entry / SOURCE).write_text(text, encoding="utf-8")
        unit = Unit(entry / SOURCE, entry / "front.o")
        compile_objects(compiler, [unit], flags, folder=entry, timeout_s=TIMEOUT_S)
        link(compiler, [unit.object], entry / LIBRARY, shared=True, folder=entry)
        unit.object.unlink()

    path = cache.obtain(folder or cache.cache_folder(), KIND, key, fill) / LIBRARY
    return _load(config, path)


def _load(config: FrontConfig, path: Path) -> FrontLibrary:
    try:
        library = ctypes.CDLL(str(path))
        run, size, abi = (library[f"ht_front_{n}"] for n in ("run", "state_size", "abi"))
    except (OSError, AttributeError) as error:
        raise ToolError(
            f"The compiled front cannot be loaded: {error}.",
            "Remove the cache folder (HAIRTRIGGER_CACHE) and run again.",
        ) from error
    lane = f"i{lane_bits(config) // 8}"
    fields = [
        ("level", lane, (config.wires,)),
        ("rest", lane, (config.wires,)),
        ("history", lane, ((len(config.taps) - 1) * config.wires + 1,)),
        ("sums", "i4", (config.columns,)),
        ("phase", "i4"),
    ]
    state = np.dtype(fields, align=True)
    size.restype = ctypes.c_size_t
    if abi() != ABI or size() != state.itemsize:
        raise ToolError(
            f"The compiled front has interface {abi()} and a state of {size()} bytes, not "
            f"{ABI} and {state.itemsize}.",
            "Remove the cache folder (HAIRTRIGGER_CACHE) and run again.",
        )
    pointer = ctypes.c_void_p
    run.argtypes = [pointer, pointer, ctypes.c_size_t, pointer, pointer]
    run.restype = ctypes.c_long
    return FrontLibrary(config, path, state, run)
