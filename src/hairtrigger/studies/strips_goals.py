"""What the strips study is to reach; keys are rows of `hairtrigger.report.strips_rows`."""

from hairtrigger.studies.base import Goal

GOALS = (
    Goal(
        "gain_inclined",
        "position better than by time projection, the least of 10 to 40 degrees",
        "%",
        "high",
        15,
    ),
    Goal("gain_zero", "position better than the centroid at 0 degrees", "%", "high", 0),
    Goal("six_bits", "resolution lost with 6 bits", "%", "low", 2),
    Goal("tracks_15", "efficiency for tracks at 15 kHz/cm2, CNN", "", "high", 0.98),
    Goal("tracks_fakes_15", "fake tracks at 15 kHz/cm2, CNN", "", "low", 0.01),
    Goal("rnn_tracks_15", "efficiency for tracks at 15 kHz/cm2, RNN", "", "high", 0.98),
    Goal("rnn_tracks_fakes_15", "fake tracks at 15 kHz/cm2, RNN", "", "low", 0.01),
    Goal("latency_ns", "latency of the chip", "ns", "low", 100),
    Goal("interval_clocks", "clocks from cluster to cluster", "", "low", 1),
    Goal("differences", "numbers that differ between the engines", "", "low", 0),
    Goal("compared", "planes on which all engines were compared", "", "high", 100_000),
    Goal("cpu_us", "generated C++, one cluster, median", "us", "low", 10),
    Goal("cpu_ratio", "the same over ONNX Runtime's", "", "low", 1),
)
