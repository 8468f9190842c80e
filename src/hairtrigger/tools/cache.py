"""A cache of tool results, addressed by content, in which only finished entries count.

An entry is a folder ``<kind>-<key>``. It is filled under another name and renamed when complete,
so that an interrupted build leaves nothing that looks valid; the SHA-256 of every file is kept
beside it and checked before use, so that a truncated or altered file is never used either.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from hairtrigger.errors import HairtriggerError, StorageError

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
KEEP = 64
"""Entries of one kind that are kept; the least recently used ones go first."""
_UNFINISHED = ".unfinished-"


def cache_folder() -> Path:
    """Where tool results go by default: HAIRTRIGGER_CACHE, else the user's cache folder."""
    own = os.environ.get("HAIRTRIGGER_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hairtrigger"


def content_key(parts: Iterable[str | bytes]) -> str:
    """A key of 24 hexadecimal digits; each part is hashed with its length, so none can merge."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:24]


def obtain(folder: Path, kind: str, key: str, fill: Callable[[Path], None]) -> Path:
    """The entry ``<kind>-<key>`` of ``folder``; ``fill(path)`` makes it when it is not there.

    Raises StorageError when the folder cannot be written, and whatever ``fill`` raises.
    """
    entry = folder / f"{kind}-{key}"
    if is_whole(entry):
        with contextlib.suppress(OSError):  # a read-only cache still serves
            os.utime(entry)
        return entry
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
    except OSError as error:
        raise _storage_error(folder, error) from error
    try:
        fill(unfinished)
        _publish(unfinished, entry)
    except HairtriggerError:
        raise
    except OSError as error:
        raise _storage_error(folder, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _forget_oldest(folder, kind)
    return entry


def is_whole(entry: Path) -> bool:
    """Whether ``entry`` exists with every file as it was when it was made."""
    try:
        manifest = json.loads((entry / MANIFEST).read_text())
        for name, digest in manifest["files"].items():
            if _digest(entry / name) != digest:
                raise ValueError(f"{name} has changed")
    except FileNotFoundError:
        if entry.exists():
            log.warning("%s is incomplete and will be made again", entry)
        return False
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        log.warning("%s is damaged (%s) and will be made again", entry, error)
        return False
    return True


def _publish(unfinished: Path, entry: Path) -> None:
    files = {p.name: _digest(p) for p in sorted(unfinished.iterdir()) if p.is_file()}
    (unfinished / MANIFEST).write_text(json.dumps({"files": files}, indent=1))
    unfinished.chmod(0o755)
    # At most one other process can have finished the same entry in the meantime, with the same
    # content: a whole one is as good as ours, anything else is removed.
    if entry.exists() and not is_whole(entry):
        shutil.rmtree(entry)
    try:
        unfinished.rename(entry)
    except OSError:
        if not is_whole(entry):
            raise


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _forget_oldest(folder: Path, kind: str) -> None:
    with contextlib.suppress(OSError):  # another process may be tidying too
        entries = sorted(folder.glob(f"{kind}-*"), key=lambda p: p.stat().st_mtime)
        for old in entries[:-KEEP]:
            shutil.rmtree(old, ignore_errors=True)


def _storage_error(folder: Path, error: OSError) -> StorageError:
    where = f" ({error.filename})" if error.filename else ""
    return StorageError(
        f"a tool's result cannot be written to {folder}: {error.strerror or error}{where}",
        "free space there and in the temporary folder, or set HAIRTRIGGER_CACHE to a folder that "
        "can be written",
    )
