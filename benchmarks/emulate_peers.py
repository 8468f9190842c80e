"""One peer of benchmarks/emulate.py, run by the Python of the peers' environment.

    python emulate_peers.py PEER NETWORK.keras INPUTS.npz OUTPUTS.npy

Builds the peer's emulator, runs it in one thread, and prints build time and medians as JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["OMP_NUM_THREADS"] = "1"

import hgq  # noqa: F401  (Keras then knows its layers)
import keras
import numpy as np

SECONDS = 1.0


def alkaid(model, folder):
    from alkaid.converter import trace_model
    from alkaid.trace import HWConfig, trace

    del folder
    logic = trace(*trace_model(model, HWConfig(1, 1, -1)))
    return lambda x: logic.predict(x, n_threads=1)


def da4ml(model, folder):
    from da4ml.converter import trace_model
    from da4ml.trace import comb_trace

    del folder
    logic = comb_trace(*trace_model(model))
    return lambda x: logic.predict(x, n_threads=1)


def hls4ml(model, folder):
    import hls4ml

    made = hls4ml.converters.convert_from_keras_model(
        model, output_dir=folder, backend="Vitis", io_type="io_parallel"
    )
    made.compile()
    return lambda x: made.predict(x)


def seconds(call) -> float:
    """Median of calls for a while."""
    call()
    times = []
    end = time.perf_counter() + SECONDS
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 1000):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    peer, network, inputs, outputs = sys.argv[1:]
    model = keras.models.load_model(network, compile=False)
    with np.load(inputs) as file:
        arrays = [file[name] for name in file.files]
    single = len(arrays) == 1
    with tempfile.TemporaryDirectory() as folder:
        start, cpu = time.perf_counter(), sum(os.times()[:4])
        predict = {"alkaid": alkaid, "da4ml": da4ml, "hls4ml": hls4ml}[peer](model, folder)
        build, build_cpu = time.perf_counter() - start, sum(os.times()[:4]) - cpu
        x = np.ascontiguousarray(arrays[0]) if single else arrays
        one = x[:1].copy() if single else [a[:1].copy() for a in arrays]
        np.save(outputs, np.asarray(predict(x)))
        found = {"build_s": build, "build_cpu_s": build_cpu, "one_s": seconds(lambda: predict(one))}
        found["many_s"] = seconds(lambda: predict(x))
    print("RESULT " + json.dumps(found))


if __name__ == "__main__":
    main()
