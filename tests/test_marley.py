"""MARLEY's event files: both formats agree, damaged ones are refused with the line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import lartpc, marley
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.errors import HairtriggerError, InputError, StorageError

ME = 0.510998927645907708
CONFIG = LartpcConfig()

# Two events of our own: 12 MeV along z to an electron, 40K and two photons; 30 MeV to an electron,
# 39K, a neutron and a proton
EVENTS = [
    (
        2.73,
        [(12, 12.0, 0, 0, 12.0, 0.0, 0), (1000180400, 37224.7, 0, 0, 0, 37224.7, 0)],
        [
            (11, 7.8, 3.0, 0.0, np.sqrt(7.8**2 - ME**2 - 9.0), ME, -1),
            (1000190400, 37225.7, 1.0, 2.0, 3.0, 37225.7, 1),
            (22, 1.93, 0.0, 1.93, 0.0, 0.0, 0),
            (22, 0.8, 0.0, 0.0, -0.8, 0.0, 0),
        ],
    ),
    (
        10.4,
        [(12, 30.0, 0, 0, 30.0, 0.0, 0), (1000180400, 37224.7, 0, 0, 0, 37224.7, 0)],
        [
            (11, 18.0, 0.0, 0.0, -np.sqrt(18.0**2 - ME**2), ME, -1),
            (1000180380, 35361.0, 0.0, 0.0, 0.0, 35361.0, 1),
            (2112, 941.6, 0.0, 0.0, 62.0, 939.565, 0),
            (2212, 939.3, 43.2, 0.0, 0.0, 938.272, 1),
        ],
    ),
]


def ascii_text(spin: bool = True) -> str:
    lines = ["5.98e-19"]
    for excitation, initial, final in EVENTS:
        lines.append(f"{len(initial)} {len(final)} {excitation:.17e}" + (" 2 +" if spin else ""))
        for pdg, *numbers, charge in (*initial, *final):
            lines.append(f"{pdg} " + " ".join(f"{x:.17e}" for x in numbers) + f" {charge}")
    return "\n".join(lines) + "\n"


def hepevt_text(note: bool = True) -> str:
    lines = []
    for excitation, initial, final in EVENTS:
        lines.append(f"0 {len(initial) + len(final) + note}")
        for status, group in ((3, initial), (1, final)):
            for pdg, energy, px, py, pz, mass, _ in group:
                numbers = " ".join(f"{x / 1000:.17e}" for x in (px, py, pz, energy, mass))
                lines.append(f"{status} {pdg} 0 0 0 0 {numbers} 0. 0. 0. 0.")
        if note:
            lines.append(f"11 0 2 1 0 0 0. 0. 0. {excitation} 5.98e-19 0. 0. 0. 0.")
    return "\n".join(lines) + "\n"


def write(tmp_path, text: str):
    path = tmp_path / "events.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", [ascii_text(), ascii_text(spin=False), hepevt_text()])
def test_both_formats(tmp_path, text):
    found = marley.read(write(tmp_path, text))
    assert len(found) == 2
    assert found.neutrino_mev == pytest.approx([12.0, 30.0])
    assert found.neutrino_direction == pytest.approx(np.array([[0, 0, 1.0]] * 2))
    assert found.excitation_mev == pytest.approx([2.73, 10.4])
    assert list(found.event) == [0] * 4 + [1] * 4
    assert list(found.pdg) == [row[0] for event in EVENTS for row in event[2]]
    expected = np.array([row[1:6] for event in EVENTS for row in event[2]], float)
    assert found.energy_mev == pytest.approx(expected[:, 0])
    assert found.momentum_mev == pytest.approx(expected[:, 1:4], abs=1e-9)
    assert found.mass_mev == pytest.approx(expected[:, 4])
    assert found.cross_section == pytest.approx(5.98e-19)


def test_hepevt_without_the_line_of_the_nucleus(tmp_path):
    found = marley.read(write(tmp_path, hepevt_text(note=False)))
    assert found.excitation_mev == pytest.approx([0, 0])
    assert found.cross_section is None


@pytest.mark.parametrize("turned", [True, False])
def test_ionisation(tmp_path, turned):
    found = marley.read(write(tmp_path, ascii_text()))
    events = marley.ionise(found, np.random.default_rng(1), CONFIG, turned=turned)
    visible = np.bincount(events.deposits.event, events.deposits.mev, 2)
    # kinetic electron and photons; electron and proton: the neutron shows nothing
    assert visible == pytest.approx([7.8 - ME + 2.73, 18.0 - ME + 939.3 - 938.272], abs=1e-6)
    assert events.electron_mev == pytest.approx([7.8 - ME, 18.0 - ME], abs=1e-5)
    assert events.neutrino_mev == pytest.approx([12.0, 30.0])
    assert np.linalg.norm(events.direction, axis=1) == pytest.approx(1)
    cosine = (events.direction * events.neutrino_direction).sum(axis=1)
    expected = [np.sqrt(7.8**2 - ME**2 - 9) / np.sqrt(7.8**2 - ME**2), -1.0]
    assert cosine == pytest.approx(expected)
    along = np.array([[0, 0, 1.0]] * 2)
    assert np.allclose(events.neutrino_direction, along) is not turned
    proton = np.isclose(events.deposits.mev, 939.3 - 938.272)
    charge = events.deposits.electrons[proton] / events.deposits.mev[proton]
    assert charge == pytest.approx(1e6 / 23.6 * 0.35)


def test_turning_is_uniform_and_keeps_lengths():
    matrix = marley._rotations(np.random.default_rng(1), 4000)
    product = np.einsum("nij,nkj->nik", matrix, matrix)
    assert np.abs(product - np.eye(3)).max() < 1e-12
    assert np.linalg.det(matrix) == pytest.approx(1)
    assert np.abs(matrix.mean(axis=0)).max() < 4.5 * np.sqrt(1 / 3 / 4000)


def test_images_of_a_file(tmp_path):
    found = marley.read(write(tmp_path, ascii_text()))
    events = marley.ionise(found, np.random.default_rng(1), CONFIG)
    made = lartpc.simulate_given(events, seed=1)
    assert made.images.shape == (2, 64, 480)
    assert made.truth["neutrino_mev"] == pytest.approx([12.0, 30.0])


@settings(max_examples=40)
@given(st.integers(0, 14), st.integers(0, 6), st.booleans())
def test_damaged_lines_are_named(tmp_path_factory, line, word, hepevt):
    text = (hepevt_text() if hepevt else ascii_text()).splitlines()
    line = min(line, len(text) - 1)
    words = text[line].split()
    words[min(word, len(words) - 1)] = "x7"
    text[line] = " ".join(words)
    path = write(tmp_path_factory.mktemp("marley"), "\n".join(text))
    fields = 6 if not hepevt else 14
    unread = (not hepevt and len(words) == 7 and word >= fields) or (
        hepevt and len(words) == 15 and 2 <= word <= 5
    )
    unread |= not hepevt and len(words) == 5 and word >= 3
    unread |= hepevt and len(words) == 2 and word == 0 and line > 0
    if unread:
        marley.read(path)
        return
    with pytest.raises(InputError, match=rf"line {line + 1}|begins with"):
        marley.read(path)


@settings(max_examples=40)
@given(st.integers(1, 2000), st.booleans())
def test_cut_files_are_refused_or_whole_events(tmp_path_factory, size, hepevt):
    text = hepevt_text() if hepevt else ascii_text()
    path = write(tmp_path_factory.mktemp("marley"), text[: size % len(text)] or "1")
    try:
        found = marley.read(path)
    except HairtriggerError:
        return
    assert len(found) <= 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("HepMC::Version 3.02.05\n", "neither MARLEY's ASCII nor HEPEVT"),
        ('{"events": []}\n', "begins with"),
        ("nan\n2 4 1.0 2 +\n", "line 1: the cross-section is nan"),
        ("1e-19\n2 4\n", "line 2: the header of an event has 3 or 5 fields, and here are 2"),
        ("1e-19\n0 1 0.0 2 +\n", "line 2: an event of 0 and 1"),
        ("1e-19\n1 1 0.0 2 +\n12 5 0 0 5 0 0\n", "line 3: the file ends where particle 2 of 2"),
        ("1e-19\n1 1 0.0\n12 5 0 0 5 0 0\n11 0.2 0 0 5 0.511 -1\n", "line 4: an energy of 0.2"),
        ("1e-19\n1 1 0.0\n12 5 0 0 5 0 0\n11 inf 0 0 5 0.511 -1\n", "line 4.*not finite"),
        ("0 1\n1 11 0 0 0 0 0 0 0.005 0.005 0 0 0 0 0\n", "line 1: no particle of the event"),
        ("0 0\n", "line 1: an event of 0 particles"),
    ],
)
def test_files_that_are_no_events(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        marley.read(write(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        marley.read(tmp_path / "gone.txt")
    path = tmp_path / "events.root"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="is no text"):
        marley.read(path)


def test_unknown_particles_are_refused(tmp_path):
    text = ascii_text().replace("\n2112 ", "\n211 ")
    found = marley.read(write(tmp_path, text))
    with pytest.raises(InputError, match="code 211"):
        marley.ionise(found, np.random.default_rng(1), CONFIG)
