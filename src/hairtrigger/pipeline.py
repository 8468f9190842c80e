"""Runs stages one after the other, each cached by the content of all that it depends on.

A stage is a function that writes files into a folder. Its key is made of its name, parameters,
source files, the versions of the packages it uses, and the content of what the stages before it
wrote. A stage whose output is there, made with the same key and with every file as it was, is not
run again. One that is interrupted or fails leaves no output: it writes into a folder of another
name, which is renamed when complete. What it puts into its ``partial`` folder stays, so that a
long stage can go on where it stopped.

    <run folder>/stages/<name>/            the output of a finished stage, and its manifest.json
    <run folder>/stages/.partial-<name>-*  what an interrupted stage has kept for its next start
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from hairtrigger.errors import InputError, StorageError
from hairtrigger.progress import Reporter, Silent

FORMAT = "hairtrigger-stage/1"
MANIFEST = "manifest.json"
STAGES = "stages"
LOCK = ".lock"
PACKAGE = Path(__file__).parent
_FULL_OR_CLOSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Workplace:
    """What a stage gets: where to write, what to read, whom to tell.

    ``folder`` is empty at the start; its content becomes the stage's output. ``partial`` survives
    an interruption, and is deleted when the stage has finished. ``inputs`` holds the output folders
    of the stages before, by name. ``run`` is the run folder, for what must outlive a failure, such
    as an event that shows it. ``progress(done, total)`` may be called at any time.
    """

    run: Path
    folder: Path
    partial: Path
    inputs: Mapping[str, Path]
    progress: Callable[[int, int], None]

    def keep(self, name: str) -> Path:
        """Move a finished file or folder from ``partial`` to ``folder``; returns its new path."""
        return (self.partial / name).rename(self.folder / name)


@dataclass(frozen=True)
class Stage:
    """One step: ``work`` and everything that its output depends on.

    ``title`` is for people. ``parameters`` is JSON. ``after`` names the stages whose output it
    reads. ``sources`` are files and folders of the hairtrigger package, relative to it, whose text
    decides what comes out; ``packages`` are installed distributions whose version does.
    """

    name: str
    title: str
    work: Callable[[Workplace], None]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finished:
    """A finished stage: its output ``folder`` and the ``digest`` of what is in it.

    ``seconds`` is the wall time of the run that made it, ``reused`` whether that was an earlier
    one.
    """

    name: str
    title: str
    folder: Path
    key: str
    digest: str
    seconds: float
    reused: bool


def run_stages(
    stages: Sequence[Stage], folder: Path, reporter: Reporter | None = None
) -> dict[str, Finished]:
    """Run all stages into ``folder``, or reuse what is there; finished stages by name.

    Raises StorageError for a folder that cannot be written or has no room, and when another
    process is running there; InputError for stages that do not fit together; and whatever a stage
    raises. Stages that have finished by then stay valid.
    """
    _check_order(stages)
    reporter = reporter or Silent()
    place = folder / STAGES
    with _explained(folder):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise StorageError(f"{folder} is no folder", "give another one") from error
    finished: dict[str, Finished] = {}
    with _locked(folder):
        for number, stage in enumerate(stages, 1):
            before = {name: finished[name] for name in stage.after}
            key = stage_key(stage, {name: done.digest for name, done in before.items()})
            reporter.start(stage.name, stage.title, number, len(stages))
            found, why = _stored(stage, place / stage.name, key)
            if found is None:
                if why:
                    reporter.note(f"{stage.name} is done again: {why}")
                inputs = {name: done.folder for name, done in before.items()}
                found = _perform(stage, place, key, inputs, reporter)
            reporter.finish(found.seconds, found.reused)
            finished[stage.name] = found
    return finished


def stage_key(stage: Stage, inputs: Mapping[str, str]) -> str:
    """The key of a stage, given the digests of the outputs that it reads: 24 hexadecimal digits."""
    parts = {
        "format": FORMAT,
        "name": stage.name,
        "parameters": dict(stage.parameters),
        "inputs": dict(inputs),
        "sources": source_digest(stage.sources),
        "packages": {name: _version(name) for name in stage.packages},
    }
    try:
        text = json.dumps(parts, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the parameters of stage {stage.name!r} are not JSON: {error}",
            "give numbers, text, lists and mappings",
        ) from error
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def source_digest(sources: Sequence[str], package: Path = PACKAGE) -> str:
    """Digest of the files, and of all files in the folders, named relative to the package."""
    digest = hashlib.sha256()
    for source in sources:
        path = package / source
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if _is_source(p))
        if not files:
            raise InputError(f"hairtrigger has no source file or folder {source!r}")
        for file in files:
            digest.update(f"{file.relative_to(package)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None  # the stage itself says what it misses


def _check_order(stages: Sequence[Stage]) -> None:
    seen: set[str] = set()
    for stage in stages:
        if not stage.name.isidentifier():  # it names files, and may not be a part of another
            raise InputError(f"stage name {stage.name!r}", "use letters, digits and underscores")
        missing = [name for name in stage.after if name not in seen]
        if missing or stage.name in seen:
            problem = f"comes before {missing}" if missing else "is there twice"
            raise InputError(
                f"stage {stage.name!r} {problem}", "give every stage once, after those it reads"
            )
        seen.add(stage.name)


def _perform(
    stage: Stage, place: Path, key: str, inputs: Mapping[str, Path], reporter: Reporter
) -> Finished:
    """Run one stage and move its output in place in one step."""
    partial = place / f".partial-{stage.name}-{key}"
    with _explained(place):
        for old in place.glob(f".partial-{stage.name}-*"):
            if old != partial:
                shutil.rmtree(old)
        for old in place.glob(f".unfinished-{stage.name}-*"):
            shutil.rmtree(old)
        partial.mkdir(exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".unfinished-{stage.name}-", dir=place))
    started = time.monotonic()
    try:
        with _explained(place):
            stage.work(Workplace(place.parent, unfinished, partial, inputs, reporter.advance))
            seconds = time.monotonic() - started
            files = _digests(unfinished)
            digest = _digest_of(files)
            manifest = {
                "format": FORMAT,
                "stage": stage.name,
                "key": key,
                "digest": digest,
                "seconds": seconds,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "files": files,
            }
            _write_synced(unfinished / MANIFEST, json.dumps(manifest, indent=1))
            unfinished.chmod(0o755)
            final = place / stage.name
            if final.exists():
                # Out of the way in one step; what is left of it after a crash is tidied later.
                final.rename(place / f".unfinished-{stage.name}-{key}-old")
            unfinished.rename(final)
    finally:
        # An interrupt or an error: nothing of this stage stays but its partial folder.
        shutil.rmtree(unfinished, ignore_errors=True)
    for old in (partial, place / f".unfinished-{stage.name}-{key}-old"):
        shutil.rmtree(old, ignore_errors=True)
    return Finished(stage.name, stage.title, place / stage.name, key, digest, seconds, False)


def _stored(stage: Stage, folder: Path, key: str) -> tuple[Finished | None, str]:
    """The stage's output if it can be reused; else why not ('' where there is nothing yet)."""
    if not folder.exists():
        return None, ""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT or manifest["stage"] != stage.name:
            return None, "its folder was made by another program"
        if manifest["key"] != key:
            return None, "its settings, its input or its code have changed"
        files, seconds = dict(manifest["files"]), float(manifest["seconds"])
        if _digest_of(files) != manifest["digest"]:
            return None, f"{MANIFEST} is damaged"
    except (OSError, ValueError, KeyError, TypeError):
        return None, f"{MANIFEST} is missing or damaged"
    for name, digest in files.items():
        try:
            if _file_digest(folder / name) != digest:
                return None, f"{name} has changed since it was made"
        except OSError as error:
            return None, f"{name} cannot be read ({error.strerror})"
    digest = manifest["digest"]
    return Finished(stage.name, stage.title, folder, key, digest, seconds, True), ""


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): _file_digest(p) for p in files}


def _digest_of(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:24]


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all. Raises StorageError."""
    with _explained(path.parent):
        draft = path.with_name(f".{path.name}.unfinished")
        try:
            _write_synced(draft, text)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run folder alone; the lock goes with the process, however that ends."""
    with _explained(folder):
        file = (folder / LOCK).open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                f"another process is running in {folder}",
                "wait until it has finished, or give another folder",
            ) from error
        yield


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """A full disk or a folder that cannot be written, as one StorageError."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        # Some libraries (HDF5) give the reason only in words.
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        if not full and error.errno not in _FULL_OR_CLOSED:
            raise
        problem = "has no room left" if full else f"cannot be written ({error.strerror})"
        way_out = "free space" if full else "give it write permission"
        raise StorageError(
            f"{folder} {problem}",
            f"{way_out}, or choose another folder; run it again to go on: finished stages are kept",
        ) from error
