"""Optuna's journal of trials in a file, so that what was cut goes on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hairtrigger.errors import ToolError

JOURNAL = "trials.log"
STARTUP = 8
"""Trials drawn at random before the sampler learns from them."""


def open_journal(journal: Path, name: str, seed: int, directions: Sequence[str]) -> Any:
    """The Optuna study in the journal; ``directions`` of its values: "maximize" or "minimize".

    What was being tried when it was cut is tried next. Raises `ToolError` without Optuna.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise ToolError(
            f"Optuna cannot be imported: {error}", "pip install 'hairtrigger[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    held = optuna.create_study(
        storage=storage, study_name=name, directions=list(directions), load_if_exists=True
    )
    # Random numbers go on where they were, rather than suggest the first settings again.
    drawn = len(held.get_trials(deepcopy=False))
    held.sampler = optuna.samplers.TPESampler(seed=1000 * seed + drawn, n_startup_trials=STARTUP)
    for trial in held.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        held.enqueue_trial(trial.params)
        held.tell(trial.number, state=failed())
    return held


def failed() -> Any:
    """The state of a trial that has no values."""
    from optuna.trial import TrialState

    return TrialState.FAIL
