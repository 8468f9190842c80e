"""What a stream leaves on disk while it runs, so that an end at any moment loses nothing written.

In the folder of a run:

- ``run.json``: whose run it is; another trigger, source or plane is refused;
- ``windows-0000.log``: kept windows, one record after the other, each with a checksum. A record
  that a kill cut short is cut off when the run goes on;
- ``position.npz``: what the engine held at some tick, replaced as a whole about once a second.
  Windows that are decided again from there are in the log already and are not written twice;
- ``selected-0000.h5``: a full or finished log as HDF5, see `selected`.

A kill loses at most the window in hand; a power cut what was written since the last position.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.dune_hdf5 import import_h5py
from hairtrigger.errors import StorageError
from hairtrigger.stream.selected import PART, count_windows, write_part

FORMAT = "hairtrigger-stream/1"
RUN, POSITION, LOG = "run.json", "position.npz", "windows-{:04d}.log"
PART_WINDOWS = 1024
"""Windows of an HDF5 file."""
_AGAIN = "free space there and run the same command again: it goes on where it stopped"


class Journal:
    """The folder of a run, new or gone on with; one process at a time.

    ``identity``: JSON values that must be the same when the run goes on; ``about``: those that are
    written into HDF5 beside them; ``dtype``: of a window. Raises `StorageError` for a folder of
    something else, of another run, in use, damaged or not to be written.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        about: Mapping[str, Any],
        dtype: np.dtype[Any],
        part_windows: int = PART_WINDOWS,
    ) -> None:
        import_h5py()  # not only when the first file is due
        self.folder, self.dtype = folder, dtype
        self._about = {**identity, **about}
        self._part_windows = part_windows
        self._log = -1
        self._record = np.dtype([("crc", "<u4"), ("window", dtype)])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _storage(folder, error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._identify({"format": FORMAT, **identity})
            self._open_log()
        except BlockingIOError as error:
            self._close_lock()
            raise StorageError(
                f"{folder} is in use by another process", "wait for it, or give another folder"
            ) from error
        except BaseException:
            self._close_lock()
            raise

    # --- begin and end ---------------------------------------------------------------------------

    def _identify(self, identity: dict[str, Any]) -> None:
        path = self.folder / RUN
        wanted = json.loads(json.dumps(identity))
        if not path.exists():
            foreign = [
                p.name for p in self.folder.iterdir() if p.name != ".lock" and p.suffix != ".draft"
            ]
            if foreign:
                raise StorageError(
                    f"{self.folder} holds {sorted(foreign)[0]} but no run of a stream",
                    "give a folder that is new or empty",
                )
            self._replace(path, (json.dumps(wanted, indent=1) + "\n").encode())
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StorageError(f"{path} is damaged: {error}", "give another folder") from error
        if found != wanted:
            names = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
            raise StorageError(
                f"{self.folder} is the run of another {', '.join(names)}",
                "give the same again, or another folder",
            )

    def _open_log(self) -> None:
        parts = sorted(self.folder.glob(PART.format(0).replace("0000", "*")))
        self.parts = len(parts)
        self._sealed = sum(map(count_windows, parts))
        for number in range(self.parts):
            # It was sealed, and killed before it could be removed.
            (self.folder / LOG.format(number)).unlink(missing_ok=True)
        path = self.folder / LOG.format(self.parts)
        try:
            self._log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            data = np.fromfile(path, dtype=np.uint8)
        except OSError as error:
            raise _storage(path, error) from error
        size = self._record.itemsize
        records = data[: len(data) // size * size].view(self._record)
        good = np.array([_crc(r["window"].tobytes()) == r["crc"] for r in records], dtype=bool)
        whole = int(good.argmin()) if not good.all() else len(records)
        if good[whole:].any():
            os.close(self._log)
            raise StorageError(
                f"record {whole} of {path} is damaged, and others follow",
                "check the disk; give another folder to go on",
            )
        self.torn = len(data) - whole * size
        """Bytes that a kill left of a window that was not whole."""
        if self.torn:
            os.ftruncate(self._log, whole * size)
        self.count = whole
        """Windows in the log that is open."""
        self._written = {int(t) for t in records["window"]["timestamp"][:whole]}

    def close(self) -> None:
        """Close files; what was written stays."""
        if self._log >= 0:
            os.close(self._log)
            self._log = -1
        self._close_lock()

    def _close_lock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # --- windows ---------------------------------------------------------------------------------

    def append(self, windows: Iterable[NDArray[Any]]) -> int:
        """Write windows, (1,) of ``dtype`` each, that are not there yet; how many were not.

        Raises `StorageError` where the disk is full; what was written before is whole.
        """
        new = 0
        for window in windows:
            timestamp = int(window["timestamp"][0])
            if timestamp in self._written:
                continue
            record = np.zeros(1, dtype=self._record)
            record["window"], record["crc"] = window, _crc(window.tobytes())
            self._write(record.tobytes())
            self._written.add(timestamp)
            self.count += 1
            new += 1
        return new

    def _write(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._log, memoryview(data)[done:])
        except OSError as error:
            os.ftruncate(self._log, self.count * self._record.itemsize)
            raise _storage(self.folder / LOG.format(self.parts), error) from error

    @property
    def windows(self) -> int:
        """Windows that are on disk."""
        return self._sealed + self.count

    # --- position --------------------------------------------------------------------------------

    def position(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        """The latest position: JSON values and arrays; None if there is none yet."""
        path = self.folder / POSITION
        try:
            with np.load(path, allow_pickle=False) as found:
                arrays = {name: found[name] for name in found.files}
            meta = json.loads(arrays.pop("meta").tobytes().decode())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise StorageError(
                f"{path} is damaged: {error}", "give another folder to begin anew"
            ) from error
        return meta, arrays

    def checkpoint(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Make all windows durable, then the position; seal the log when it is full."""
        try:
            os.fsync(self._log)
        except OSError as error:
            raise _storage(self.folder, error) from error
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(dict(meta)).encode(), dtype=np.uint8)
        np.savez(buffer, meta=text, **arrays)
        self._replace(self.folder / POSITION, buffer.getvalue())
        if self.count >= self._part_windows:
            self.seal()

    def seal(self, last: bool = False) -> Path | None:
        """Turn the log into HDF5; its path, None if there is nothing to write. A position must come
        before. ``last``: write a file without windows where there would be none at all."""
        if not self.count and (self.parts or not last):
            return None
        path = self.folder / PART.format(self.parts)
        log = self.folder / LOG.format(self.parts)
        if self.count:
            records = np.memmap(log, dtype=self._record, mode="r", shape=(self.count,))
        else:
            records = np.zeros(0, dtype=self._record)
        try:
            write_part(path, records["window"], self._about)
        except OSError as error:
            raise _storage(path, error) from error
        del records
        os.close(self._log)
        self._log = -1
        log.unlink()
        self._open_log()
        return path

    def _replace(self, path: Path, data: bytes) -> None:
        draft = path.with_name(path.name + ".draft")
        try:
            with open(draft, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
            sync_folder(self.folder)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise _storage(path, error) from error


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _crc(data: bytes) -> int:
    return zlib.crc32(data)


def _storage(path: Path, error: OSError) -> StorageError:
    if isinstance(error, StorageError):
        return error
    return StorageError(f"{path} cannot be written: {error.strerror or error}", _AGAIN)
