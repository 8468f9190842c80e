"""The errors that hairtrigger raises on purpose.

Every message names the value, the rule that it breaks and the way out, so that it can be acted
on without reading the code. The command line prints them without a traceback.
"""


class HairtriggerError(Exception):
    """Base of every error that hairtrigger raises on purpose.

    ``problem`` names the value and the rule it breaks; ``fix`` says what the user can do.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem}\n  Way out: {fix}" if fix else problem)


class InputError(HairtriggerError, ValueError):
    """Data or an argument that cannot be used: NaN, a wrong shape, a value out of range."""


class GraphError(HairtriggerError):
    """A Graph that breaks its contract, or a text that is no Graph."""


class ConversionError(HairtriggerError):
    """A trained model, or a part of it, that has no exact Graph."""


class UnsupportedError(HairtriggerError):
    """A correct Graph that a backend, an engine or a target cannot carry."""


class ToolError(HairtriggerError):
    """An external tool (compiler, Verilator, Yosys) that is missing or that failed."""


class StorageError(HairtriggerError, OSError):
    """A file or folder that cannot be read or written: missing, foreign, truncated, read-only."""


class MismatchError(HairtriggerError):
    """Two engines that gave different integers for the same event."""
