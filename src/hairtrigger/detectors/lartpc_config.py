"""What a liquid-argon collection plane is: every number of the simulation, with its source.

"facts" in the comments are the figures that docs/detectors/lartpc.md lists with their public
sources; "assumed" is common knowledge without a source at hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from hairtrigger.errors import InputError

CLASSES = ("noise", "nue_cc", "es", "solar", "other")
"""Kinds of images, in the order of their number in the truth: noise (with radiologicals), nu_e CC of
a supernova, neutrino-electron elastic scattering, solar nu_e CC, other (cosmic muon, Michel)."""

TICKS = 64
"""Ticks of an image."""


@dataclass(frozen=True)
class LartpcConfig:
    """A plane of collection wires and what it sees. All defaults can be changed."""

    # The plane and its readout: 10 boards of 48 collection wires, 2 MHz (facts)
    wires: int = 480
    board_wires: int = 48
    pitch_cm: float = 0.479
    tick_ns: float = 512.0
    adc_bits: int = 14

    # The electronics: 14 mV/fC, peaking time 2.2 us, 0.2 to 1.6 V over the whole ADC (facts)
    gain_mv_fc: float = 14.0
    shaping_us: float = 2.2
    adc_range_mv: float = 1400.0

    # Pedestals in counts of 14 bits: 916 of 12 bits in real frames; the spread from wire to wire
    # (assumed), and a slow drift, off by default: its rms over the wires and its period
    pedestal: float = 3664.0
    pedestal_spread: float = 60.0
    pedestal_drift: float = 0.0
    pedestal_drift_s: float = 10.0
    plane_seed: int = 0

    # Noise in counts of 14 bits, whole and the part common to a board (2.6 of 4.45 in real frames)
    noise_rms: float = 10.7
    coherent_rms: float = 6.25

    # Argon: the volume above the plane, drift, life and diffusion of electrons (facts)
    drift_cm: float = 360.0
    height_cm: float = 600.0
    drift_cm_us: float = 0.16
    lifetime_us: float = 10400.0
    diffusion_l_cm2_s: float = 5.5
    diffusion_t_cm2_s: float = 12.0
    work_function_ev: float = 23.6
    recombination: float = 0.7
    alpha_recombination: float = 0.07

    # Radiologicals, decays per second and cm3 (facts)
    ar39_bq_cm3: float = 1.41e-3
    kr85_bq_cm3: float = 1.6e-4
    rn222_bq_cm3: float = 1.395e-6
    ar42_bq_cm3: float = 1.28e-7

    # Supernova: mean energy and pinching of nu_e (assumed)
    supernova_mean_mev: float = 11.0
    supernova_pinching: float = 3.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"{field.name} = {value!r} is not a number", "give a number")
            if not math.isfinite(value) or value < 0:
                raise InputError(
                    f"{field.name} = {value!r} is negative or not finite", "give 0 or more"
                )

    @property
    def boards(self) -> int:
        """Front-end boards of the plane."""
        return self.wires // self.board_wires

    @property
    def width_cm(self) -> float:
        """Across all wires."""
        return self.wires * self.pitch_cm

    @property
    def counts(self) -> float:
        """Counts of this ADC per count of 14 bits: 1, or 1/4 for 12 bits."""
        return 2.0 ** (self.adc_bits - 14)

    @property
    def tick_cm(self) -> float:
        """Drift in one tick."""
        return self.drift_cm_us * self.tick_ns * 1e-3

    @property
    def volume_cm3(self) -> float:
        """Argon that drifts to the plane."""
        return self.drift_cm * self.height_cm * self.width_cm
