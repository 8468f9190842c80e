"""Puts injections into hls4ml's graph, by its own extension interface: a layer and a template."""

from __future__ import annotations

import functools
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hairtrigger.errors import InputError
from hairtrigger.hls.convert import fixed_of, quiet
from hairtrigger.hls.injection import Injection, Port

LAYER = "HairtriggerInjected"
"""hls4ml's class of the layers that are injected."""


@dataclass(frozen=True)
class Placed:
    """An injection in a project: the ``name`` of its layer there (and of its header), what it
    really ``takes`` and ``gives``, and ``instead``: the layer whose output its own must equal in
    the project without it; empty at the input, the output and around."""

    injection: Injection
    name: str
    takes: Port
    gives: Port
    instead: str = ""

    @property
    def header(self) -> str:
        """Its header, as the project's files include it."""
        return f"nnet_utils/{self.name}.h"


def place_all(made: Any, injections: tuple[Injection, ...], io_type: str) -> tuple[Placed, ...]:
    """Put every injection into hls4ml's graph, but those around, which are patched in later.

    Raises `InputError` for a place that is not there or a function that does not fit it.
    """
    found: list[Placed] = []
    for number, injection in enumerate(injections):
        short = injection.function.rsplit("::", 1)[-1]
        name = f"injected_{number}_{short}"
        if io_type not in injection.io_types:
            raise InputError(
                f"{injection.function} is written for {', '.join(injection.io_types)}, the "
                f"project is {io_type}.",
                "Choose that io_type, or give a source for this one.",
            )
        kind = injection.where.kind
        alone = ("around", "input", "output")
        if kind in alone and kind in [x.where.kind for x in injections[:number]]:
            raise InputError(f"Two injections at one place: {injection.where}.", "Join them.")
        put = {
            "replace": _replace,
            "behind": _behind,
            "input": _at_input,
            "output": _at_output,
            "around": _around,
        }[kind]
        found.append(put(made, injection, name))
    if found:
        # The functions of layers name their variables: write those lines anew.
        with quiet():
            made.apply_flow("vivado:specific_types")
            made.apply_flow("vivado:apply_templates")
    return tuple(found)


def port_of(variable: Any) -> Port:
    """Shape and format of one of hls4ml's variables."""
    return Port(tuple(variable.shape), fixed_of(variable.type.precision))


def _replace(made: Any, injection: Injection, name: str) -> Placed:
    first = _layer(made, injection.where.layer)
    last = _layer(made, injection.where.until) if injection.where.until else first
    chain = [first]
    while chain[-1] is not last:
        readers = chain[-1].get_output_nodes()
        if len(readers) != 1 or chain[-1].outputs[0] in made.outputs:
            raise InputError(
                f"{injection.where}: {chain[-1].name} is read by "
                f"{[x.name for x in readers] or 'nothing'}, so there is no single way from "
                f"{first.name} to {last.name}.",
                "Name layers that read each other, one after the other.",
            )
        chain.append(readers[0])
    padding = first.get_input_node()
    if padding is not None and padding.name in (f"zp1d_{first.name}", f"zp2d_{first.name}"):
        chain.insert(0, padding)
    for layer in chain:
        if len(layer.inputs) != 1 or len(layer.outputs) != 1 or layer.class_name == "Input":
            raise InputError(
                f"{injection.where}: {layer.name} has {len(layer.inputs)} inputs and "
                f"{len(layer.outputs)} outputs.",
                "Only layers of one input and one output can be replaced.",
            )
    source = chain[0].get_input_variable()
    variable, outputs = last.get_output_variable(), list(last.outputs)
    takes, gives = port_of(source), port_of(variable)
    _fits(injection, takes, gives)
    node = _node(made, injection, name, [chain[0].inputs[0]], outputs, variable)
    # It takes over the variable itself, so whatever refers to it stays right.
    node.set_attr(outputs[0], variable)
    made.output_vars[outputs[0]] = variable
    _rebuild(made, [layer.name for layer in chain], node)
    for layer in chain[:-1]:
        del made.output_vars[layer.outputs[0]]
    return Placed(injection, name, takes, gives, last.name)


def _behind(made: Any, injection: Injection, name: str) -> Placed:
    layer = _layer(made, injection.where.layer)
    if len(layer.outputs) != 1:
        raise InputError(f"{layer.name} has {len(layer.outputs)} outputs.", "Name another layer.")
    variable = layer.get_output_variable()
    _fits(injection, port_of(variable), port_of(variable))
    _insert_behind(made, injection, name, layer, variable)
    return Placed(injection, name, port_of(variable), port_of(variable), layer.name)


def _at_output(made: Any, injection: Injection, name: str) -> Placed:
    if len(made.outputs) != 1:
        raise InputError(
            f"The network has {len(made.outputs)} outputs.", "Use behind(layer) for one of them."
        )
    variable = made.get_output_variables()[0]
    layer = next(x for x in made.get_layers() if made.outputs[0] in x.outputs)
    takes = port_of(variable)
    gives = injection.gives or takes
    if injection.meaning is None and gives != takes:
        raise _no_meaning(injection, takes, gives)
    _fits(injection, takes, gives)
    _insert_behind(made, injection, name, layer, variable, gives)
    return Placed(injection, name, takes, gives)


def _at_input(made: Any, injection: Injection, name: str) -> Placed:
    if len(made.inputs) != 1:
        raise InputError(
            f"The network has {len(made.inputs)} inputs.", "Use behind(layer) for one of them."
        )
    layer = made.graph[made.inputs[0]]
    variable = layer.get_output_variable()
    gives = port_of(variable)
    takes = injection.takes or gives
    if injection.meaning is None and gives != takes:
        raise _no_meaning(injection, takes, gives)
    _fits(injection, takes, gives)
    _insert_behind(made, injection, name, layer, variable)
    # The network's input becomes what the function takes.
    from hls4ml.model.types import TensorVariable

    raw = TensorVariable(
        list(takes.shape),
        var_name=variable.name,
        type_name=f"{name}_in_t",
        precision=_precision(takes, variable.type.precision),
    )
    layer.set_attr(layer.outputs[0], raw)
    made.output_vars[layer.outputs[0]] = raw
    layer.set_attr("input_shape", list(takes.shape))
    return Placed(injection, name, takes, gives)


def _around(made: Any, injection: Injection, name: str) -> Placed:
    if len(made.inputs) != 1 or len(made.outputs) != 1:
        raise InputError(
            f"The network has {len(made.inputs)} inputs and {len(made.outputs)} outputs.",
            "A function around it needs one of each.",
        )
    takes = port_of(made.get_input_variables()[0])
    gives = port_of(made.get_output_variables()[0])
    _fits(injection, takes, gives)
    return Placed(injection, name, takes, gives)


def _fits(injection: Injection, takes: Port, gives: Port) -> None:
    """Raise `InputError` where the function takes or gives something else than the place has."""
    for word, wanted, there in (
        ("takes", injection.takes, takes),
        ("gives", injection.gives, gives),
    ):
        if wanted is not None and wanted != there:
            raise InputError(
                f"{injection.function} {word} {wanted}; the place ({injection.where}) has {there}.",
                "Give the function the shape and the format of the place.",
            )


def _no_meaning(injection: Injection, takes: Port, gives: Port) -> InputError:
    return InputError(
        f"{injection.function} turns {takes} into {gives}, and nothing says how.",
        "Give its meaning= as a Graph: what it gives is compared with that.",
    )


def _layer(made: Any, name: str) -> Any:
    # A reshape is but a name in C++, and an input is not written by the network.
    own = [x.name for x in made.get_layers() if x.get_attr("function_cpp")]
    names = [x for x in own if made.graph[x].class_name != LAYER]
    if name not in names:
        raise InputError(
            f"The project has no layer {name!r} with code of its own.",
            f"Name one of {', '.join(map(repr, names))}.",
        )
    return made.graph[name]


def _insert_behind(
    made: Any,
    injection: Injection,
    name: str,
    layer: Any,
    variable: Any,
    gives: Port | None = None,
) -> None:
    """A new node that reads ``variable``, and is read by whatever read it."""
    old = layer.outputs[0]
    if old in made.outputs:
        # hls4ml calls the type of a single output result_t, soon that of the new node.
        variable.type.name = f"layer{layer.index}_t"
    readers = [x for x in made.get_layers() if old in x.inputs]
    node = _node(made, injection, name, [old], [name], variable, gives)
    for reader in readers:
        reader.inputs[:] = [name if x == old else x for x in reader.inputs]
        for other in reader.get_variables():
            if getattr(other, "input_var", None) is variable:  # a reshape that is only a name
                other.input_var = node.get_output_variable()
                other.type = node.get_output_variable().type
    made.outputs = [name if x == old else x for x in made.outputs]
    _rebuild(made, [layer.name], node, keep=True)


def _node(
    made: Any,
    injection: Injection,
    name: str,
    inputs: list[str],
    outputs: list[str],
    like: Any,
    gives: Port | None = None,
) -> Any:
    gives = gives or port_of(like)
    attributes = {
        "shape": list(gives.shape),
        "precision_of": (_precision(gives, like.type.precision),),
        "function": injection.function,
        "header": f"nnet_utils/{name}.h",
        "trace": True,
    }
    return made.make_node(_register(), name, attributes, inputs, outputs)


def _rebuild(made: Any, names: list[str], node: Any, keep: bool = False) -> None:
    """The graph with ``node`` in place of the layers ``names``, or behind the one kept."""
    order = type(made.graph)()
    for key, layer in made.graph.items():
        if key not in names or keep:
            order[key] = layer
        if key == names[-1]:
            order[node.name] = node
    made.graph = order


def _precision(port: Port, like: Any) -> Any:
    """hls4ml's type of a port: ``like`` itself, with rounding and overflow, where it is that."""
    from hls4ml.model.types import FixedPrecisionType

    if fixed_of(like) == port.format:
        return deepcopy(like)
    f = port.format
    return FixedPrecisionType(f.width, f.integer + int(f.signed), f.signed)


@functools.cache
def _register() -> type:
    """The class of injected layers, made known to hls4ml once, with the line that calls them."""
    import hls4ml
    from hls4ml.backends.template import FunctionCallTemplate
    from hls4ml.model.layers import Layer, register_layer

    class HairtriggerInjected(Layer):  # its name is LAYER
        def initialize(self) -> None:
            (precision,) = self.attributes["precision_of"]
            self.add_output_variable(self.attributes["shape"], precision=precision)

    class HairtriggerTemplate(FunctionCallTemplate):
        def __init__(self) -> None:
            super().__init__(HairtriggerInjected)

        def transform(self, model: Any, node: Any) -> bool:
            changed = super().transform(model, node)
            node.set_attr("include_header", [node.get_attr("header")])
            return changed

        def format(self, node: Any) -> str:
            names = self._default_function_params(node)
            return f"{node.get_attr('function')}({names['input']}, {names['output']});"

    register_layer(HairtriggerInjected.__name__, HairtriggerInjected)
    # Vitis takes Vivado's templates along.
    hls4ml.backends.get_backend("Vivado").register_template(HairtriggerTemplate)
    return HairtriggerInjected
