"""Registers as memory of earlier steps: what a step leaves is read where it was written.

A Graph with registers keeps the memory of some steps, one *frame* for each. A register is no copy
then: it is the tensor whose value it takes, in the frame of the step before, and a delay of n steps
is the frame of n steps ago. Where that is not possible (two registers that take one value but may
begin differently, constants, very long delays) a kernel makes the copy.
"""

from __future__ import annotations

import numpy as np

from hairtrigger.cpp.body import Body
from hairtrigger.cpp.program import Held, Ints, Kernel, Program, Tensor

OLDEST = 16
"""Steps that frames are kept for; longer delays are copied on their way."""


def hold(program: Program, registers: int) -> None:
    """Turn the last ``registers`` inputs and outputs of a program into `Program.held`."""
    _Holder(program, registers).run()


class _Holder:
    """Finds a place for every register, then renames what kernels read."""

    def __init__(self, program: Program, registers: int) -> None:
        first = len(program.inputs) - registers
        self.program = program
        self.states = program.inputs[first:]
        self.after = program.outputs[len(program.outputs) - registers :]
        del program.inputs[first:], program.outputs[len(program.outputs) - registers :]
        self.number = {state.first: n for n, state in enumerate(self.states)}
        self.found: dict[int, Held] = {}
        self.taken: set[tuple[int, int]] = set()
        self.open: set[int] = set()

    def run(self) -> None:
        program = self.program
        for n in range(len(self.states)):
            self._place(n)
        for n, refs in enumerate(program.outputs):
            if any(
                self._state_of(int(owner)) is not None for owner in np.unique(self._owner(refs))
            ):
                program.outputs[n] = self._copy(refs, refs)
        self._rename()
        program.held = [self.found[n] for n in range(len(self.states))]
        for state, held in zip(self.states, program.held, strict=True):
            own = slice(state.first, state.first + state.size)
            at = held.elements[held.elements > 0]
            alive = np.flatnonzero(held.elements > 0) + state.first
            program.low[at] = np.minimum(program.low[at], program.low[alive])
            program.high[at] = np.maximum(program.high[at], program.high[alive])
            program.low[own] = program.high[own] = 0  # nothing lies there any more

    # --- places ----------------------------------------------------------------------------------

    def _owner(self, refs: Ints) -> Ints:
        """Number of the tensor of each element, -1 for constants."""
        program = self.program
        firsts = np.array([tensor.first for tensor in program.tensors])
        order = np.argsort(firsts)
        tensor = order[np.searchsorted(firsts[order], refs, side="right") - 1]
        return np.where(program.low[refs] != program.high[refs], tensor, -1)

    def _state_of(self, tensor: int) -> int | None:
        """The number of the register that a tensor is, None for others."""
        return None if tensor < 0 else self.number.get(self.program.tensors[tensor].first)

    def _place(self, n: int) -> Held:
        if n not in self.found:
            self.open.add(n)
            self.found[n] = self._shared(n) or self._own(n)
            self.open.discard(n)
        return self.found[n]

    def _shared(self, n: int) -> Held | None:
        """The place of a register that needs no copy; None where it does."""
        program, state = self.program, self.states[n]
        own = state.first + np.arange(state.size)
        alive = program.low[own] != program.high[own]
        refs = self.after[n]
        owners = self._owner(refs)[alive]
        if not alive.any() or (owners != owners[0]).any() or owners[0] < 0:
            return None
        if (program.fraction[refs] != program.fraction[own])[alive].any():
            return None
        if len(np.unique(refs[alive])) < alive.sum():
            return None
        elements, age = np.where(alive, refs, 0), 1
        before = self._state_of(int(owners[0]))
        if before is not None:
            if before in self.open:
                return None
            held = self._place(before)
            first = self.states[before].first
            elements = np.where(alive, held.elements[np.where(alive, refs - first, 0)], 0)
            age = held.age + 1
        key = (int(self._owner(elements[alive][:1])[0]), age)
        if age > OLDEST or key in self.taken:
            return None
        self.taken.add(key)
        return Held(elements, age)

    def _own(self, n: int) -> Held:
        """A place for a copy of what a register takes."""
        state = self.states[n]
        own = state.first + np.arange(state.size)
        return Held(self._copy(self.after[n], own), 1)

    def _copy(self, refs: Ints, like: Ints) -> Ints:
        """New elements with the intervals and fractions of ``like``, and kernels that copy."""
        program = self.program
        first = len(program.low)
        for name in ("low", "high", "fraction"):
            old = getattr(program, name)
            setattr(program, name, np.concatenate([old, old[like]]))
        program.tensors.append(Tensor(first, (len(refs),)))
        new = first + np.arange(len(refs))
        alive = program.low[new] != program.high[new]
        columns = [self._owner(refs), program.fraction[refs], program.fraction[new]]
        columns += [np.where(columns[0] < 0, program.low[refs], 0)]
        # What one body reads has one lane, so that one interval will do.
        kinds, where = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
        for kind in range(len(kinds)):
            rows = np.flatnonzero((where.ravel() == kind) & alive)
            if len(rows):
                self._copy_rows(refs[rows], new[rows], constant=bool(kinds[kind, 0] < 0))
        return np.where(alive, new, 0)

    def _copy_rows(self, refs: Ints, new: Ints, constant: bool) -> None:
        program, body = self.program, Body()
        low, high = int(program.low[refs].min()), int(program.high[refs].max())
        fraction = int(program.fraction[refs[0]])
        value = body.constant(low, fraction) if constant else body.load(0, low, high, fraction)
        to = int(program.fraction[new[0]])
        value = body.shr(value, value.fraction - to) if value.fraction > to else body.at(value, to)
        reads = refs[:, None] if not constant else refs[:, None][:, :0]
        program.kernels.append(Kernel(body, reads, new[:, None], [value], "register"))

    # --- names -----------------------------------------------------------------------------------

    def _rename(self) -> None:
        """Let kernels read registers where they lie."""
        program = self.program
        name = np.arange(len(program.low))
        age = np.zeros(len(program.low), dtype=np.int64)
        for n, state in enumerate(self.states):
            own = slice(state.first, state.first + state.size)
            name[own], age[own] = self.found[n].elements, self.found[n].age
        for kernel in program.kernels:
            ages = np.where(kernel.reads > 0, age[kernel.reads], 0)
            kernel.ages = ages.max(axis=0, initial=0)
            kernel.reads = name[kernel.reads]
