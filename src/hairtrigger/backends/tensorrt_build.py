"""Build a TensorRT engine (plan) from one of hairtrigger's ONNX files, by TensorRT's own API alone.

    python build.py MODEL.onnx PLAN --batch 1 --opt 1024 --most 65536

It needs TensorRT 10 or newer and the GPU that the engine will run on. The network is strongly
typed: float32 stays float32 and only what lies between QuantizeLinear and DequantizeLinear is
int8. TF32 is off: its products of 10-bit mantissas are not exact.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

OLDEST = 10
"""The oldest TensorRT, by its first number."""

WORKSPACE = 1 << 30
"""Bytes that TensorRT may use while it runs."""


def build_plan(model: bytes, batches: tuple[int, int, int]) -> bytes:
    """A serialised engine. ``batches``: fewest, usual and most events of a call.

    Raises `RuntimeError` with TensorRT's own words.
    """
    import tensorrt as trt

    if int(trt.__version__.split(".")[0]) < OLDEST:
        raise RuntimeError(f"TensorRT {trt.__version__} is older than {OLDEST}.")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = "; ".join(str(parser.get_error(n)) for n in range(parser.num_errors))
        raise RuntimeError(f"TensorRT cannot read the model: {errors}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    config.add_optimization_profile(_profile(builder, network, batches))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError("TensorRT built no engine; its log above says why.")
    return bytes(plan)


def _profile(builder: Any, network: Any, batches: tuple[int, int, int]) -> Any:
    profile = builder.create_optimization_profile()
    for n in range(network.num_inputs):
        tensor = network.get_input(n)
        least, usual, most = ((events, *tuple(tensor.shape)[1:]) for events in batches)
        profile.set_shape(tensor.name, least, usual, most)
    return profile


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--batch", type=int, default=1, help="fewest events of a call")
    parser.add_argument("--opt", type=int, default=1024, help="usual number of events")
    parser.add_argument("--most", type=int, default=65536, help="most events of a call")
    given = parser.parse_args()
    plan = build_plan(given.model.read_bytes(), (given.batch, given.opt, given.most))
    given.plan.write_bytes(plan)
    print(f"{given.plan}: {len(plan):,} bytes")


if __name__ == "__main__":
    main()
