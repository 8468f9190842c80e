"""The page of an explanation: event displays with maps, the checks, the questions' tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.report.explain_figures import event_map, feature_bars, lines
from hairtrigger.report.page import number, whole

if TYPE_CHECKING:
    from hairtrigger.explain.case import Answer, Case, Events
    from hairtrigger.explain.study import MapRow
    from hairtrigger.runs.explain import Explanation

TEMPLATE = "explain.html.j2"
DISPLAYS = 6
METHOD_HEAD = (
    *("network", "method", "events", "seconds", "CPU seconds", "positive share on the signal"),
    *("shares add up to", "deletion gain", "insertion gain"),
)


def render(made: Explanation, case: Case, events: Events, values: NDArray[np.floating[Any]]) -> str:
    """The page as HTML text that needs no other file."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(cell=cell, whole=whole)
    return environment.get_template(TEMPLATE).render(
        e=made,
        headlines=headlines(made),
        displays=displays(made, case, events, values),
        curves=[curve_figure(made, n) for n in range(len(made.checks.curves))],
        sanity=sanity_figure(made),
        method_head=METHOD_HEAD,
        methods=[method_row(row) for row in (made.main, *made.checks.maps) if row.refused is None],
        agreement=[agreement_row(row) for row in made.checks.agreement],
        refused=[row for row in made.checks.maps if row.refused],
    )


def cell(value: Any) -> str:
    """A cell of a table: numbers with three digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 10):
        return whole(int(value))
    return number(float(value))


def headlines(made: Explanation) -> list[tuple[str, str, str]]:
    """Value, what it is, and "good", "bad" or "" for what is to be reached."""
    found: list[tuple[str, str, str]] = []
    complete = made.main.complete
    if complete is not None:
        mark = "good" if complete.share <= 0.01 else "bad"
        text = f"of the answer is missing in the sum of the shares ({made.main.method})"
        found.append((f"{100 * complete.share:.2g} %", text, mark))
    if made.main.seconds is not None:
        rate = (
            f"to explain {whole(made.main.events)} events of the {made.main.network} "
            f"({cell(made.main.cpu_seconds)} s of all processors)"
        )
        found.append((f"{made.main.seconds:.3g} s", rate, ""))
    for answer in made.answers:
        if answer.aim is None:
            continue
        name, least = answer.aim
        value = answer.figures.get(name)
        if value is not None:
            mark = "good" if value >= least else "bad"
            found.append((cell(value), f"{name.replace('_', ' ')} (aim {least:g})", mark))
    return found


def displays(
    made: Explanation, case: Case, events: Events, values: NDArray[np.floating[Any]]
) -> list[tuple[str, str]]:
    """Pictures of the first events and their captions."""
    found: list[tuple[str, str]] = []
    for n in range(min(DISPLAYS, len(values))):
        caption = events.captions[n] if n < len(events.captions) else f"event {n}"
        found.append((picture(case, events, values, n, caption), caption))
    return found


def picture(
    case: Case, events: Events, values: NDArray[np.floating[Any]], n: int, caption: str
) -> str:
    """One event: bars for a list of features, else a map of rows and places."""
    value = np.asarray(values[n])
    if value.ndim == 1:
        names = case.groups.names if len(case.groups) == len(value) else _numbered(len(value))
        return feature_bars(names, value.tolist(), caption)
    image = np.asarray(events.inputs[n])
    signal = None if events.signal is None else np.asarray(events.signal[n])
    while value.ndim > 2:
        value = value.sum(axis=-1)
        image = np.abs(image).max(axis=-1)
        signal = None if signal is None else signal.max(axis=-1)
    return event_map(image, value, signal, case.rows, caption)


def _numbered(count: int) -> list[str]:
    return [f"input {n}" for n in range(count)]


def curve_figure(made: Explanation, n: int) -> tuple[str, str]:
    """Deletion and insertion of one network's map."""
    curve = made.checks.curves[n]
    drawn = {
        "insertion, by the map": curve.insertion,
        "insertion, random": curve.random_insertion,
        "deletion, by the map": curve.deletion,
        "deletion, random": curve.random_deletion,
    }
    dashed = [name for name in drawn if name.endswith("random")]
    caption = (
        f"{curve.network}: areas insertion {curve.areas['insertion']:.3f} (random "
        f"{curve.areas['random_insertion']:.3f}), deletion {curve.areas['deletion']:.3f} (random "
        f"{curve.areas['random_deletion']:.3f})"
    )
    return lines(curve.shares, drawn, "share of the inputs", made.output, caption, dashed), caption


def sanity_figure(made: Explanation) -> tuple[str, str] | None:
    """Rank correlation with the first map while weights are shuffled from the top."""
    rows = [row for row in made.checks.sanity if row.rank is not None]
    if not rows:
        return None
    caption = (
        f"{rows[0].network}: rank correlation with its map while weights are shuffled from the top "
        f"down to: {', '.join(row.layer for row in rows)}"
    )
    ranks = {"rank correlation": [1.0, *(row.rank or 0.0 for row in rows)]}
    return lines(
        list(range(len(rows) + 1)),
        ranks,
        "layers shuffled, from the top",
        "rank correlation",
        caption,
    ), caption


def method_row(row: MapRow) -> tuple[str, ...]:
    """The cells of `METHOD_HEAD`."""
    complete = "" if row.complete is None else f"{100 * (1 - row.complete.share):.4g} %"
    gains = [
        "" if gain is None else spread(gain, "+")
        for gain in (row.deletion_gain, row.insertion_gain)
    ]
    numbers = (cell(row.seconds), cell(row.cpu_seconds), cell(row.on_signal))
    return (row.network, row.method, whole(row.events), *numbers, complete, *gains)


def markdown(made: Explanation, notes: str = "") -> str:
    """The tables as a page of the documentation."""
    parts = [
        f"# {made.title}: what the networks decide by",
        f"    {made.command}",
        f"Commit {made.commit or 'unknown'}, seed {made.seed}, {whole(made.events)} events: "
        f"{made.note}. Explained: {made.output}. Written by the command; numbers in the .json "
        "beside this file.",
    ]
    if notes:
        parts.append(notes.strip())
    for value, what, mark in headlines(made):
        parts.append(f"- **{value}** {what}{' (reached)' if mark == 'good' else ''}")
    for answer in made.answers:
        parts += [f"## {answer.question}", answer.note, table(answer)]
    parts += [
        "## Methods and networks",
        _table(
            METHOD_HEAD,
            [method_row(row) for row in (made.main, *made.checks.maps) if row.refused is None],
        ),
    ]
    refused = [
        f"- {row.network}, {row.method}: {row.refused}" for row in made.checks.maps if row.refused
    ]
    if refused:
        parts += ["Refused, with the reason:", "\n".join(refused)]
    parts += [
        "## Agreement of the networks",
        _table(
            ("networks", "method", "rank correlation", "overlap of the top 5", "events"),
            [agreement_row(row) for row in made.checks.agreement],
        ),
    ]
    parts += [
        "## With shuffled weights",
        _table(
            ("shuffled down to", "rank correlation"),
            [
                (row.layer, "no map left" if row.rank is None else f"{row.rank:.3f}")
                for row in made.checks.sanity
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def agreement_row(row: Any) -> tuple[str, ...]:
    pair = f"{row.first} and {row.second}"
    if row.agreement is None:
        return (pair, row.method, "no event to compare", "", "")
    alike = row.agreement
    return (pair, row.method, spread(alike.rank), spread(alike.overlap), whole(alike.events))


def spread(found: tuple[float, float | None], sign: str = "") -> str:
    """A mean with its standard error, where that is known."""
    value, error = found
    return f"{value:{sign}.3f}" + ("" if error is None else f" ± {error:.3f}")


def table(answer: Answer) -> str:
    return _table(answer.head, [tuple(cell(value) for value in row) for row in answer.rows])


def _table(head: Any, rows: Any) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
