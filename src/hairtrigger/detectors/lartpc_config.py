"""What a liquid-argon collection plane is: every number of the simulation, with its source.

In the comments, "facts" are figures whose public sources docs/detectors/lartpc.md names; "frames"
are real ProtoDUNE frames; "assumed" is common knowledge without a source at hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from hairtrigger.errors import InputError

CLASSES = ("noise", "nue_cc", "es", "solar", "other")
"""Kinds of images, in the order of their number in the truth: noise (with radiologicals), nu_e CC
of a supernova, neutrino-electron elastic scattering, solar nu_e CC, other (cosmic muon, Michel)."""

TICKS = 64
"""Ticks of an image."""

REFERENCE_BITS = 14
"""Noise and pedestals are given in counts of an ADC of so many bits, whatever the ADC is."""

_WHOLE = ("wires", "board_wires", "adc_bits", "plane_seed")
_POSITIVE = (
    *("wires", "board_wires", "pitch_cm", "tick_ns", "gain_mv_fc", "shaping_us", "adc_range_mv"),
    *("drift_cm", "height_cm", "drift_cm_us", "lifetime_us", "work_function_ev"),
    *("pedestal_drift_s", "supernova_mean_mev"),
)
_SHARES = ("recombination", "alpha_recombination", "michel_share")


@dataclass(frozen=True)
class LartpcConfig:
    """A plane of collection wires and what it sees.

    Raises InputError for a value that cannot be, named with its rule.
    """

    # The plane and its readout: 10 boards of 48 collection wires, 2 MHz, 14 bits (facts)
    wires: int = 480
    board_wires: int = 48
    pitch_cm: float = 0.479
    tick_ns: float = 512.0
    adc_bits: int = 14

    # The electronics: 14 mV/fC, peaking time 2.2 us, 0.2 to 1.6 V over the whole ADC (facts)
    gain_mv_fc: float = 14.0
    shaping_us: float = 2.2
    adc_range_mv: float = 1400.0

    # Pedestals: 916 counts of 12 bits, and they differ by 38 from wire to wire (frames). A slow
    # drift, off by default: its rms over the wires, and its period (assumed)
    pedestal: float = 3664.0
    pedestal_spread: float = 150.0
    pedestal_drift: float = 0.0
    pedestal_drift_s: float = 10.0
    plane_seed: int = 0

    # Noise: all of it 10.7 rms (facts), the part common to a board 2.6 of 4.45 (frames); its white
    # part relative to the amplitude at frequency 0 (facts: 0.12 with 14 bits, 0.37 with 12)
    noise_rms: float = 10.7
    coherent_rms: float = 6.25
    noise_white: float = 0.12

    # The argon above the plane and its electrons (facts; assumed: diffusion, and that recombination
    # leaves 6 % of the charge of an alpha)
    drift_cm: float = 360.0
    height_cm: float = 600.0
    drift_cm_us: float = 0.16
    lifetime_us: float = 10400.0
    diffusion_l_cm2_s: float = 5.5
    diffusion_t_cm2_s: float = 12.0
    work_function_ev: float = 23.6
    recombination: float = 0.7
    alpha_recombination: float = 0.06

    # Radiologicals, decays per second and cm3 (facts): 2.24, 0.25, 2.2e-3, 2e-4 in 32 us
    ar39_bq_cm3: float = 1.41e-3
    kr85_bq_cm3: float = 1.6e-4
    rn222_bq_cm3: float = 1.4e-6
    ar42_bq_cm3: float = 1.3e-7

    # Neutrinos of a supernova: mean energy and pinching, and the range (energies: facts; shape
    # assumed); the least recoil of elastic scattering; solar: hep beside B8 (assumed)
    supernova_mean_mev: float = 11.0
    supernova_pinching: float = 3.0
    supernova_range_mev: tuple[float, float] = (4.0, 70.0)
    es_least_mev: float = 1.0
    hep_share: float = 1.5e-3

    # How many of the "other" events are stopping muons with a Michel electron; the rest cross
    michel_share: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _plain(field.name, getattr(self, field.name)))
        for name in _WHOLE:
            if not isinstance(getattr(self, name), int):
                raise InputError(f"{name} = {getattr(self, name)!r}", f"give {name} as an integer")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise InputError(f"{name} = {getattr(self, name)!r}", f"give {name} more than 0")
        for name in (*_SHARES, "hep_share"):
            if getattr(self, name) > 1:
                raise InputError(f"{name} = {getattr(self, name)!r} is a share", "give at most 1")
        if self.wires % self.board_wires:
            raise InputError(
                f"{self.wires} wires are no whole number of boards of {self.board_wires}",
                "give wires as a multiple of board_wires",
            )
        if not 8 <= self.adc_bits <= 16:
            raise InputError(
                f"adc_bits = {self.adc_bits}, and images are uint16", "give 8 to 16 bits"
            )
        if self.coherent_rms > self.noise_rms:
            raise InputError(
                f"coherent_rms = {self.coherent_rms} is more than all noise, {self.noise_rms}",
                "lower coherent_rms or raise noise_rms",
            )
        if not self.supernova_range_mev[0] < self.supernova_range_mev[1]:
            raise InputError(
                f"supernova_range_mev = {self.supernova_range_mev} is empty",
                "give the lower end first",
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
        """Counts of this ADC per count of REFERENCE_BITS: 1, or 1/4 for 12 bits."""
        return 2.0 ** (self.adc_bits - REFERENCE_BITS)

    @property
    def tick_cm(self) -> float:
        """How far electrons drift in one tick."""
        return self.drift_cm_us * self.tick_ns * 1e-3

    @property
    def drift_ticks(self) -> float:
        """Ticks of a whole drift."""
        return self.drift_cm / self.tick_cm

    @property
    def volume_cm3(self) -> float:
        """Argon whose electrons drift to the plane."""
        return self.drift_cm * self.height_cm * self.width_cm

    def per_image(self, bq_cm3: float) -> float:
        """Mean number of decays in the argon while one image is taken."""
        return bq_cm3 * self.volume_cm3 * TICKS * self.tick_ns * 1e-9


def _plain(name: str, value: object) -> object:
    """Plain Python numbers, so that equal configurations are equal and hash alike."""
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise InputError(f"{name} = {value!r}", f"give {name} as two numbers")
        return tuple(_plain(name, item) for item in value)
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise InputError(f"{name} = {value!r} is not a number", f"give {name} as a number")
    if not math.isfinite(item) or item < 0:
        raise InputError(f"{name} = {value!r} is negative or not finite", f"give {name} 0 or more")
    return item


PROTODUNE_SP = LartpcConfig(
    adc_bits=12,
    tick_ns=500.0,
    pedestal=3812.0,
    pedestal_spread=154.0,
    noise_rms=17.8,
    coherent_rms=10.4,
    noise_white=0.33,
)
"""Pedestals and noise as in the real frames of ProtoDUNE-SP, which are noisier than the default."""
