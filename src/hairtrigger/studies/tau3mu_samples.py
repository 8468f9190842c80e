"""Samples of the tau3mu study kept in one file, and those of the files of "Flavours of Physics"."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from hairtrigger.detectors.lhcb import Candidates, read_csv
from hairtrigger.errors import InputError, StorageError
from hairtrigger.studies.tau3mu import Samples, Tau3muPreset, arrange

FILES = {
    "training.csv": ("signal",),
    "check_agreement.csv": ("signal", "weight"),
    "check_correlation.csv": ("mass",),
}
"""The files that are read, and the columns besides the features that they must have."""
SAMPLES = "samples.npz"
"""Name of the file in which a run keeps them."""
FEWEST = 8192
"""Candidates of a file below which there is nothing to train on."""


def recorded(folder: Path, preset: Tau3muPreset, seed: int) -> dict[str, Candidates]:
    """Candidates of all samples from the challenge's files in ``folder``, as `arrange` takes them.

    ``training.csv`` and ``check_agreement.csv`` are shuffled and divided: one half to learn from,
    one to judge by, each of at most the preset's size. There is no sample of one origin. Raises as
    `read_csv` does, and `InputError` for a file of too few candidates.
    """
    found = {name: read_csv(folder / name, need=need) for name, need in FILES.items()}
    few = {name: len(found[name]) for name in list(FILES)[:2] if len(found[name]) < FEWEST}
    if few:
        raise InputError(
            ", ".join(f"{name} has {count} candidates" for name, count in few.items()) + ".",
            f"Give files of {FEWEST} candidates or more.",
        )
    rng = np.random.default_rng((seed, 3))
    samples = {"correlation": found["check_correlation.csv"]}
    for file, learn, judge in (
        ("training.csv", "train", "test"),
        ("check_agreement.csv", "control", "agreement"),
    ):
        order = rng.permutation(len(found[file]))
        half = len(order) // 2
        few_more = preset.train_events + preset.train_events // 10
        samples[learn] = _chosen(found[file], order[:half][:few_more])
        samples[judge] = _chosen(found[file], order[half:][: preset.test_events])
    return samples


def _chosen(candidates: Candidates, which: np.ndarray) -> Candidates:
    extra = {name: values[which] for name, values in candidates.extra.items()}
    return Candidates(candidates.features[which], extra)


def write_candidates(path: Path, samples: Mapping[str, Candidates]) -> None:
    """Keep candidates of several samples in one .npz file. Raises `StorageError`."""
    arrays: dict[str, np.ndarray] = {}
    for name, candidates in samples.items():
        arrays[f"{name}/features"] = candidates.features
        arrays |= {f"{name}/{column}": values for column, values in candidates.extra.items()}
    try:
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def read_samples(path: Path) -> Samples:
    """The samples that `write_candidates` kept; those read last are not read again while the file
    is the same. Raises `StorageError` for another file."""
    try:
        found = path.stat()
    except OSError as error:
        raise _none(path, error) from error
    return _read(path, found.st_mtime_ns, found.st_size)


def _none(path: Path, error: Exception) -> StorageError:
    return StorageError(f"{path} holds no samples of tau3mu: {error}", "delete it and run again")


@lru_cache(maxsize=1)
def _read(path: Path, changed_ns: int, size: int) -> Samples:
    try:
        with np.load(path, allow_pickle=False) as held:
            columns: dict[str, dict[str, np.ndarray]] = {}
            for key in held.files:
                name, _, column = key.partition("/")
                columns.setdefault(name, {})[column] = held[key]
        candidates = {
            name: Candidates(found.pop("features"), found) for name, found in columns.items()
        }
        return arrange(candidates)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _none(path, error) from error
