"""FPGA parts as data: what each has, and where that is published."""

import difflib
from dataclasses import dataclass, replace

from hairtrigger.errors import InputError


@dataclass(frozen=True)
class Part:
    """An FPGA and its resources.

    ``bram18`` counts block RAM in halves of 18 kbit, ``uram`` in blocks of 288 kbit. ``family`` is
    the vendor's name for it and ``yosys_family`` the one that synthesis takes; ``vivado_name`` adds
    a common package and speed grade, as Tcl scripts need them. ``source`` says where the numbers
    were read.
    """

    name: str
    family: str
    yosys_family: str
    vivado_name: str
    lut: int
    ff: int
    dsp: int
    bram18: int
    uram: int
    source: str


_ULTRASCALE = "AMD product tables, UltraScale architecture overview (DS890)"

PARTS = (
    Part(
        name="xcvu13p",
        family="Virtex UltraScale+",
        yosys_family="xcup",
        vivado_name="xcvu13p-flga2577-2-e",
        lut=1_728_000,
        ff=3_456_000,
        dsp=12_288,
        bram18=5_376,
        uram=1_280,
        source=_ULTRASCALE,
    ),
    Part(
        name="xcvu9p",
        family="Virtex UltraScale+",
        yosys_family="xcup",
        vivado_name="xcvu9p-flga2104-2L-e",
        lut=1_182_240,
        ff=2_364_480,
        dsp=6_840,
        bram18=4_320,
        uram=960,
        source=_ULTRASCALE,
    ),
    Part(
        name="xcu250",
        family="Virtex UltraScale+",
        yosys_family="xcup",
        vivado_name="xcu250-figd2104-2L-e",
        lut=1_728_000,
        ff=3_456_000,
        dsp=12_288,
        bram18=5_376,
        uram=1_280,
        source="AMD Alveo U250 product table; the whole device, before any shell",
    ),
    Part(
        name="xcku115",
        family="Kintex UltraScale",
        yosys_family="xcu",
        vivado_name="xcku115-flvb2104-2-e",
        lut=663_360,
        ff=1_326_720,
        dsp=5_520,
        bram18=4_320,
        uram=0,
        source=_ULTRASCALE,
    ),
    Part(
        name="xczu7ev",
        family="Zynq UltraScale+",
        yosys_family="xcup",
        vivado_name="xczu7ev-ffvc1156-2-e",
        lut=230_400,
        ff=460_800,
        dsp=1_728,
        bram18=624,
        uram=96,
        source="AMD product tables, Zynq UltraScale+ overview (DS891)",
    ),
    Part(
        name="xcu50",
        family="Virtex UltraScale+",
        yosys_family="xcup",
        vivado_name="xcu50-fsvh2104-2-e",
        lut=871_680,
        ff=1_743_360,
        dsp=5_952,
        bram18=2_688,
        uram=640,
        source="AMD Alveo U50 data sheet (DS965); the whole device, before any shell",
    ),
    Part(
        name="xc7z020",
        family="Zynq-7000",
        yosys_family="xc7",
        vivado_name="xc7z020clg400-1",
        lut=53_200,
        ff=106_400,
        dsp=220,
        bram18=280,
        uram=0,
        source="AMD product tables, Zynq-7000 overview (DS190)",
    ),
)
"""The parts known by name; any other is a Part of the user's own."""


def find_part(name: str) -> Part:
    """The part called ``name`` ("xcvu13p", "XCVU13P", "VU13P", or a full Vivado name).

    A full name keeps its own package and speed grade. Raises InputError, with the closest name,
    when it is not known.
    """
    asked = name.strip().lower()
    for part in PARTS:
        device, package = asked.partition("-")[::2]
        if device in (part.name, part.name.removeprefix("xc")):
            if not package:
                return part
            # Vivado tells -2L-e from -2l-e, so the user's own spelling of the package stays.
            full = f"{part.name}-{name.strip().partition('-')[2]}"
            return replace(part, vivado_name=full)
    known = [part.name for part in PARTS]
    close = difflib.get_close_matches(asked.partition("-")[0], known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InputError(
        f"part {name!r} is not known; known are {', '.join(known)}",
        f"{hint}For another part give a hairtrigger.targets.Part with its resources",
    )
