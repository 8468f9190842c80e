"""What is injected into an HLS project, and where: frozen descriptions, checked when made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from hairtrigger.errors import InputError, StorageError
from hairtrigger.fixed import Fixed
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.types import Shape
from hairtrigger.hls.report import Report

IO_TYPES = ("io_parallel", "io_stream")
KINDS = ("replace", "behind", "input", "output", "around")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(::[A-Za-z_]\w*)*")
_PORT = re.compile(r"([su])(-?\d{1,3})\.(-?\d{1,3})\[([1-9]\d{0,8}(?:,[1-9]\d{0,8})*)\]")
_WHERE = re.compile(r"(replace|behind) (\S+)(?: until (\S+))?|(input|output|around)")


@dataclass(frozen=True)
class Place:
    """Where a function goes.

    - ``replace``: in place of ``layer``, or of all layers from there to ``until``, in hls4ml's
      names. A padding that hls4ml put before a replaced layer goes with it;
    - ``behind``: between ``layer`` and whatever reads it;
    - ``input``, ``output``: before and behind the whole network;
    - ``around``: it sees the inputs first and may answer in the network's stead.
    """

    kind: str
    layer: str = ""
    until: str = ""

    def __post_init__(self) -> None:
        named = self.kind in ("replace", "behind")
        if self.kind not in KINDS or named != bool(self.layer) or (self.until and not named):
            raise InputError(
                f"{self} is no place in a project.",
                "Use replace(layer), behind(layer), at_input(), at_output() or around().",
            )

    @classmethod
    def parse(cls, text: str) -> Place:
        """A place in words: "replace conv1", "replace conv1 until relu1", "behind pool",
        "input", "output", "around". Raises `InputError`."""
        found = _WHERE.fullmatch(text.strip())
        if found is None or (found[1] == "behind" and found[3]):
            raise InputError(
                f"{text!r} is no place in a project.",
                'Write "replace LAYER", "replace LAYER until LAYER", "behind LAYER", "input", '
                '"output" or "around".',
            )
        return cls(found[1] or found[4], found[2] or "", found[3] or "")

    def __str__(self) -> str:
        until = f" until {self.until}" if self.until else ""
        return f"{self.kind} {self.layer}{until}".strip()


def replace(layer: str, until: str = "") -> Place:
    """In place of a layer, or of a run of layers that read each other."""
    return Place("replace", layer, until)


def behind(layer: str) -> Place:
    """Between a layer and what reads it."""
    return Place("behind", layer)


def at_input() -> Place:
    """Before the network."""
    return Place("input")


def at_output() -> Place:
    """Behind the network."""
    return Place("output")


def around() -> Place:
    """Around the network."""
    return Place("around")


@dataclass(frozen=True)
class Port:
    """Shape of a tensor, without events, and the one format of its numbers."""

    shape: Shape
    format: Fixed

    @classmethod
    def parse(cls, text: str) -> Port:
        """A port in words, such as "u4.0[16,120,1]". Raises `InputError`."""
        found = _PORT.fullmatch(text.replace(" ", ""))
        if found is None:
            raise InputError(
                f"{text!r} is no port.",
                'Write format and shape, such as "u4.0[16,120,1]": unsigned (s: signed), integer '
                "bits without the sign, fraction bits, lengths.",
            )
        shape = tuple(int(n) for n in found[4].split(","))
        return cls(shape, Fixed(found[1] == "s", int(found[2]), int(found[3])))

    def __str__(self) -> str:
        sign = "s" if self.format.signed else "u"
        lengths = ",".join(map(str, self.shape))
        return f"{sign}{self.format.integer}.{self.format.fraction}[{lengths}]"


@dataclass(frozen=True)
class Injection:
    """A C++ function that goes into an HLS project.

    ``source`` is the text of a header with ``function``, which may be a template:

    - for ``io_parallel``: ``void f(in_t in[N], out_t out[M])``;
    - for ``io_stream``: ``void f(hls::stream<in_t> &in, hls::stream<out_t> &out)``, where a word
      is an ``nnet::array`` of the last axis of the tensor;
    - around the network: ``bool f(in, out)``, and with streams ``bool f(in, out, again)``: it
      returns true where it has written ``out`` itself. With streams it takes all of ``in``; where
      it does not answer, it writes the same to ``again``.

    ``io_types``: those that the source is written for. ``takes``, ``gives``: what it reads and
    writes; None for whatever the place has. Only at the input may ``takes`` differ from what the
    network has there, and at the output ``gives``. ``meaning``: the Graph that the function
    computes; needed at the input and output where numbers change, and used to try a function alone.
    Elsewhere a function must give what the network gives without it. ``report``: what HLS said
    about it.

    Raises `InputError` where the description contradicts itself.
    """

    where: Place
    function: str
    source: str = field(repr=False)
    takes: Port | None = None
    gives: Port | None = None
    io_types: tuple[str, ...] = ("io_parallel",)
    meaning: Graph | None = field(default=None, repr=False)
    report: Report | None = None

    def __post_init__(self) -> None:
        short = self.function.rsplit("::", 1)[-1]
        if not _FUNCTION.fullmatch(self.function):
            raise InputError(f"{self.function!r} is no name of a C++ function.")
        if not re.search(rf"\b{re.escape(short)}\b", self.source):
            raise InputError(
                f"The source of {self.function} does not have it.",
                "Give the text of the header that defines the function.",
            )
        if not self.io_types or set(self.io_types) - set(IO_TYPES):
            raise InputError(
                f"io_types={self.io_types} of {self.function}: there are {IO_TYPES}.",
            )
        self._check_meaning()

    def _check_meaning(self) -> None:
        graph = self.meaning
        if graph is None:
            return
        if self.where.kind == "behind" or self.where.kind == "around":
            raise InputError(
                f"{self.function} has a meaning of its own, {self.where} the network.",
                "Between layers a function must not change numbers: put it into the model, or "
                "give no meaning.",
            )
        if not graph.pure or len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise InputError(
                f"The meaning of {self.function} has {len(graph.inputs)} inputs, "
                f"{len(graph.outputs)} outputs and {len(graph.updates)} registers.",
                "Give a Graph of one input, one output and no registers.",
            )
        if self.takes is None or self.takes.shape != graph.input_ops[0].type.shape:
            raise InputError(
                f"{self.function} takes {self.takes}, its meaning a tensor of shape "
                f"{graph.input_ops[0].type.shape}.",
                "Give takes= with the shape and format of the meaning's input.",
            )
        if graph.input_ops[0].type.single != self.takes.format:
            raise InputError(
                f"{self.function} takes {self.takes}, which is not the format of its meaning.",
                "Give both the same format.",
            )


def read_source(path: Path | str) -> str:
    """The text of a header file. Raises `StorageError`."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise StorageError(
            f"{path} cannot be read: {reason}.", "Give a C++ header that is there."
        ) from error
