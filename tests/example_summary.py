"""A summary and pictures like those of a study, made up, for tests of the report."""

from __future__ import annotations

import numpy as np

from hairtrigger.detectors import rpc
from hairtrigger.report import summary as s
from hairtrigger.report.page import Pictures

MODELS = ("teacher", "float student", "quantised student")
EDGES = (3.0, 5.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0)


def estimate(value: float, n: int = 1000) -> s.Estimate:
    half = 1 / n**0.5
    return s.Estimate(value, value - half, value + half, n)


def pictures(events: rpc.RpcEvents) -> Pictures:
    assert events.signal is not None
    return Pictures(rpc.unpack(events.images), rpc.unpack(events.signal))


def example(events: rpc.RpcEvents | None = None) -> s.Summary:
    """A full summary; ``events``, if given, are those of the displays."""
    displays = []
    for truth in [] if events is None else events.truth:
        count = int(truth["n_muons"])
        muons = tuple(
            s.Muon(float(truth["pt"][n]), float(truth["eta"][n]), int(truth["charge"][n]))
            for n in range(count)
        )
        text = f"{count} muons in the image"
        displays.append(s.Display(text, muons, s.Muon(7.25, 0.5, -1), count))
    curves = [
        s.Curve(
            name,
            threshold,
            EDGES,
            tuple(
                s.Estimate(None, None, None, 0)
                if n == 0 and name == "teacher"
                else estimate(0.1 * n + 0.2)
                for n in range(7)
            ),
        )
        for threshold in (10.0, 15.0, 20.0)
        for name in MODELS
    ]
    evaluation = s.Evaluation(
        confidence=0.68,
        intervals="Wilson's for shares, bootstrap for means",
        samples=(s.Sample("training", 200000, 1), s.Sample("noise alone", 1000000, 3)),
        models=tuple(
            s.Model(name, 1000 + n, 2e4 * n or None, "Keras, float32")
            for n, name in enumerate(MODELS)
        ),
        rows=(
            s.Row(
                "spread",
                "pT error, 7 to 13 GeV",
                "mean |predicted - true pT|",
                "GeV",
                "low",
                True,
                tuple(estimate(1.1 + 0.1 * n, 900) for n in range(3)),
            ),
            s.Row(
                "fakes",
                "fakes above 15 GeV",
                "images of background alone",
                "per mille",
                "low",
                True,
                (s.Estimate(None, None, None, 0), *(s.Estimate(0.0, 0.0, 0.011, 100000),) * 2),
            ),
        ),
        turn_on=tuple(curves),
        resolution=tuple(
            s.Profile(name, EDGES, tuple(estimate(0.3 * n + 0.5) for n in range(7)))
            for name in MODELS
        ),
        confusion=(
            s.Confusion(
                MODELS[2], ((900, 80, 20, 0), (50, 900, 50, 0), (0, 99, 800, 101), (0, 0, 0, 0))
            ),
        ),
        training=tuple(s.Training(name, (3.0, 2.0, 1.5), (3.1, 2.1, 1.7), 31.5) for name in MODELS),
        displays=tuple(displays),
    )
    return s.Summary(
        schema=s.SCHEMA,
        origin=s.Origin(
            "Muon trigger: demo",
            "muon",
            "demo",
            None,
            1,
            "xcvu13p",
            320.0,
            "hairtrigger run muon --preset demo",
            "2026-01-31T12:00:00+00:00",
            "abc1234",
        ),
        evaluation=evaluation,
        conversion=s.Conversion(31, 17, 3456, 24, True),
        chip=s.Chip("muon", "xcvu13p", 320.0, 21, 65.625, 1, 3.125, 12345),
        proof=s.Proof(
            True,
            20144,
            144,
            1000,
            7,
            21,
            (
                s.Compared("emulator", "0.1.0", 20144, 80576, 0),
                s.Compared("Keras", "3.15.1", 20144, 80576, 0),
                s.Compared("ONNX Runtime", "1.31.1", 20144, 80576, 0),
                s.Compared("Verilator", "5.48", 20144, 80576, 0),
            ),
        ),
        synthesis=s.Synthesis(
            "Yosys 0.70",
            "synth_xilinx -family xcup",
            7,
            (
                s.Resource("LUT", 31234, 1728000, "LUT1 to LUT6, inverters apart"),
                s.Resource("FF", 8001, 3456000, "flip-flops"),
                s.Resource("CARRY4", 2222, None, "carry chains of 4 bits"),
                s.Resource("DSP", 0, 12288, ""),
            ),
        ),
        stages=(
            s.StageTime("simulate", "Simulate events", 12.5),
            s.StageTime("train", "Train", 93.0),
        ),
        versions={"hairtrigger": "0.1.0", "numpy": np.__version__},
    )
