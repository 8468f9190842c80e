"""Parts, delay models, clocks and times."""

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hairtrigger.errors import InputError
from hairtrigger.targets import (
    PARTS,
    Clock,
    DelayModel,
    Part,
    delay_model,
    find_part,
    parse_clock,
    parse_time,
)


def test_the_parts_of_the_studies_have_their_published_resources():
    part = find_part("xcvu13p")
    assert (part.lut, part.ff, part.dsp, part.bram18, part.uram) == (
        1_728_000,
        3_456_000,
        12_288,
        5_376,
        1_280,
    )
    assert find_part("xcku115").lut == 663_360


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_part_is_consistent(part: Part):
    # Every slice of these families has 8 LUTs and 16 flip-flops, every RAMB36 is two RAMB18.
    assert part.ff == 2 * part.lut
    assert part.lut % 8 == 0
    assert part.bram18 % 2 == 0
    # Until the 7 series, the package follows the device without a hyphen.
    hyphen = "" if part.yosys_family == "xc7" else "-"
    assert part.vivado_name.startswith(part.name + hyphen)
    assert part.source
    assert delay_model(part).register_overhead > 0
    assert part.yosys_family in ("xcup", "xcu", "xc7")


def test_part_names_are_tolerant_and_frozen():
    part = find_part("  XCVU13P ")
    assert part is find_part("vu13p")
    assert find_part("xcvu13p-fhgb2104-2L-e").vivado_name == "xcvu13p-fhgb2104-2L-e"
    assert find_part("XCVU13P-fhgb2104-2L-e").lut == part.lut
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.lut = 1


@pytest.mark.parametrize(
    ("name", "words"),
    [("xcvu31p", "did you mean xcvu13p"), ("ice40", "xcvu13p, xcvu9p"), ("", "not known")],
)
def test_an_unknown_part_is_named_with_the_closest(name: str, words: str):
    with pytest.raises(InputError, match=words):
        find_part(name)


def test_a_family_without_a_model_is_refused():
    other = dataclasses.replace(find_part("xcvu9p"), name="xc6vlx240t", yosys_family="xc6v")
    with pytest.raises(InputError, match="no delay model for xc6vlx240t"):
        delay_model(other)


def test_delays_grow_with_levels_width_and_fanout():
    model = delay_model(find_part("xcvu13p"))
    assert model.lut(0) == 0
    assert model.lut(3) == pytest.approx(3 * model.lut(1))
    assert model.lut(1, fanout=64) > model.lut(1) == model.lut(1, fanout=1)
    # A carry block more each 8 bits, and nothing in between.
    assert model.adder(1) == model.adder(8) < model.adder(9) == model.adder(16)
    assert model.adder(8) > model.lut(1)
    slower = delay_model(find_part("xcku115"))
    assert slower.adder(12) > model.adder(12)
    assert "estimate" in model.source


def test_a_level_of_logic_has_the_vendors_budget_for_its_speed_grade():
    for name, budgets in (
        ("xcvu3p", {"-1": 0.350, "-2": 0.300, "-2L": 0.300, "-3": 0.250}),
        ("xcku115", {"-1": 0.490, "-2": 0.425, "-3": 0.360}),
        ("xc7z020", {"-1": 0.575, "-2": 0.500, "-3": 0.425}),
    ):
        known = find_part("xcvu9p" if name == "xcvu3p" else name)
        for grade, budget in budgets.items():
            part = dataclasses.replace(known, vivado_name=f"{name}-ffvc1517{grade}-e")
            model = delay_model(part)
            assert model.lut(1) == pytest.approx(budget)
            assert model.uncertainty == delay_model(find_part("xcvu9p")).uncertainty
    odd = dataclasses.replace(find_part("xcvu9p"), vivado_name="xcvu9p-flga2104-7-e")
    with pytest.raises(InputError, match="no delay model for speed grade -7"):
        delay_model(odd)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_constant_of_a_delay_model_says_where_it_is_from(part: Part):
    model = delay_model(part)
    told = dict(model.sources)
    numbers = {
        field.name for field in dataclasses.fields(model) if field.name not in ("source", "sources")
    }
    assert set(told) == numbers
    for name, text in told.items():
        assert "assume" in text or any(
            source in text for source in ("rapidwright.io", "XilinxTclStore", "FloPoCo")
        ), name


def test_paths_in_published_reports_are_estimated_on_the_slow_side():
    # Data paths between registers, setup included, as Vivado gave them for xcvu3p-2: seven LUTs
    # whose first nets have 21, 2, 19, 4, 8, 2 and 2 readers; and LUT, 16 bits of carry chain,
    # LUT, 16 bits of carry chain, LUT, with 324 readers before the last.
    model = delay_model(find_part("xcvu13p"))
    edges = model.clock_to_q + model.setup
    luts = edges + sum(model.lut(1, n) for n in (21, 2, 19, 4, 8, 2, 2))
    chains = edges + 2 * model.adder(16) + model.lut(1, 324)
    assert 2.331 - 0.025 <= luts <= 1.4 * 2.331
    assert 1.846 + 0.061 <= chains <= 1.4 * 1.846


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: model.lut(-1),
        lambda model: model.lut(float("nan")),
        lambda model: model.adder(0),
        lambda model: model.route(0),
    ],
)
def test_delays_refuse_nonsense(ask: Callable[[DelayModel], float]):
    with pytest.raises(InputError):
        ask(delay_model(find_part("xcvu13p")))


@pytest.mark.parametrize(
    "text", ["320 MHz", "320MHz", "0.32 GHz", "3.125 ns", "3125ps", "320e6 Hz"]
)
def test_a_clock_is_read_from_frequency_or_period(text: str):
    clock = parse_clock(text)
    assert clock.mhz == pytest.approx(320, rel=1e-12)
    assert clock.period_ns == pytest.approx(3.125, rel=1e-12)
    assert str(clock) == "320 MHz"


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("25 ns", 25), ("32 us", 32_000), ("32 µs", 32_000), ("0.4us", 400)]
)
def test_a_time_is_read_in_nanoseconds(text: str, nanoseconds: float):
    assert parse_time(text) == pytest.approx(nanoseconds, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["320", "fast", "", "MHz", "-5 MHz", "0 MHz", "nan MHz", "1e99 GHz", "3 parsec", "5 NS"]
)
def test_a_clock_that_is_none_is_refused(text: str):
    with pytest.raises(InputError, match="clock"):
        parse_clock(text)


@pytest.mark.parametrize("text", ["25", "25 MHz", "0 ns", "-1 ns", "inf ns", "25 nss", None, 25])
def test_a_time_that_is_none_is_refused(text: object):
    with pytest.raises(InputError, match="time"):
        parse_time(text)


def test_clocks_in_a_time():
    assert parse_clock("320 MHz").clocks(25) == 8
    assert parse_clock("40 MHz").clocks(25) == 1
    assert parse_clock("163 MHz").clocks(25) == 4
    assert parse_clock("320 MHz").clocks(0) == 0
    with pytest.raises(InputError):
        parse_clock("320 MHz").clocks(-1)


@given(st.integers(1, 1000), st.floats(1, 1000))
def test_whole_numbers_of_periods_are_never_rounded_down(count: int, mhz: float):
    clock = Clock(1e3 / mhz, mhz)
    assert clock.clocks(count * clock.period_ns) == count
    assert clock.clocks((count - 0.5) * clock.period_ns) == count - 1
