"""Events of MARLEY, the generator of low-energy neutrino interactions on argon: text files.

    found = read("events.ascii")
    events = ionise(found, numpy.random.default_rng(1), LartpcConfig())
    made = lartpc.simulate_given(events, seed=1)

Two of MARLEY's formats are read: its own ASCII of versions 1.x (with or without spin and parity of
the nucleus in the header of an event) and HEPEVT. https://www.marleygen.org/interpret_output.html
describes both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hairtrigger.detectors.lartpc_argon import ELECTRON_MEV
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.detectors.lartpc_deposits import Deposits, join
from hairtrigger.detectors.lartpc_events import PROTON_RECOMBINATION, Events
from hairtrigger.detectors.lartpc_transport import Particles, deposit, particles, transport
from hairtrigger.errors import InputError, StorageError

ELECTRON, PHOTON, NEUTRON, PROTON, ALPHA = 11, 22, 2112, 2212, 1000020040
LIGHT_IONS = (PROTON, 1000010020, 1000010030, 1000020030)
NEUTRINOS = (12, 14, 16)

_HEPEVT_FINAL, _HEPEVT_NOTE = 1, 11
"""HEPEVT status of final particles, and of the line that tells of the nucleus; others come in."""

REWRITE = "write the events again with MARLEY, or cut the file behind the last whole event"


@dataclass(frozen=True)
class MarleyEvents:
    """Events of one file. Of n events: ``neutrino_mev`` (n,), the total energy of what came in,
    ``neutrino_direction`` (n, 3) and ``excitation_mev`` (n,) of the nucleus (0 where not told). Of
    all m final particles: ``event`` (m,), ``pdg`` (m,), ``energy_mev`` (m,) total, ``momentum_mev``
    (m, 3) and ``mass_mev`` (m,). ``cross_section`` averaged over the flux, MeV^-2 per atom, or
    None."""

    neutrino_mev: np.ndarray
    neutrino_direction: np.ndarray
    excitation_mev: np.ndarray
    event: np.ndarray
    pdg: np.ndarray
    energy_mev: np.ndarray
    momentum_mev: np.ndarray
    mass_mev: np.ndarray
    cross_section: float | None

    def __len__(self) -> int:
        return len(self.neutrino_mev)


@dataclass(frozen=True)
class _Line:
    """A line of a file that is not blank: where it is, and its words."""

    path: Path
    number: int
    words: list[str]

    def wrong(self, why: str) -> InputError:
        return InputError(f"{self.path}, line {self.number}: {why}", REWRITE)

    def integer(self, k: int, what: str) -> int:
        try:
            return int(self.words[k])
        except ValueError as error:
            raise self.wrong(f"{what} is {self.words[k]!r}, not a whole number") from error

    def real(self, k: int, what: str) -> float:
        try:
            value = float(self.words[k])
        except ValueError as error:
            raise self.wrong(f"{what} is {self.words[k]!r}, not a number") from error
        if not math.isfinite(value):
            raise self.wrong(f"{what} is {self.words[k]}, which is not finite")
        return value

    def need(self, counts: tuple[int, ...], what: str) -> None:
        if len(self.words) not in counts:
            wanted = " or ".join(map(str, counts))
            raise self.wrong(f"{what} has {wanted} fields, and here are {len(self.words)}")


class _Collected:
    """What is read, event by event."""

    def __init__(self) -> None:
        self.neutrinos: list[tuple[float, float, float, float]] = []
        self.excitations: list[float] = []
        self.events: list[int] = []
        self.finals: list[tuple[int, float, float, float, float, float]] = []
        self.cross_section: float | None = None

    def final(self, line: _Line, values: tuple[int, float, float, float, float, float]) -> None:
        _, energy, *_, mass = values
        if mass < 0 or energy < mass * (1 - 1e-6):
            raise line.wrong(f"an energy of {energy} MeV for a mass of {mass} MeV cannot be")
        self.events.append(len(self.neutrinos))
        self.finals.append(values)

    def done(self) -> MarleyEvents:
        came = np.array(self.neutrinos).reshape(-1, 4)
        final = np.array([row[1:] for row in self.finals]).reshape(-1, 5)
        size = np.maximum(np.linalg.norm(came[:, 1:], axis=1, keepdims=True), 1e-300)
        return MarleyEvents(
            came[:, 0],
            came[:, 1:] / size,
            np.array(self.excitations),
            np.array(self.events, np.int64),
            np.array([row[0] for row in self.finals], np.int64),
            final[:, 0],
            final[:, 1:4],
            final[:, 4],
            self.cross_section,
        )


def read(path: str | Path) -> MarleyEvents:
    """The events of a file in MARLEY's ASCII or in HEPEVT, told apart by the first line.

    Raises StorageError for a file that cannot be read, InputError for one that is neither, is cut
    short or holds what cannot be, with the number of the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="ascii")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no text", "give MARLEY's ASCII or HEPEVT output, not its ROOT file"
        ) from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error}", "check the path") from error
    lines = [
        _Line(path, number, words)
        for number, line in enumerate(text.splitlines(), 1)
        if (words := line.split())
    ]
    if not lines:
        raise InputError(f"{path} is empty", "give a file with events")
    first = lines[0]
    if len(first.words) == 1 and first.words[0][0] not in "{[":
        return _read_ascii(lines)
    if len(first.words) == 2 and all(word.lstrip("-").isdigit() for word in first.words):
        return _read_hepevt(lines)
    raise InputError(
        f"{path} begins with {' '.join(first.words)[:40]!r}: neither MARLEY's ASCII nor HEPEVT",
        'write the events with format "ascii" of MARLEY 1.x or with "hepevt"',
    )


def _take(rest: Iterator[_Line], last: _Line, what: str) -> _Line:
    line = next(rest, None)
    if line is None:
        raise last.wrong(f"the file ends where {what} should follow")
    return line


def _read_ascii(lines: list[_Line]) -> MarleyEvents:
    """``section``, then of each event ``Ni Nf Ex [2J parity]`` and Ni + Nf lines of particles."""
    found = _Collected()
    found.cross_section = lines[0].real(0, "the cross-section")
    rest = iter(lines[1:])
    for head in rest:
        head.need((3, 5), "the header of an event")
        initial, final = (head.integer(k, "the number of particles") for k in (0, 1))
        if initial < 1 or final < 1:
            raise head.wrong(f"an event of {initial} and {final} particles cannot be")
        excitation = head.real(2, "the excitation")
        line = head
        came = None
        for k in range(initial + final):
            line = _take(rest, line, f"particle {k + 1} of {initial + final}")
            line.need((7,), "a particle")
            pdg = line.integer(0, "the particle's code")
            energy, *momentum, mass = (line.real(j, "a number") for j in range(1, 6))
            if k == 0:
                came = (energy, *momentum)
            elif k >= initial:
                found.final(line, (pdg, energy, *momentum, mass))
        found.excitations.append(excitation)
        found.neutrinos.append(came)
    return found.done()


def _read_hepevt(lines: list[_Line]) -> MarleyEvents:
    """Of each event ``number particles`` and as many lines; GeV there, MeV here."""
    found = _Collected()
    rest = iter(lines)
    for head in rest:
        head.need((2,), "the header of an event")
        count = head.integer(1, "the number of particles")
        if count < 1:
            raise head.wrong(f"an event of {count} particles cannot be")
        line = head
        came, excitation = None, 0.0
        for k in range(count):
            line = _take(rest, line, f"particle {k + 1} of {count}")
            line.need((15,), "a particle")
            status, pdg = line.integer(0, "the status"), line.integer(1, "the particle's code")
            px, py, pz, energy, mass = (line.real(j, "a number") for j in range(6, 11))
            if status == _HEPEVT_NOTE:
                excitation, found.cross_section = energy, mass  # these two in MeV
                continue
            px, py, pz, energy, mass = (1e3 * value for value in (px, py, pz, energy, mass))
            if status == _HEPEVT_FINAL:
                found.final(line, (pdg, energy, px, py, pz, mass))
            elif came is None or abs(pdg) in NEUTRINOS:
                came = (energy, px, py, pz)
        if came is None:
            raise head.wrong("no particle of the event came in")
        found.excitations.append(excitation)
        found.neutrinos.append(came)
    return found.done()


def ionise(
    found: MarleyEvents, rng: np.random.Generator, config: LartpcConfig, *, turned: bool = True
) -> Events:
    """The ionisation and truth of events of a file.

    Electrons, positrons and photons go through lartpc_transport; protons, light ions and alphas
    stay where they are, with their recombination; neutrons, neutrinos and the nucleus that is left
    show nothing. ``turned``: each event is turned at random, since MARLEY's neutrinos all come
    along z. Raises InputError for a particle that none of this is known of.
    """
    n = len(found)
    kind = np.abs(found.pdg)
    nucleus = found.pdg > 1000030000
    known = np.isin(kind, (ELECTRON, PHOTON, NEUTRON, *LIGHT_IONS, ALPHA, *NEUTRINOS)) | nucleus
    if not known.all():
        first = int(np.argmin(known))
        raise InputError(
            f"event {found.event[first]} has a particle with code {found.pdg[first]}",
            "keep electrons, photons, nucleons, nuclei and neutrinos",
        )
    matrix = _rotations(rng, n) if turned else np.broadcast_to(np.eye(3), (n, 3, 3))
    momentum = np.einsum("mij,mj->mi", matrix[found.event], found.momentum_mev)
    came = np.einsum("nij,nj->ni", matrix, found.neutrino_direction)
    size = np.linalg.norm(momentum, axis=1)
    ways = momentum / np.maximum(size, 1e-300)[:, None]
    kinetic = np.maximum(found.energy_mev - found.mass_mev, 0)

    electrons = _chosen(kind == ELECTRON, found, ways, kinetic)
    photons = _chosen(kind == PHOTON, found, ways, found.energy_mev)
    made = [transport(rng, electrons, photons, config)]
    for codes, share in (
        (LIGHT_IONS, PROTON_RECOMBINATION),
        ((ALPHA,), config.alpha_recombination),
    ):
        made.append(_points(np.isin(kind, codes), found, kinetic, share, config))
    lepton = np.zeros(n)
    direction = np.zeros((n, 3))
    # the first electron of an event is its ejectile
    for k in np.nonzero(kind == ELECTRON)[0][::-1]:
        lepton[found.event[k]] = max(found.energy_mev[k] - ELECTRON_MEV, 0)
        direction[found.event[k]] = ways[k]
    return Events(join(made), found.neutrino_mev, lepton, direction, came)


def _chosen(where: np.ndarray, found: MarleyEvents, ways: np.ndarray, mev: np.ndarray) -> Particles:
    origin = np.zeros((int(where.sum()), 3))
    positron = found.pdg[where] == -ELECTRON
    return particles(found.event[where], origin, ways[where], mev[where], positron)


def _points(
    where: np.ndarray, found: MarleyEvents, mev: np.ndarray, share: float, config: LartpcConfig
) -> Deposits:
    origin = np.zeros((int(where.sum()), 3))
    return deposit(found.event[where], origin, mev[where], share, config)


def _rotations(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rotations (n, 3, 3), every one alike: of unit quaternions."""
    q = rng.normal(size=(n, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows).reshape(3, 3, n), -1, 0)
