"""Measures a network on a board: copy this folder there, with the bitstream, and run

    python3 driver.py --seconds 5

It sends the events of events.bin, compares the answers with expected.bin, times single events and
large packets, and writes results.json, which `hairtrigger bench --board-results` reads. It needs
NumPy, and pynq on a Zynq board or pyxrt (of XRT) beside an Alveo card; nothing of hairtrigger.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np

FORMAT = "hairtrigger-board/1"
READY = 64
PACKET_BYTES = 8 << 20
MOST = 200_000


class Zynq:
    """A Zynq board through pynq: an overlay with one AXI DMA and a GPIO that shows the clocks."""

    def __init__(self, record: dict, folder: Path) -> None:
        import pynq

        self.version = "pynq " + getattr(pynq, "__version__", "unknown")
        self._allocate = pynq.allocate
        self._overlay = pynq.Overlay(str(folder / (record["design"] + ".bit")))
        self._dma = self._overlay.axi_dma_0
        self._gpio = self._overlay.axi_gpio_0

    def bind(self, sent: np.ndarray, answer_bytes: int):
        """A call that sends these bytes and waits for the answers, and where they are then."""
        given = self._allocate(shape=(len(sent),), dtype=np.uint8)
        given[:] = sent
        taken = self._allocate(shape=(answer_bytes,), dtype=np.uint8)
        send, receive = self._dma.sendchannel, self._dma.recvchannel

        def call() -> None:
            receive.transfer(taken)
            send.transfer(given)
            send.wait()
            receive.wait()

        return call, lambda: np.array(taken)

    def clocks(self) -> int | None:
        """Clocks of the last packet inside the FPGA."""
        return int(self._gpio.read(0x0))

    def error(self) -> bool:
        """Did a packet end inside an event?"""
        return bool(self._gpio.read(0x8) & 1)


class Alveo:
    """A card through XRT: the movers mm2s and s2mm around the free-running kernel."""

    def __init__(self, record: dict, folder: Path) -> None:
        import pyxrt

        self.version = "XRT, " + platform.release()
        self._xrt = pyxrt
        self._device = pyxrt.device(0)
        binary = pyxrt.xclbin(str(folder / (record["design"] + ".xclbin")))
        uuid = self._device.load_xclbin(binary)
        self._send = pyxrt.kernel(self._device, uuid, "mm2s")
        self._receive = pyxrt.kernel(self._device, uuid, "s2mm")

    def bind(self, sent: np.ndarray, answer_bytes: int):
        """See `Zynq.bind`; the copies over PCIe are part of the call."""
        xrt = self._xrt
        to_card = xrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
        from_card = xrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE
        given = xrt.bo(self._device, len(sent), xrt.bo.normal, self._send.group_id(0))
        taken = xrt.bo(self._device, answer_bytes, xrt.bo.normal, self._receive.group_id(0))
        given.write(sent.tobytes(), 0)

        def call() -> None:
            given.sync(to_card, len(sent), 0)
            receiving = self._receive(taken, answer_bytes)
            sending = self._send(given, len(sent))
            sending.wait()
            receiving.wait()
            taken.sync(from_card, answer_bytes, 0)

        return call, lambda: np.frombuffer(taken.read(answer_bytes, 0), dtype=np.uint8)

    def clocks(self) -> int | None:
        """No register shows them here."""
        return None

    def error(self) -> bool:
        """No register shows it here."""
        return False


KINDS = {"zynq": Zynq, "alveo": Alveo}


def measure(record: dict, folder: Path, seconds: float) -> dict:
    """Compare, then time; gives what results.json holds."""
    sent = np.fromfile(folder / "events.bin", dtype=np.uint8)
    expected = np.fromfile(folder / "expected.bin", dtype=np.uint8)
    each, answer, events = record["in_bytes"], record["out_bytes"], record["events"]
    if len(sent) != each * events or len(expected) != answer * events:
        raise SystemExit("events.bin or expected.bin is truncated: write the folder again")
    board = KINDS[record["kind"]](record, folder)
    call, read = board.bind(sent, answer * events)
    call()
    got = read()
    wrong = (got != expected).reshape(events, answer).any(axis=1)
    clocks = board.clocks()

    ready = []
    for n in range(min(READY, events)):
        one, _ = board.bind(sent[n * each : (n + 1) * each], answer)
        ready.append(one)
    for one in ready:
        one()
    one_clocks = board.clocks()
    single = []
    end = time.perf_counter_ns() + int(1e9 * seconds)
    while len(single) < 10 or (time.perf_counter_ns() < end and len(single) < MOST):
        one = ready[len(single) % len(ready)]
        before = time.perf_counter_ns()
        one()
        single.append(time.perf_counter_ns() - before)

    times = max(1, PACKET_BYTES // len(sent))
    many, _ = board.bind(np.tile(sent, times), answer * events * times)
    many()
    offline = []
    end = time.perf_counter_ns() + int(1e9 * seconds)
    while len(offline) < 3 or time.perf_counter_ns() < end:
        before = time.perf_counter_ns()
        many()
        offline.append(time.perf_counter_ns() - before)
    return {
        "format": FORMAT,
        "board": record["board"],
        "design": record["design"],
        "graph_sha256": record["graph_sha256"],
        "inputs_sha256": record["inputs_sha256"],
        "clock_mhz": record["clock_mhz"],
        "events": events,
        "answers_sha256": hashlib.sha256(got.tobytes()).hexdigest(),
        "wrong_events": int(wrong.sum()),
        "first_wrong": int(np.flatnonzero(wrong)[0]) if wrong.any() else None,
        "frame_error": board.error(),
        "packet_clocks": clocks,
        "one_event_clocks": one_clocks,
        "single_ns": single,
        "packet_events": events * times,
        "packet_ns": offline,
        "software": f"{board.version}, Python {platform.python_version()}, {platform.machine()}",
        "measured": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each measurement")
    parser.add_argument("--out", type=Path, default=None, help="where the results go")
    options = parser.parse_args()
    folder = Path(__file__).resolve().parent
    record = json.loads((folder / "board.json").read_text())
    found = measure(record, folder, options.seconds)
    out = options.out or folder / "results.json"
    out.write_text(json.dumps(found) + "\n")
    same = found["wrong_events"] == 0
    print(f"{found['events']} events: {'all answers equal' if same else 'ANSWERS DIFFER'}")
    print(
        f"single event: median {np.median(found['single_ns']) / 1e3:.1f} us, from memory to memory"
    )
    print(f"results: {out}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
