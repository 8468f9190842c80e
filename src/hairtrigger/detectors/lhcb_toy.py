"""A generator of LHCb-like candidates with known truth: what can be known, and what must not be.

Each of the 46 features is a rising function of a Gaussian number ``z`` of its own. Signal, recorded
data instead of simulation, pile-up and the mass move the ``z`` by fixed vectors:

    z = noise + signal * SIGNAL + data * shift * SHIFT + pile_up * u * PILE_UP + trap * m * TRAP

``u`` is a standard Gaussian behind SPDhits, ``m`` the mass in units of 100 MeV from the tau's. So
the best score is a weighted sum of the ``z``, and what it reaches is a closed form (`truth`), also
for a score that is blind to the shift. It is a toy: marginal scales are those of LHCb, correlations
between features are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.lhcb import FEATURES, Candidates
from hairtrigger.errors import InputError

TAU_MEV, MASS_RESOLUTION_MEV = 1776.9, 8.0
MASS_RANGE_MEV = (1600.0, 1950.0)
SPD_MEDIAN, SPD_SPREAD = 380.0, 0.45
"""SPDhits = median * exp(spread * u)."""

_Row = tuple[str, float, float, float, float, float]
_SHAPES: dict[str, _Row] = {
    # kind, scale, spread, signal, shift, pile-up: the last three move z
    "LifeTime": ("log", 1.0e-3, 0.6, 0.35, 0.0, 0.0),
    "dira": ("near one", 1.5e-4, 1.2, 0.45, 0.15, 0.0),
    "FlightDistance": ("log", 10.0, 0.7, 0.30, 0.0, 0.0),
    "FlightDistanceError": ("log", 0.35, 0.5, 0.0, 0.10, 0.10),
    "IP": ("log", 0.05, 0.8, -0.35, 0.20, 0.05),
    "IPSig": ("log", 4.0, 0.8, -0.30, 0.25, 0.0),
    "VertexChi2": ("log", 4.5, 0.8, -0.45, 0.45, 0.0),
    "pt": ("log", 3600.0, 0.5, 0.25, 0.0, 0.0),
    "iso": ("share", 1.0, 1.0, 0.30, 0.10, -0.40),
    "ISO_SumBDT": ("line", 0.25, 0.5, -0.40, 0.30, 0.50),
    "SPDhits": ("hits", SPD_MEDIAN, SPD_SPREAD, 0.0, 0.0, 0.0),
}
_FAMILIES: dict[str, _Row] = {
    "DOCA": ("log", 0.03, 0.9, -0.20, 0.10, 0.0),
    "IP_p": ("log", 0.3, 0.8, 0.10, 0.05, 0.0),
    "isolation": ("line", 1.0, 1.0, -0.10, 0.05, 0.30),
    "CDF": ("share", 1.0, 1.0, 0.15, 0.05, -0.15),
    "IsoBDT": ("line", 0.1, 0.3, -0.25, 0.20, 0.35),
    "track_Chi2Dof": ("log", 1.0, 0.3, -0.10, 0.45, 0.10),
    "IPSig": ("log", 10.0, 0.7, 0.15, 0.10, 0.0),
    "IP": ("log", 0.4, 0.7, 0.15, 0.10, 0.0),
    "pt": ("log", 1300.0, 0.5, 0.10, 0.0, 0.0),
    "p": ("log", 14000.0, 0.6, 0.05, 0.0, 0.0),
    "eta": ("line", 3.3, 0.6, 0.0, 0.05, 0.0),
}
_TRAP = {"p0_pt": 1.0, "p1_pt": 1.0, "p2_pt": 1.0, "p0_p": -0.5}
"""How the mass moves z: with the trap open, the momenta of the tracks give it away."""


def _row(name: str) -> _Row:
    if name in _SHAPES:
        return _SHAPES[name]
    short = name.split("_", 1)[1] if name[:2] in ("p0", "p1", "p2") else name
    if short in _FAMILIES:
        return _FAMILIES[short]
    return next(row for family, row in _FAMILIES.items() if short.startswith(family))


_ROWS = [_row(name) for name in FEATURES]
SIGNAL, SHIFT, PILE_UP = (np.array([row[n] for row in _ROWS]) for n in (3, 4, 5))
TRAP = np.array([_TRAP.get(name, 0.0) for name in FEATURES])
SPD = FEATURES.index("SPDhits")


@dataclass(frozen=True)
class LhcbConfig:
    """``shift``: how far recorded data lie from simulation, in units of `SHIFT` (0: not at all);
    ``pile_up`` and ``trap``: the same for `PILE_UP` and `TRAP`; ``separation`` for `SIGNAL`."""

    shift: float = 1.0
    pile_up: float = 1.0
    trap: float = 0.0
    separation: float = 1.0

    def __post_init__(self) -> None:
        values = (self.shift, self.pile_up, self.trap, self.separation)
        if not all(math.isfinite(value) for value in values):
            raise InputError(f"{self} holds NaN or infinity.", "Give finite numbers.")


@dataclass(frozen=True)
class Truth:
    """What the best scores reach, for a ``trap`` of 0 and a known pile-up.

    ``auc``: of the best score between signal and background of one domain; ``ks``: how far apart
    its distributions in simulation and data are; ``blind_auc``: of the best linear score that is
    the same in both; ``confused_auc``: of the best score between simulated signal and recorded
    background, which is what a network that is trained on these may reach.
    """

    auc: float
    ks: float
    blind_auc: float
    confused_auc: float


def truth(config: LhcbConfig) -> Truth:
    """Closed forms for unit Gaussians: AUC = Phi(|d| / sqrt 2) for means that are ``d`` apart, and
    KS = 2 Phi(delta / 2) - 1 for a unit score that moves by delta."""
    signal, shift = config.separation * SIGNAL, config.shift * SHIFT
    size = float(np.linalg.norm(signal))
    moved = abs(float(signal @ shift)) / size if size else 0.0
    length = float(np.linalg.norm(shift))
    blind = signal - shift * (signal @ shift) / length**2 if length else signal
    return Truth(
        _auc(size),
        2 * NormalDist().cdf(moved / 2) - 1,
        _auc(float(np.linalg.norm(blind))),
        _auc(float(np.linalg.norm(signal - shift))),
    )


def _auc(distance: float) -> float:
    return NormalDist().cdf(distance / math.sqrt(2))


def training(events: int, seed: int, config: LhcbConfig | None = None) -> Candidates:
    """As training.csv: simulated signal, and background recorded beside the peak; ``signal`` (half
    of each on average), ``mass``, ``weight`` 1."""
    rng = np.random.default_rng(seed)
    signal = rng.integers(0, 2, events)
    low, high = MASS_RANGE_MEV
    side = rng.uniform(low, high, events)
    peak = rng.normal(TAU_MEV, MASS_RESOLUTION_MEV, events)
    mass = np.where(signal == 1, peak, side)
    features = _features(rng, signal, 1 - signal, mass, config or LhcbConfig())
    extra = {"signal": signal, "weight": np.ones(events), "mass": mass}
    return _made(features, extra)


def agreement(events: int, seed: int, config: LhcbConfig | None = None) -> Candidates:
    """As check_agreement.csv: a control channel that looks like the signal, half of it simulated
    (``signal`` 1), half recorded (0) with a ``weight`` of mean 1 that depends on nothing."""
    rng = np.random.default_rng(seed)
    simulated = rng.integers(0, 2, events)
    mass = rng.normal(TAU_MEV, MASS_RESOLUTION_MEV, events)
    features = _features(rng, np.ones(events), 1 - simulated, mass, config or LhcbConfig())
    weight = np.where(simulated == 1, 1.0, rng.gamma(4.0, 0.25, events))
    return _made(features, {"signal": simulated, "weight": weight})


def correlation(events: int, seed: int, config: LhcbConfig | None = None) -> Candidates:
    """As check_correlation.csv: recorded background over all masses."""
    rng = np.random.default_rng(seed)
    mass = rng.uniform(*MASS_RANGE_MEV, events)
    zero = np.zeros(events)
    features = _features(rng, zero, zero + 1, mass, config or LhcbConfig())
    return _made(features, {"mass": mass})


def to_z(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """The Gaussian numbers (events, 46) behind features: the truth, and good inputs of a network
    that was trained on generated candidates."""
    found = np.empty(features.shape)
    for n, (kind, scale, spread, *_) in enumerate(_ROWS):
        x = features[:, n].astype(np.float64)
        match kind:
            case "log" | "hits":
                found[:, n] = np.log(x / scale) / spread
            case "near one":
                found[:, n] = -np.log(np.maximum(1 - x, 1e-12) / scale) / spread
            case "line":
                found[:, n] = (x - scale) / spread
            case _:
                share = np.clip(x, 1e-7, 1 - 1e-7)
                found[:, n] = np.log(share / (1 - share))
    return found


def _made(features: NDArray[np.float32], extra: dict[str, NDArray]) -> Candidates:
    return Candidates(features, {name: x.astype(np.float64) for name, x in extra.items()})


def _features(
    rng: np.random.Generator,
    signal: NDArray,
    data: NDArray,
    mass: NDArray,
    config: LhcbConfig,
) -> NDArray[np.float32]:
    events = len(signal)
    if not events:
        raise InputError("0 events.", "Ask for one or more.")
    pile_up = rng.normal(size=events)
    z = rng.normal(size=(events, len(FEATURES)))
    z += np.outer(signal, config.separation * SIGNAL) + np.outer(data, config.shift * SHIFT)
    z += np.outer(pile_up, config.pile_up * PILE_UP)
    z += np.outer((mass - TAU_MEV) / 100, config.trap * TRAP)
    z[:, SPD] = pile_up
    found = np.empty(z.shape)
    for n, (kind, scale, spread, *_) in enumerate(_ROWS):
        match kind:
            case "log":
                found[:, n] = scale * np.exp(spread * z[:, n])
            case "hits":
                found[:, n] = np.maximum(1, np.rint(scale * np.exp(spread * z[:, n])))
            case "near one":
                found[:, n] = 1 - scale * np.exp(-spread * z[:, n])
            case "line":
                found[:, n] = scale + spread * z[:, n]
            case _:
                found[:, n] = 1 / (1 + np.exp(-z[:, n]))
    return found.astype(np.float32)
