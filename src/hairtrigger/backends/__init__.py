"""Backends: a Graph becomes an artifact. docs/backends/ describes each one.

Others are found by entry point: a package that declares one in the group ``hairtrigger.backends``,
pointing at a module or object with the two functions of `Backend`, is used by its name.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from hairtrigger.backends import cpp, hls, onnx, rtl, tensorrt, vitis_ai, xla
from hairtrigger.backends.base import Artifact, Backend
from hairtrigger.errors import InputError, UnsupportedError

GROUP = "hairtrigger.backends"
BUILT_IN: dict[str, Backend] = {
    "cpp": cpp,
    "hls": hls,
    "onnx": onnx,
    "rtl": rtl,
    "tensorrt": tensorrt,
    "vitis_ai": vitis_ai,
    "xla": xla,
}


def find_backend(name: str) -> Backend:
    """The backend of this name: a built-in one, else that of an entry point.

    Raises `InputError` for an unknown name, `UnsupportedError` for an entry point that cannot be
    loaded or is no backend.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    others = {point.name: point for point in entry_points(group=GROUP)}
    if name not in others:
        raise InputError(
            f"There is no backend {name!r}.",
            f"Use one of {', '.join(sorted({*BUILT_IN, *others}))}, or install the package that "
            f"brings it (entry point group {GROUP!r}).",
        )
    try:
        backend = others[name].load()
    except Exception as error:  # whatever a foreign package raises when it is imported
        raise UnsupportedError(
            f"Backend {name!r} ({others[name].value}) cannot be loaded: {error}.",
            "Mend or remove the package that declares it.",
        ) from error
    if not isinstance(backend, Backend):
        raise UnsupportedError(
            f"Backend {name!r} ({others[name].value}) has no functions unsupported() and emit().",
            "See hairtrigger.backends.base.Backend.",
        )
    return backend


__all__ = ["BUILT_IN", "GROUP", "Artifact", "Backend", "find_backend"]
