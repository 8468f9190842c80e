"""The Graph: an exact fixed-point program that every frontend makes and every backend reads."""

from hairtrigger.graph.emulate import decode, emulate, emulate_codes, emulate_steps, encode
from hairtrigger.graph.graph import Builder, Graph, Node
from hairtrigger.graph.text import parse
from hairtrigger.graph.types import Literal, TensorType
from hairtrigger.graph.verify import verify

__all__ = [
    "Builder",
    "Graph",
    "Literal",
    "Node",
    "TensorType",
    "decode",
    "emulate",
    "emulate_codes",
    "emulate_steps",
    "encode",
    "parse",
    "verify",
]
