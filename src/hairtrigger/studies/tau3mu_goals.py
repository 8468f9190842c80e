"""What the tau3mu study is to reach: its chip at 200 MHz or faster, with all its generators, and
the network of coins beside the adversary with twice its neurons.
"""

from hairtrigger.studies.base import Goal

GOALS = (
    Goal("lut", "LUT", "", "low", 3000),
    Goal("latency_ns", "latency", "ns", "low", 100),
    Goal("interval_ns", "initiation interval", "ns", "low", 5),
    Goal("dsp", "DSP", "", "low", 0),
)
BLIND_GOALS = (
    Goal("lead", "AUC ahead of the adversary with twice the neurons, at its KS", "", "high", 0),
    Goal("lead_drawn", "the same, of 16 draws averaged", "", "high", 0),
    Goal("worst", "lowest AUC of any strength and seed", "", "high", 0.6),
    Goal("rise", "largest rise of KS from a strength to the next", "", "low", 0),
    Goal("flatter", "pile-up dependence reduced, for under 2 % of AUC", "times", "high", 5),
    Goal("flatter_drawn", "the same, of 16 draws averaged", "times", "high", 5),
)
"""Of the trade-off; see `hairtrigger.report.tau3mu_tradeoff.findings`."""
