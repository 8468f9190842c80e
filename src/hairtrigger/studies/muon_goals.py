"""What the muon study is to reach: published figures, and what we aim at beyond them.

"must" are figures of others: spread, efficiency and fakes of a large CNN (EPJC 81 (2021) 969), the
turn-on of their student, and a quarter of the budget of the ATLAS level-0 muon trigger for latency.
"""

from hairtrigger.studies.base import Goal

FULL_PART = 1_728_000
"""LUTs of an XCVU13P."""

GOALS = (
    Goal("latency_ns", "latency, whole image", "ns", "low", 400, 150),
    Goal("interval_ns", "initiation interval", "ns", "low", 25, 25),
    Goal("lut", "LUT", "", "low", FULL_PART, 60_000),
    Goal("dsp", "DSP", "", "low", 12_288, 0),
    Goal("fakes_150", "fakes above 15 GeV at 150 Hz/cm2", "per mille", "low", 2, 0.05),
    Goal("fakes_300", "fakes above 15 GeV at 300 Hz/cm2", "per mille", "low", 2, 0.05),
    Goal("efficiency", "efficiency above 15 GeV", "", "high", 0.88, 0.97),
    Goal("spread", "pT error, 7 to 13 GeV", "GeV", "low", 1.12, 0.8),
    Goal("pass10_10_12", "pass 10 GeV: 10 to 12 GeV", "", "high", 0.73),
    Goal("pass10_12_14", "pass 10 GeV: 12 to 14 GeV", "", "high", 0.82),
    Goal("pass10_5_6", "pass 10 GeV: 5 to 6 GeV", "", "low", 0.09),
    Goal("lost", "efficiency lost to the float teacher", "%", "low", 2, 0),
    Goal("charge", "right charge, 5 to 15 GeV", "", "high", 0.95, 0.99),
)
