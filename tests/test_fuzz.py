"""The fuzzer finds what is wrong, makes it small, saves it, sees it again; and finds no more."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hairtrigger import cli
from hairtrigger.errors import HairtriggerError, InputError, StorageError, UnsupportedError
from hairtrigger.fuzz import checks, run
from hairtrigger.fuzz.case import Case, Difference, compare, load, save
from hairtrigger.fuzz.checks import CHECKS, Check, one_by_one, outcomes
from hairtrigger.fuzz.generate import KINDS, random_events, random_graph
from hairtrigger.fuzz.run import Fuzzed, draw, fuzz, replay
from hairtrigger.fuzz.shrink import Shrinker
from hairtrigger.fuzz.smaller import STEPS, size
from hairtrigger.graph import Graph, emulate_codes, verify
from hairtrigger.graph.emulate import check_codes
from hairtrigger.graph.graph import rewrite
from hairtrigger.graph.linear import MaxPool
from hairtrigger.graph.ops import Compare, Quantize, Relu, State
from hairtrigger.graph.passes import remove_dead

QUICK = tuple(check for check in CHECKS if not check.slow)


def ops_of(folder: Path) -> list[str]:
    _, case = load(folder)
    return [type(node.op).__name__ for node in case.graph.nodes]


# --- what it draws -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_graph_and_events(kind: str) -> None:
    graph = random_graph(3, kind)
    assert random_graph(3, kind) == graph
    assert graph.pure or kind == "stateful"
    codes, again = random_events(graph, 20, 1), random_events(graph, 20, 1)
    for x, y, op in zip(codes, again, graph.input_ops, strict=True):
        np.testing.assert_array_equal(x, y)
        check_codes(op.type, x)


def test_images_have_one_format_for_each_channel() -> None:
    seen = 0
    for seed in range(20):
        for node in random_graph(seed, "image").nodes:
            if isinstance(node.op, Quantize) and len(node.type.shape) > 1:
                fraction = node.op.type.fraction.reshape(-1, node.type.shape[-1])
                assert (fraction == fraction[0]).all()
                seen += bool((fraction[0] != fraction[0, 0]).any())
    assert seen


def test_rounds_differ_in_interval_clock_and_gaps() -> None:
    rounds = [draw(1, n) for n in range(12)]
    assert {len({(c.interval, c.clock, c.gaps_seed) for c in cases}) for cases in rounds} == {1}
    assert len({cases[0].interval for cases in rounds}) > 5
    assert len({cases[0].clock for cases in rounds}) == 3
    assert {cases[0].gaps_seed is None for cases in rounds} == {True, False}
    assert rounds[0][0].graph != rounds[1][0].graph
    assert draw(1, 0)[3].graph == rounds[0][3].graph


# --- it finds nothing where nothing is wrong -----------------------------------------------------


def test_a_round_through_every_check_finds_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    done = fuzz(5, 4, tmp_path / "out", rounds=1, say=said.append)
    assert [f.problem for f in done.findings] == []
    assert done.rounds == 1
    assert done.graphs == run.GRAPHS
    assert set(done.ran) == {check.name for check in CHECKS}
    assert all(done.refused[name] < n for name, n in done.ran.items())
    assert "0 findings" in said[-1]
    assert not (tmp_path / "out").exists()


# --- it finds what is wrong ----------------------------------------------------------------------


def forgets_relu(graph: Graph) -> Graph:
    """A broken pass: a ReLU whose operand is signed goes, if anything reads it."""
    for place, node in enumerate(graph.nodes):
        (before,) = node.operands if len(node.operands) == 1 else (place,)
        if isinstance(node.op, Relu) and graph.nodes[before].type.signed.any():
            same = Quantize(graph.nodes[before].type)
            try:
                return remove_dead(rewrite(graph, {place: same}))
            except Exception:  # what reads it cannot take a sign
                continue
    return graph


def test_a_wrong_pass_is_found_shrunk_saved_and_replayed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(checks, "PASSES", (forgets_relu,))
    done = fuzz(5, 1, tmp_path, checks=QUICK, rounds=1)
    assert {f.check for f in done.findings} == {"passes"}
    finding = done.findings[0]
    assert "forgets_relu" in finding.problem
    assert ops_of(finding.folder) == ["Input", "Relu"]
    name, case = load(finding.folder)
    assert (name, case.events) == ("passes", 1)
    assert sum(np.count_nonzero(x) for x in case.codes) == 1
    assert sum(node.type.size for node in case.graph.nodes) == 2
    assert isinstance(replay(finding.folder), Difference)
    assert "--replay" in (finding.folder / "README.md").read_text()
    assert (finding.folder / "original-graph.txt").exists()
    monkeypatch.undo()
    assert replay(finding.folder) is None


def forgets_registers(case: Case) -> None:
    """An engine that starts from reset again in every fourth step."""
    starts = range(0, case.events, 3)
    parts = [emulate_codes(case.graph, [x[n : n + 3] for x in case.codes]) for n in starts]
    found = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    compare("forgetful", case.expected, found)


def test_a_fault_that_needs_several_steps_keeps_them(tmp_path: Path) -> None:
    check = Check("forgetful", one_by_one(forgets_registers))
    done = fuzz(5, 1, tmp_path, checks=[check], rounds=2)
    for finding in done.findings:
        _, case = load(finding.folder)
        assert case.events == 4
        assert sum(isinstance(node.op, State) for node in case.graph.nodes) == 1
        assert len(case.graph.nodes) <= 5, case.graph
    assert ["Input", "State"] in [sorted(ops_of(f.folder)) for f in done.findings]
    assert done.again > 0


def pools_wrong(case: Case) -> None:
    """An engine that pads a MaxPool with zeros."""
    replaced = {
        n: node
        for n, node in enumerate(case.graph.nodes)
        if isinstance(node.op, MaxPool) and np.any(node.op.padding)
    }
    for n, node in replaced.items():
        from dataclasses import replace

        whole = replace(case.graph, outputs=(*case.graph.outputs, n), output_names=tuple(
            f"o{k}" for k in range(len(case.graph.outputs) + 1)
        ))  # fmt: skip
        values = emulate_codes(whole, case.codes)[-1]
        if (values < 0).any():
            raise Difference(f"{type(node.op).__name__} is negative")


def test_a_wrong_op_is_left_alone_with_an_input(tmp_path: Path) -> None:
    done = fuzz(5, 2, tmp_path, checks=[Check("pools", one_by_one(pools_wrong))], rounds=4)
    assert [ops_of(f.folder) for f in done.findings] == [["Input", "MaxPool"]]


def crashes(case: Case) -> None:
    if any(isinstance(node.op, Compare) for node in case.graph.nodes):
        raise ZeroDivisionError("a bug")


def test_a_crash_is_a_finding_and_a_refusal_is_not(tmp_path: Path) -> None:
    def refuses(case: Case) -> None:
        raise UnsupportedError("not this one")

    both = [
        Check("crashes", one_by_one(crashes)),
        Check("refuses", one_by_one(refuses), refuses=True),
    ]
    done = fuzz(5, 3, tmp_path / "a", checks=both, rounds=3)
    assert {f.check for f in done.findings} == {"crashes"}
    assert all(len(ops_of(f.folder)) <= 4 for f in done.findings)
    assert done.findings[0].problem == "a bug"
    assert done.refused == {"refuses": done.ran["refuses"]}
    strict = [Check("refuses", one_by_one(refuses))]
    done = fuzz(5, 3, tmp_path / "b", checks=strict, rounds=1)
    assert len(done.findings) + done.again == run.GRAPHS
    assert all(len(ops_of(f.folder)) <= 3 for f in done.findings)


def test_ctrl_c_keeps_what_was_found(tmp_path: Path) -> None:
    calls = 0

    def interrupted(case: Case) -> None:
        nonlocal calls
        calls += 1
        if calls > run.GRAPHS + 5:
            raise KeyboardInterrupt
        raise Difference("wrong")

    done = fuzz(5, 1, tmp_path, checks=[Check("wrong", one_by_one(interrupted))], rounds=3)
    assert done.interrupted
    assert [f.problem for f in done.findings] == ["wrong"]
    assert done.findings[0].folder.is_dir()


def test_only_together_is_said(tmp_path: Path) -> None:
    """What fails beside others and not alone is saved as it is."""

    def run_all(cases, folder):
        return [Difference("crosstalk") if len(cases) > 1 else None for _ in cases]

    done = fuzz(5, 1, tmp_path, checks=[Check("batch", run_all)], rounds=1)
    assert done.findings[0].problem == "Only beside other Graphs of its round: crosstalk"


def test_a_batch_that_fails_as_a_whole_is_run_one_by_one(tmp_path: Path) -> None:
    cases = draw(1, 0)

    def run_all(some, folder):
        if cases[2] in some:
            raise ZeroDivisionError
        return [None] * len(some)

    found = outcomes(Check("whole", run_all), cases, tmp_path)
    assert [type(error).__name__ for error in found if error] == ["ZeroDivisionError"]
    assert found[2] is not None


# --- shrinking -----------------------------------------------------------------------------------


@settings(max_examples=12)
@given(st.integers(0, 10**6), st.sampled_from(KINDS))
def test_every_smaller_case_is_sound(seed: int, kind: str) -> None:
    graph = random_graph(seed, kind, max_ops=5)
    case = Case(graph, random_events(graph, 8, seed))
    tried = 0
    for step in STEPS:
        for _, make in zip(range(8), step(case), strict=False):
            try:
                small = make()
            except HairtriggerError:  # what was left does not fit together
                continue
            verify(small.graph)
            for op, x in zip(small.graph.input_ops, small.codes, strict=True):
                check_codes(op.type, x)
                assert len(x) == small.events
            assert len(small.expected) == len(small.graph.outputs)
            tried += size(small) < size(case)
    assert tried or len(graph.nodes) <= 2


def test_shrinking_stops_in_time_and_never_grows(tmp_path: Path) -> None:
    graph = random_graph(5, "any")
    case = Case(graph, random_events(graph, 60, 5))

    def wrong(case: Case) -> None:
        raise Difference("always", 0)

    check = Check("always", one_by_one(wrong))
    shrinker = Shrinker(check, case, Difference("always", 0), tmp_path)
    shrinker.work(0.0)
    assert shrinker.tried <= 2
    shrinker.work(60.0)
    assert size(shrinker.best) < size(case)
    assert [type(node.op).__name__ for node in shrinker.best.graph.nodes] == ["Input"]
    assert shrinker.best.events == 1


# --- reproducers and the command -----------------------------------------------------------------


def test_a_reproducer_is_read_as_it_was_written(tmp_path: Path) -> None:
    case = draw(7, 3)[4]
    save(tmp_path / "one", "verilog", "something", case, case)
    name, again = load(tmp_path / "one")
    assert name == "verilog"
    assert again.graph == case.graph
    assert (again.interval, again.clock, again.gaps_seed, again.seed) == (
        case.interval,
        case.clock,
        case.gaps_seed,
        case.seed,
    )
    for x, y in zip(again.codes, case.codes, strict=True):
        np.testing.assert_array_equal(x, y)


def test_what_is_no_reproducer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is no reproducer"):
        load(tmp_path)
    case = draw(7, 3)[0]
    save(tmp_path / "one", "nothing", "something", case, case)
    with pytest.raises(InputError, match="check 'nothing', which is not known"):
        replay(tmp_path / "one")
    (tmp_path / "one" / "graph.txt").write_text("graph")
    with pytest.raises(StorageError, match="is no reproducer"):
        load(tmp_path / "one")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        save(tmp_path / "file", "text", "something", case, case)
    with pytest.raises(InputError, match="minutes=0"):
        fuzz(0, 1, tmp_path)


def test_the_command_ends_with_one_where_it_found_something(tmp_path: Path, monkeypatch) -> None:
    wrong = [Check("text", one_by_one(crashes))]
    monkeypatch.setattr(run, "fuzz", partial(fuzz, checks=wrong, rounds=2))
    words = ["fuzz", "--seed", "3", "--out", str(tmp_path)]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 1
    assert str(tmp_path / "text-1") in result.stdout
    assert "seed 3" in result.stderr
    again = CliRunner().invoke(cli.app, ["fuzz", "--replay", str(tmp_path / "text-1")])
    assert again.exit_code == 0  # the real check of the text holds
    assert "It holds now." in again.stdout
    missing = CliRunner().invoke(cli.app, ["fuzz", "--replay", str(tmp_path / "none")])
    assert missing.exit_code == 1
    assert "is no reproducer" in missing.stderr


def test_the_command_ends_with_zero_or_130_where_it_did_not(tmp_path: Path, monkeypatch) -> None:
    for interrupted, code in ((False, 0), (True, cli.INTERRUPTED)):
        monkeypatch.setattr(run, "fuzz", lambda *_, i=interrupted, **__: Fuzzed(1, interrupted=i))
        assert CliRunner().invoke(cli.app, ["fuzz"]).exit_code == code
