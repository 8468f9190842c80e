"""hls4ml at its border: import it, turn a Keras model into its graph, read its formats."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from hairtrigger.errors import ConversionError, ToolError
from hairtrigger.fixed import Fixed
from hairtrigger.frontends.keras_file import import_keras

log = logging.getLogger(__name__)

SERIES = "1.3"
"""Injection uses more of hls4ml than its documented interface: other versions are refused."""
HOW_TO_GET = f"pip install 'hls4ml=={SERIES}.*'"
BACKENDS = ("Vitis", "Vivado")


def import_hls4ml() -> Any:
    """hls4ml. Raises `ToolError` where it is missing or of another series."""
    import_keras()  # it chooses JAX before hls4ml asks Keras
    try:
        with quiet():
            import hls4ml
    except ImportError as error:
        raise ToolError(f"hls4ml cannot be imported: {error}.", HOW_TO_GET) from error
    found = version()
    if not found.startswith(SERIES + "."):
        raise ToolError(f"hls4ml {found} is installed; {SERIES}.* is needed.", HOW_TO_GET)
    return hls4ml


def version() -> str:
    """The version of hls4ml that is installed. Raises `ToolError`."""
    try:
        return metadata.version("hls4ml")
    except metadata.PackageNotFoundError:
        raise ToolError("hls4ml is not installed.", HOW_TO_GET) from None


def model_graph(
    model: Any,
    folder: Path,
    *,
    name: str,
    backend: str,
    io_type: str,
    part: str,
    clock_ns: float,
    hls_config: Mapping[str, Any] | None,
) -> Any:
    """hls4ml's ModelGraph of a Keras model, its passes applied; ``write`` puts it in ``folder``.

    Every layer is traced: hls4ml writes that code between ``#ifndef __SYNTHESIS__``. Raises
    `ConversionError` where hls4ml refuses the model.
    """
    hls4ml = import_hls4ml()
    try:
        with quiet():
            made = hls4ml.converters.convert_from_keras_model(
                model,
                output_dir=str(folder),
                project_name=name,
                backend=backend,
                io_type=io_type,
                part=part,
                clock_period=clock_ns,
                hls_config=dict(hls_config or {}),
                # Text files would be read at run time, from where the project lay when compiled.
                write_weights_txt=False,
            )
    except Exception as error:  # hls4ml raises bare exceptions, KeyError and AssertionError
        raise ConversionError(
            f"hls4ml {version()} cannot convert model {model.name!r}: "
            f"{type(error).__name__}: {error}.",
            "Change what it names (io_stream needs one format a tensor: heterogeneous_axis=()), or "
            "use the backend rtl.",
        ) from error
    made.config.trace_output = True
    for layer in made.get_layers():
        layer.set_attr("trace", True)
    return made


def write(made: Any) -> None:
    """Write hls4ml's project into its folder."""
    with quiet():
        made.write()


def fixed_of(precision: Any) -> Fixed:
    """The format of one of hls4ml's fixed-point or integer types. Raises `ConversionError`."""
    width, signed = getattr(precision, "width", None), getattr(precision, "signed", None)
    if width is None or signed is None or "Float" in type(precision).__name__:
        raise ConversionError(
            f"hls4ml uses {precision} where a fixed-point type is needed.",
            "Quantize the model with HGQ2's layers.",
        )
    integer = int(getattr(precision, "integer", width))
    return Fixed(bool(signed), integer - int(bool(signed)), int(width) - integer)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What hls4ml prints goes to the log; the one warning that it causes is kept away."""
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(said):
        # hls4ml 1.3 asks np.array(weight, copy=False) of JAX arrays in Keras variables.
        warnings.filterwarnings(
            "ignore",
            message="__array__ implementation doesn't accept a copy keyword",
            category=DeprecationWarning,
        )
        yield
    if text := said.getvalue().strip():
        log.info("hls4ml: %s", text)
