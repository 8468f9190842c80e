"""What the supernova study is to reach; keys are rows of `hairtrigger.report.supernova_rows`."""

from hairtrigger.studies.base import Goal

GOALS = (
    Goal("efficiency", "efficiency for nu_e CC above 10 MeV visible", "", "high", 0.90, 0.95),
    Goal("fakes", "noise images passed", "", "low", 1e-4, 1e-6),
    Goal("reduction", "data reduction", "times", "high", 1e4, 1e5),
    Goal(
        "burst_gain",
        "interactions for a burst, over those of the best conventional trigger",
        "",
        "low",
        1.0,
    ),
    Goal("burst", "interactions for the burst trigger at 95 %", "", "low", None, 30),
    Goal("chain_us", "chip, from raw ticks to the decision, each image", "us", "low", 32, 8),
)
