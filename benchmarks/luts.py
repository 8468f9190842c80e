"""Size of published networks and binary-input kernels: our Verilog beside the peers'.

For each network: LUT, flip-flops, clocks and levels of logic from one and the same Yosys flow
(flattened, no DSP blocks), for us, for da4ml and for alkaid. All for 320 MHz: our registers stand
where our delay model wants them, the peers' after every 4 adders, which is what that model allows.
What a peer's network gives is compared with Keras on 1,000 events first; a wrong one is marked.

    python benchmarks/luts.py [--models FOLDER] [--out docs/benchmarks/luts] [--only TEXT]

Needs `make peers`. FOLDER holds .keras files of HGQ2 networks. The peers' rows are kept under
--work, so a run that was cut goes on where it was; syntheses are in the tool cache.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from written import ROOT, stamp, write_tables

from hairtrigger.errors import HairtriggerError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate
from hairtrigger.graph.linear import Dense
from hairtrigger.graph.ops import Input, Quantize, Relu
from hairtrigger.graph.passes import optimise
from hairtrigger.rtl.design import compile_graph
from hairtrigger.tools import yosys

PEERS = ("da4ml", "alkaid")
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
EVENTS, SEED = 1000, 1
FAR = Fixed(True, 5, 8)
"""Format of the inputs of networks that give none of their own."""


def kernel_graph(channels: int, seed: int, bits: int = 3) -> tuple[Graph, np.ndarray]:
    """A 3 x 3 kernel over bits: ``channels`` sums, ReLU, cut to ``bits`` bits with wrapping."""
    kernel = np.random.default_rng(seed).integers(-4, 5, (9, channels))
    b = Builder("kernel")
    x = b.add(Input("x", TensorType.uniform((9,), Fixed(False, 1, 0))))
    x = b.add(Relu(), b.add(Dense(Literal(kernel, 0)), x))
    t = TensorType.uniform((channels,), Fixed(False, bits, 0))
    return b.build([b.add(Quantize(t, Rounding.TRN, Overflow.WRAP), x)]), kernel


def published(path: Path) -> Graph:
    """The Graph of a .keras file, ready for lowering."""
    from hairtrigger.errors import ConversionError
    from hairtrigger.frontends.hgq import from_hgq
    from hairtrigger.frontends.keras_file import load_model

    model = load_model(path)
    try:
        return optimise(from_hgq(model, name="net"))
    except ConversionError:
        return optimise(from_hgq(model, name="net", input_format=FAR))


def events_of(graph: Graph) -> list[np.ndarray]:
    """Events on the grid of each input, over its whole range."""
    rng = np.random.default_rng(SEED)
    found = []
    for op in graph.input_ops:
        low, high = op.type.range().at(op.type.lsb)
        codes = rng.integers(low, high + 1, (EVENTS, *op.type.shape))
        step = np.left_shift(1, np.where(op.type.width > 0, op.type.lsb - op.type.fraction, 0))
        found.append((codes // step * step) * 2.0**-op.type.lsb)
    return found


def peer_row(peer: str, network: Path, graph: Graph, folder: Path, limit: float) -> dict[str, Any]:
    """LUT, FF, clocks, levels and differing outputs of a peer, or the reason why there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = events_of(graph)
    np.savez(folder / "inputs.npz", *inputs)
    script = Path(__file__).with_name("luts_peers.py")
    command = [PYTHON, script, peer, network, folder / "inputs.npz", folder]
    try:
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=limit, check=False
        )
        if done.returncode:
            return {"problem": done.stderr.strip().splitlines()[-1][:120]}
        said = json.loads(done.stdout.splitlines()[-1])
        used = yosys.synthesise([folder / "net.v"], "net", flatten=True, dsp=False, timeout_s=limit)
    except subprocess.TimeoutExpired:
        return {"problem": f"not done in {limit:g} s"}
    except HairtriggerError as error:
        return {"problem": str(error).splitlines()[0][:120]}
    ours = np.concatenate([x.reshape(EVENTS, -1) for x in emulate(graph, tuple(inputs))], axis=1)
    theirs = np.load(folder / "outputs.npy").reshape(EVENTS, -1)
    wrong = int((ours != theirs).any(axis=1).sum()) if ours.shape == theirs.shape else EVENTS
    clocks = said["clocks"]
    return {"lut": used.lut, "ff": used.ff, "clocks": clocks, "levels": used.levels, "wrong": wrong}


def our_row(graph: Graph) -> dict[str, Any]:
    """The same for us, and the seconds that lowering took."""
    started = time.perf_counter()
    design = compile_graph(graph, "xcvu13p", "320 MHz")
    seconds = time.perf_counter() - started
    texts = design.kernels_verilog, design.top_verilog
    used = synthesise_flat(texts, design.name)
    return {
        "lut": used.lut,
        "ff": used.ff,
        "clocks": design.latency,
        "levels": used.levels,
        "wrong": 0,
        "lowering_s": round(seconds, 2),
    }


def synthesise_flat(texts: tuple[str, ...], top: str) -> yosys.Resources:
    """Our own Verilog through the flow of the peers."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "net.v"
        path.write_text("\n".join(texts))
        return yosys.synthesise([path], top, flatten=True, dsp=False)


def row(name: str, graph: Graph, network: Path, work: Path, limit: float) -> dict[str, Any]:
    """One network: all sides."""
    found: dict[str, Any] = {"us": our_row(graph)}
    for peer in PEERS:
        found[peer] = peer_row(peer, network, graph, work / name / peer, limit)
    return found


def table_row(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """A row of the table: the better peer is the smaller one, wrong or not."""
    us = found["us"]
    shown: dict[str, Any] = {"network": name}
    for key in ("lut", "ff", "clocks", "levels"):
        shown[f"our_{key}"] = us[key]
    shown["lowering_s"] = us["lowering_s"]
    for peer in PEERS:
        theirs = found[peer]
        shown[f"{peer}_lut"] = theirs.get("lut", theirs.get("problem"))
        for key in ("ff", "clocks", "levels"):
            shown[f"{peer}_{key}"] = theirs.get(key)
        shown[f"{peer}_wrong_of_{EVENTS}"] = theirs.get("wrong")
    sizes = [found[p]["lut"] for p in PEERS if "lut" in found[p]]
    shown["ratio"] = round(us["lut"] / min(sizes), 3) if sizes and min(sizes) else None
    return shown


def mean(rows: list[dict[str, Any]]) -> float | None:
    """Geometric mean of our LUTs over the better peer's."""
    ratios = [r["ratio"] for r in rows if r["ratio"]]
    return round(math.exp(sum(map(math.log, ratios)) / len(ratios)), 3) if ratios else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "luts")
    parser.add_argument("--kept", action="store_true", help="only networks with a kept row")
    parser.add_argument("--again", action="store_true", help="try kept peers that failed once more")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for a peer's step")
    chosen = parser.parse_args()
    if not PYTHON.exists():
        parser.error("the peers are not installed: run `make peers`")
    networks: dict[str, Path | tuple[int, int]] = {
        f"3x3 bits to {channels}": (channels, seed)
        for seed, channels in enumerate((1, 2, 4, 8, 16), 1)
    }
    if chosen.models:
        found = sorted(chosen.models.glob("*.keras"), key=lambda p: p.stat().st_size)
        networks |= {p.stem.removeprefix("models_").split("-val")[0]: p for p in found}
    rows: list[dict[str, Any]] = []
    chosen.work.mkdir(parents=True, exist_ok=True)
    for name, source in networks.items():
        if chosen.only not in name:
            continue
        kept = chosen.work / f"{name.replace(' ', '-')}.json"
        if chosen.kept and not kept.exists():
            continue
        if isinstance(source, tuple):
            graph, kernel = kernel_graph(*source)
            path = chosen.work / f"{name.replace(' ', '-')}.npz"
            np.savez(path, kernel=kernel, bits=3)
        else:
            graph, path = published(source), source
        if kept.exists():
            found_row = json.loads(kept.read_text())
            found_row["us"] = our_row(graph)  # ours may have changed; theirs has not
            for peer in PEERS:
                if chosen.again and "problem" in found_row[peer]:
                    work = chosen.work / name.replace(" ", "-") / peer
                    found_row[peer] = peer_row(peer, path, graph, work, chosen.limit)
        else:
            found_row = row(name.replace(" ", "-"), graph, path, chosen.work, chosen.limit)
        kept.write_text(json.dumps(found_row))
        rows.append(table_row(name, found_row))
        print(rows[-1], flush=True)
        about = {"seed": SEED, "events": EVENTS, "mean_ratio": mean(rows), **stamp()}
        if left := [n for n in networks if n not in {r["network"] for r in rows}]:
            about["not_run"] = ", ".join(left)
        about["goal"] = "geometric mean of our LUT over the better peer's at most 1.0"
        if chosen.out:
            write_tables(chosen.out, "Size beside the peers", __doc__, about, {"networks": rows})
    print("geometric mean", mean(rows))


if __name__ == "__main__":
    main()
