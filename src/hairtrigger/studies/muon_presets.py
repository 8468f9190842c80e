"""How large runs of the muon study are, and the ways to make its student that are compared."""

from __future__ import annotations

from dataclasses import dataclass

from hairtrigger.studies.base import Way


@dataclass(frozen=True)
class MuonPreset:
    """How large a run is, and how its student is made.

    Events of each sample (noise: at each rate), epochs, learning rates; for the quantised student
    the price of bits (``beta``) and their budget (``ebops``). ``teacher_share``, ``temperature``
    and ``hint`` say what students learn from the teacher (`Distillation`); a share of 0 is none.
    ``pruned``: the share of weights that the quantised student starts without. ``post_bits``: no
    training of the quantised student at all, but that many bits for each number of the float one.
    """

    name: str
    train_events: int
    validation_events: int
    test_events: int
    noise_events: int
    teacher_epochs: int
    float_epochs: int
    student_epochs: int
    batch: int = 256
    teacher_rate: float = 3e-3
    float_rate: float = 5e-3
    student_rate: float = 3e-3
    beta: tuple[float, float] = (1e-7, 1.5e-6)
    ebops: float | None = 1_000_000.0
    temperature: float = 2.0
    teacher_share: float = 0.3
    hint: float = 0.0
    pruned: float = 0.0
    post_bits: int | None = None


SMOKE = MuonPreset("smoke", 2048, 1024, 2048, 2048, 1, 1, 1)
DEMO = MuonPreset("demo", 300_000, 10_000, 40_000, 100_000, 2, 5, 3)
COMPARE = MuonPreset("compare", 1_000_000, 20_000, 200_000, 200_000, 2, 2, 2)
"""For the comparison of ways to make a student, and for sweeps: many trainings."""
PAPER = MuonPreset(
    "paper", 2_000_000, 50_000, 400_000, 3_000_000, 2, 6, 6, beta=(1e-7, 6e-7), ebops=None
)
"""An hour or two on two cores."""

_EVENTS = ("train_events", "validation_events", "test_events", "noise_events")
_LESSONS = ("batch", "temperature", "teacher_share", "hint")
READS = {
    "simulate": _EVENTS,
    "teacher": ("teacher_epochs", "teacher_rate", "batch"),
    "float_student": ("float_epochs", "float_rate", *_LESSONS),
    "student": (
        "student_epochs",
        "student_rate",
        "beta",
        "ebops",
        "pruned",
        "post_bits",
        *_LESSONS,
    ),
}
"""The fields that each stage reads: with another price of bits, teacher and float student stay."""

COMPARED = (
    Way("float_truth", "float, from the truth", {"teacher_share": 0.0}),
    Way("float_soft", "float, soft outputs of the teacher", {}),
    Way("float_hint", "float, soft outputs and hint", {"hint": 0.3}),
    Way("truth", "quantised in training, from the truth", {"teacher_share": 0.0}, "float_truth"),
    Way("soft", "quantised in training, soft outputs", {}, "float_soft"),
    Way("hint", "quantised in training, soft outputs and hint", {"hint": 0.3}, "float_hint"),
    Way(
        "pruned",
        "half of the weights pruned, then quantised in training, from the truth",
        {"teacher_share": 0.0, "pruned": 0.5},
        "float_truth",
    ),
    *(
        Way(
            f"post_{bits}",
            f"quantised after training, {bits} bits",
            {"post_bits": bits},
            "float_truth",
        )
        for bits in (8, 6, 4)
    ),
)
"""The same student made in different ways, each with a figure of its own: `hairtrigger compare`."""
