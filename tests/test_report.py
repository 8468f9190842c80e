"""The summary and the page: every number once, nothing from outside, bad files refused."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from example_summary import example, pictures
from hairtrigger.detectors import rpc
from hairtrigger.errors import StorageError
from hairtrigger.records import from_json, problems, read_record, to_json
from hairtrigger.report import figures, page
from hairtrigger.report import summary as s

GRAPH = "graph muon {\n  %0 = <Input>\n}"


@pytest.fixture(scope="module")
def events() -> rpc.RpcEvents:
    return rpc.simulate(4, seed=3, with_signal=True)


@pytest.fixture(scope="module")
def html(events) -> str:
    return page.render(example(events), GRAPH, pictures(events))


class Outside(HTMLParser):
    """Collects what a browser would fetch, and whether tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)
        for name, value in attrs:
            loads = name in ("src", "srcset", "href", "xlink:href", "data", "action")
            if loads and not (value or "").startswith(("#", "data:")):
                self.found.append(f"{tag} {name}={value}")
        if tag in ("script", "iframe", "link", "object", "embed"):
            self.found.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            raise AssertionError(f"{tag} closes another element")


def test_the_page_is_whole_and_asks_nothing_of_the_network(html):
    parser = Outside()
    parser.feed(html)
    assert parser.found == []
    assert parser.open == []
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert len(html) < 2_000_000
    # The namespaces of SVG are names, not addresses to fetch.
    addresses = set(re.findall(r"https?://[^\"'< ]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_page_shows_what_the_summary_says(html):
    for text in (
        "Muon trigger: demo",
        "hairtrigger run muon --preset demo",
        "abc1234",
        "65.625 ns",
        "3.125 ns",
        "31\u202f234 LUT",
        "1.81\u202f%",
        "20\u202f144",
        "LUT1 to LUT6, inverters apart",
        "no events",
        "1 min 46 s",
        "&lt;Input&gt;",
    ):
        assert text in html or text in re.sub(r"\s+", " ", html), text
    assert html.count("<svg") == 4 + 3 + 2
    assert 'class="tile good"' in html


def test_the_page_depends_on_nothing_but_summary_pictures_and_graph(events, html, tmp_path):
    summary = example(events)
    (tmp_path / "summary.json").write_text(s.summary_text(summary))
    back = s.read_summary(tmp_path / "summary.json")
    assert back == summary
    assert page.render(back, GRAPH, pictures(events)) == html


def test_a_failed_proof_is_seen(events):
    summary = dataclasses.replace(example(), evaluation=None)
    engines = (dataclasses.replace(summary.proof.engines[0], differences=3),)
    proof = dataclasses.replace(summary.proof, passed=False, engines=engines)
    text = page.render(dataclasses.replace(summary, proof=proof), "")
    assert "tile bad" in text
    assert "3 differences" in text


def test_a_users_own_model_has_a_page_without_evaluation():
    summary = dataclasses.replace(example(), evaluation=None)
    text = page.render(summary, "graph {}")
    assert "What the networks do" not in text
    assert "The same integers everywhere" in text
    assert s.summary_problems(to_json(summary)) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda d: d.update(schema="hairtrigger-summary/0"), "schema is 'hairtrigger-summary/0'"),
        (lambda d: d.pop("chip"), "chip is missing"),
        (lambda d: d.update(extra=1), "extra is unknown"),
        (lambda d: d["chip"].update(latency_clocks="21"), 'chip.latency_clocks is "21", not int'),
        (lambda d: d["chip"].update(latency_clocks=21.5), "chip.latency_clocks is 21.5, not int"),
        (lambda d: d["chip"].update(latency_ns=None), "chip.latency_ns is null, not float"),
        (lambda d: d["chip"].update(latency_ns=True), "chip.latency_ns is true, not float"),
        (lambda d: d["proof"].update(engines={}), "proof.engines is dict, not a list"),
        (lambda d: d["proof"]["engines"][1].pop("events"), "proof.engines[1].events is missing"),
        (lambda d: d["origin"].update(commit=5), "origin.commit is 5"),
        (lambda d: d["versions"].update(numpy=2), "versions.numpy is 2, not str"),
        (
            lambda d: d["evaluation"]["confusion"][0]["counts"][0].__setitem__(0, 0.5),
            "evaluation.confusion[0].counts[0][0] is 0.5, not int",
        ),
    ],
)
def test_a_summary_that_breaks_the_schema_is_told_where(events, tmp_path, damage, problem):
    found = to_json(example(events))
    assert s.summary_problems(found) == []
    damage(found)
    assert any(problem in line for line in s.summary_problems(found))
    (tmp_path / "summary.json").write_text(json.dumps(found))
    with pytest.raises(StorageError):
        s.read_summary(tmp_path / "summary.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}', "\xff"])
def test_a_foreign_or_truncated_summary_is_refused(tmp_path, text):
    (tmp_path / "summary.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StorageError):
        s.read_summary(tmp_path / "summary.json")


def test_a_missing_summary_names_the_way_out(tmp_path):
    with pytest.raises(StorageError, match="folder of a finished run"):
        s.read_summary(tmp_path / "summary.json")


def test_no_nan_gets_into_a_summary():
    chip = dataclasses.replace(example().chip, latency_ns=float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        s.summary_text(dataclasses.replace(example(), chip=chip))


def test_records_are_read_back_and_damage_is_a_storage_error(tmp_path):
    chip = example().chip
    (tmp_path / "chip.json").write_text(json.dumps(to_json(chip)))
    assert read_record(s.Chip, tmp_path / "chip.json") == chip
    (tmp_path / "chip.json").write_text("{}")
    with pytest.raises(StorageError, match="name is missing"):
        read_record(s.Chip, tmp_path / "chip.json")
    with pytest.raises(StorageError, match="cannot be read"):
        read_record(s.Chip, tmp_path / "none.json")


def test_whole_numbers_may_stand_for_real_ones_but_not_the_other_way():
    assert problems(s.StageTime, {"name": "a", "title": "b", "seconds": 3}) == []
    read = from_json(s.StageTime, {"name": "a", "title": "b", "seconds": 3})
    assert isinstance(read.seconds, float)
    with pytest.raises(ValueError, match="name is 1, not str"):
        from_json(s.StageTime, {"name": 1, "title": "b", "seconds": 3})


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1.30412, "1.30"), (65.625, "65.6"), (12345.6, "12346"), (0.0123456, "0.0123")],
)
def test_numbers_are_readable(value, text):
    assert page.number(value) == text


def test_estimates_are_as_fine_as_their_interval():
    assert page.estimate(s.Estimate(0.88312, 0.87912, 0.88712, 9000)) == "0.8831 (0.8791 to 0.8871)"
    assert page.estimate(s.Estimate(1.4, 1.1, 1.8, 20)) == "1.40 (1.10 to 1.80)"
    assert page.estimate(s.Estimate(1.0, 1.0, 1.0, 4)) == "1.000 (1.000 to 1.000)"
    assert page.estimate(s.Estimate(None, None, None, 0)) == "no events"
    assert page.estimate(s.Estimate(None, 250_000, None, 9)) == "over 250000"


def test_wall_times():
    assert [page.wall(t) for t in (0.44, 12.4, 59.6, 200.2)] == [
        "0.4 s",
        "12 s",
        "60 s",
        "3 min 20 s",
    ]


def test_an_event_display_shows_all_hits_of_the_muons(events):
    image = np.zeros((9, 384), np.uint8)
    image[:, 10] = 1
    image[3, 300] = 1
    first, end = figures._window(image)
    assert first <= 10 < 300 < end <= 384
    assert figures._window(np.zeros((9, 384), np.uint8)) == (144, 240)
    image[:, 383] = image[:, 0] = 1
    assert figures._window(image) == (0, 384)


def test_figures_are_the_same_bytes_for_the_same_numbers(events):
    curves = [c for c in example().evaluation.turn_on if c.threshold_gev == 10]
    assert figures.turn_on(curves) == figures.turn_on(curves)


def test_a_model_without_events_and_a_training_of_one_epoch_can_be_drawn():
    empty = tuple(s.Estimate(None, None, None, 0) for _ in range(2))
    assert "<svg" in figures.turn_on([s.Curve("m", 10.0, (3.0, 10.0, 30.0), empty)])
    assert "<svg" in figures.resolution([s.Profile("m", (3.0, 10.0, 30.0), empty)])
    assert "<svg" in figures.training([s.Training("m", (1.0,), (-0.5,), 1.0)])


def test_many_stages_alike_stand_together():
    few = [s.StageTime(f"t{n}", f"Tune: {n}", 1.0) for n in range(6)]
    many = [s.StageTime(f"s{n}", f"Train: {n}", 2.0) for n in range(7)]
    found = page.times([*few, *many, s.StageTime("teacher", "Train the teacher", 5.0)])
    lines = [(f"Tune: {n}", 1.0) for n in range(6)]
    assert found == [*lines, ("Train: 7 times", 14.0), ("Train the teacher", 5.0)]
