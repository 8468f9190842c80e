"""The figure and the page of a simplification: what goes, what it saves, what it costs."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hairtrigger.report.figures import COLOURS, MARKERS, draw
from hairtrigger.report.page import estimate
from hairtrigger.report.summary import Estimate

if TYPE_CHECKING:
    from hairtrigger.explain.bits import Worth
    from hairtrigger.runs.simplified import Simpler, Simplified
    from hairtrigger.runs.surrogate import Readable

SHOWN = 40
"""Bits that the page shows of each end of their table."""
STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:right;"
    "border-bottom:1px solid #8884}td:first-child,th:first-child{text-align:left}"
    "svg{max-width:100%;height:auto}"
)


def draw_curve(made: Simplified) -> str:
    """The score of each point against its LUTs; hollow where LUTs are estimated."""

    kinds = _kinds(made.points)

    def paint(axes: Any) -> None:
        for place, point in enumerate(made.points):
            score, number = point.scores[made.score], kinds.index(_kind(point))
            if None in (score.value, score.low, score.high):
                continue
            at = (point.lut / 1000, score.value)
            axes.errorbar(
                *at,
                [[score.value - score.low], [score.high - score.value]],
                marker=MARKERS[number % len(MARKERS)],
                color=COLOURS[number % len(COLOURS)],
                markerfacecolor=None if point.chip else "none",
                linestyle="none",
                label=f"{place}: {point.name}",
            )
            # Numbers, as names would lie on one another; every other one below.
            axes.annotate(
                str(place),
                at,
                xytext=(3, -9 if place % 2 else 4),
                textcoords="offset points",
                fontsize=7,
            )
        real = all(p.chip for p in made.points)
        axes.set_xlabel("1000 LUT" if real else "1000 LUT (hollow: estimate)")
        axes.set_ylabel(made.score)
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))

    return draw("simplify", f"{made.score} against LUT of simplified students", 8.4, 4.2, paint)


def _kind(point: Simpler) -> str:
    return " ".join(dict.fromkeys(step.partition("=")[0] for step in point.steps))


def _kinds(points: Sequence[Simpler]) -> list[str]:
    return list(dict.fromkeys(map(_kind, points)))


def rows_of(made: Simplified) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of points; shares are of the first point's."""
    scores = list(made.points[0].scores)
    heads = ["point", "inputs gone", "channels gone", "bits cut", "LUT", "LUT saved"]
    judged = [key for key in scores if key == made.score or key.startswith(f"{made.score}_")]
    heads += ["ns", *scores, *(f"{key} lost" for key in judged)]
    first = made.points[0]
    rows = []
    for p in made.points:
        lut = f"{p.lut:,.0f}" if p.chip else f"{p.lut:,.0f} (estimate)"
        rows.append(
            [
                p.name,
                ", ".join(map(str, p.inputs)) or "none",
                f"{sum(len(at) for at in p.channels.values())}",
                f"{p.bits}",
                lut,
                f"{100 * (1 - p.lut / first.lut):.1f} %" if first.lut else "",
                f"{p.chip.latency_ns:.5g}" if p.chip else "",
                *(estimate(p.scores[key]) for key in scores),
                *(_lost(first.scores[key], p.scores[key]) for key in judged),
            ]
        )
    return heads, rows


def _lost(first: Estimate, other: Estimate) -> str:
    if first.value is None or other.value is None:
        return ""
    return f"{first.value - other.value:+.4f}"


def bit_rows(table: Sequence[Worth]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of bits, those worth least for a LUT first."""
    heads = ["read by", "node", "channel", "bit", "LUT saved (estimate)", "harm"]
    rows = [
        [
            w.label,
            f"%{w.cut.place}",
            "all" if w.cut.channel is None else f"{w.cut.channel}",
            "lowest" if w.cut.end == "low" else "highest",
            f"{w.lut:,.0f}",
            f"{w.harm:.4f}",
        ]
        for w in table
    ]
    return heads, rows


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def page(made: Simplified) -> str:
    """One page of HTML that needs no other file."""
    title = f"{made.study}, {made.preset}: simplified by importance"
    samples = ", ".join(f"{count:,} events of {name}" for name, count in made.samples.items())
    more = "" if made.commit is None else f" Commit {made.commit}."
    said = (
        f"Inputs chosen by {made.method}, channels by occlusion, each for the LUTs it takes "
        f"(an estimate); {made.epochs} epoch(s) of training after each step but bits. "
        f"Judged on {samples}; intervals of 95 %. Seed {made.seed}.{more}"
    )
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>",
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1><p>{html.escape(said)}</p>",
        draw_curve(made),
        "<h2>Points</h2>",
        _table(*rows_of(made)),
    ]
    if made.bits:
        heads, rows = bit_rows(made.bits)
        shown = rows if len(rows) <= 2 * SHOWN else [*rows[:SHOWN], *rows[-SHOWN:]]
        parts += [
            "<h2>What a bit is worth</h2><p>Harm: mean absolute change of the first output, in its "
            "standard deviation, where this bit alone is cut and nothing is trained.</p>",
            _table(heads, shown),
        ]
    if made.surrogate is not None:
        parts += [
            f"<h2>The student as a {made.surrogate.kind} of {made.surrogate.size} leaves or nodes"
            "</h2>",
            _table(*surrogate_rows(made.surrogate)),
            f"<pre>{html.escape(made.surrogate.text)}</pre>",
        ]
    return "\n".join(parts) + "\n"


def surrogate_rows(found: Readable) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of how faithful a surrogate is."""
    rows = [[f"equal decisions, {name}", estimate(e)] for name, e in found.agreement.items()]
    explained = "" if found.explained is None else f"{found.explained:.4f}"
    rows += [
        ["variance explained, muons", explained],
        ["efficiency of the student", estimate(found.network_efficiency)],
        ["efficiency at no more fakes", estimate(found.efficiency)],
        ["fakes of the student", estimate(found.network_fakes)],
        ["fakes", estimate(found.fakes)],
        ["reads", ", ".join(found.used)],
    ]
    return ["figure", "value"], rows


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return f"<table>{line('th', heads)}{''.join(line('td', row) for row in rows)}</table>"
