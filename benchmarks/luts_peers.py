"""One peer of benchmarks/luts.py, run by the Python of the peers' environment.

    python luts_peers.py PEER NETWORK INPUTS.npz FOLDER

NETWORK is a .keras file, or an .npz with ``kernel`` (inputs, outputs) of a binary-input kernel
whose results are made positive and cut to ``bits`` bits. Writes FOLDER/net.v and
FOLDER/outputs.npy, and prints seconds and clocks as JSON.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np

LEVELS = 4
"""Adders between two registers: what our delay model allows at 320 MHz."""


def traced(peer: str, network: str):
    if peer == "da4ml":
        from da4ml.codegen import RTLModel
        from da4ml.converter import trace_model
        from da4ml.trace import FixedVariableArrayInput, HWConfig, comb_trace
    else:
        from alkaid.codegen import RTLModel
        from alkaid.converter import trace_model
        from alkaid.trace import FVArrayInput as FixedVariableArrayInput
        from alkaid.trace import HWConfig
        from alkaid.trace import trace as comb_trace
    hardware = HWConfig(1, -1, -1)
    if network.endswith(".keras"):
        import hgq.layers  # (Keras then knows its layers)
        import keras

        renamed = {"hgq2>QDenseT": hgq.layers.QDenseT}  # its name in older files
        model = keras.models.load_model(network, compile=False, custom_objects=renamed)
        return RTLModel, comb_trace(*trace_model(model, hardware))
    held = np.load(network)
    x = FixedVariableArrayInput((held["kernel"].shape[0],), hwconf=hardware)
    bit = x.quantize(0, 1, 0)
    total = bit @ held["kernel"].astype(np.float32)
    out = total.relu(*(np.full(held["kernel"].shape[1], n) for n in (int(held["bits"]), 0)))
    return RTLModel, comb_trace(x, out)


def inlined(text: str, folder: Path) -> str:
    """Tables that are read from files, as a module for each file with its content written out: our
    wrapper of Yosys takes no file beside the Verilog."""
    generic = re.search(r"module lookup_table\b.*?endmodule", text, re.DOTALL)
    if generic is None:
        return text
    text = text.replace(generic[0], "")
    # Yosys knows no memory for rom_style "distributed"; without it, a table becomes LUTs.
    module = re.sub(r"\(\*\s*rom_style.*?\*\)", "", generic[0])
    for number, name in enumerate(dict.fromkeys(re.findall(r'"([^"]+\.mem)"', text))):
        words = next(folder.rglob(Path(name).name)).read_text().split()
        rows = "\n".join(f"lut_rom[{n}] = 'h{word};" for n, word in enumerate(words))
        own = re.sub(r"\$readmemh\([^;]*;", lambda _, rows=rows: rows, module)
        text += "\n" + own.replace("module lookup_table", f"module lookup_table_{number}") + "\n"
        before = r"lookup_table(\s*#\((?:(?!lookup_table).)*?"  # alkaid names it, da4ml does not
        at = re.compile(before + rf'"{re.escape(name)}")', re.DOTALL)
        text = at.sub(rf"lookup_table_{number}\1", text)
    return text


def main() -> None:
    peer, network, inputs, out = sys.argv[1:5]
    folder = Path(out)
    started = time.perf_counter()
    make, logic = traced(peer, network)
    if peer == "da4ml":
        made = make(logic, "net", folder, "verilog", latency_cutoff=LEVELS)
    else:
        made = make(logic, folder, "net", "verilog", latency_cutoff=LEVELS)
    made.write()
    seconds = time.perf_counter() - started
    with np.load(inputs) as held:  # one array an input; both peers take them side by side as well
        flat = [held[name].astype(np.float64).reshape(len(held[name]), -1) for name in held.files]
    np.save(folder / "outputs.npy", logic.predict(np.concatenate(flat, axis=1)))
    sources = [p for p in sorted((folder / "src").rglob("*.v")) if "wrapper" not in p.name]
    text = "\n".join(path.read_text() for path in sources)
    (folder / "net.v").write_text(inlined(text, folder))
    stages = len(made._pipe.solutions if peer == "da4ml" else made.fsm.logic)
    print(json.dumps({"seconds": seconds, "clocks": stages}))


if __name__ == "__main__":
    main()
