"""Cases that the fuzzer found once, shrunk: they must hold. See `hairtrigger fuzz --replay`."""

from __future__ import annotations

from pathlib import Path

import pytest

from hairtrigger.fuzz.run import replay

FOUND = sorted(path for path in (Path(__file__).parent / "reproducers").iterdir() if path.is_dir())


def test_there_are_some() -> None:
    assert FOUND


@pytest.mark.parametrize("folder", FOUND, ids=lambda path: path.name)
def test_what_the_fuzzer_found_holds_now(folder: Path) -> None:
    error = replay(folder)
    assert error is None, error
