"""Neurons that toss coins: probabilities by counting whole periods, registers by hand."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger import engines
from hairtrigger.backends import onnx
from hairtrigger.backends.rtl import simulate
from hairtrigger.errors import GraphError, UnsupportedError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import (
    Builder,
    Graph,
    TensorType,
    coins,
    emulate_codes,
    emulate_steps,
    gf2,
    machines,
    ops,
    parse,
    steps,
)
from hairtrigger.graph.coins import PRIMITIVE, Generator
from hairtrigger.graph.passes import optimise
from hairtrigger.rtl.design import compile_graph

FACTORS = {
    16: (3, 5, 17, 257),
    20: (3, 5, 11, 31, 41),
    24: (3, 5, 7, 13, 17, 241),
    31: (2147483647,),
    32: (3, 5, 17, 257, 65537),
    63: (7, 73, 127, 337, 92737, 649657),
    64: (3, 5, 17, 257, 641, 65537, 6700417),
}
"""Prime factors of 2**L - 1."""
INT3 = Fixed(True, 3, 1)


def network(
    generator: Generator, shape: tuple[int, ...] = (3,), form: Fixed = INT3, **options
) -> Graph:
    builder = Builder("coins")
    logits = builder.add(ops.Input("x", TensorType.uniform(shape, form)))
    return builder.build({"coin": coins.bernoulli(builder, logits, generator, **options)})


def words_of(generator: Generator, count: int, events: int) -> np.ndarray:
    """Words (events, count) by shifting integers bit by bit."""
    found = np.zeros((events, count), dtype=np.int64)
    for n, seed in enumerate(generator.seeds(1 if generator.shared else count)):
        register = [seed >> bit & 1 for bit in range(generator.length)]
        for event in range(events):
            found[event, n] = int("".join(map(str, register[: generator.bits])), 2)
            for _ in range(generator.leap):
                bit = 0
                for tap in generator.taps:
                    bit ^= register[tap - 1]
                register = [bit, *register[:-1]]
    if generator.shared:
        found[:] = found[:, :1]
    return found


@pytest.mark.parametrize("length", PRIMITIVE)
def test_every_register_runs_through_all_its_states(length: int) -> None:
    assert prod(FACTORS[length]) <= 2**length - 1
    rest = 2**length - 1
    for factor in FACTORS[length]:
        while rest % factor == 0:
            rest //= factor
    assert rest == 1
    matrix = gf2.shift_matrix(PRIMITIVE[length])
    assert gf2.period_reached(matrix, FACTORS[length])
    assert not gf2.period_reached(gf2.power(matrix, FACTORS[length][0]), FACTORS[length])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_coin_is_a_word_below_a_threshold(data: st.DataObject) -> None:
    length = data.draw(st.sampled_from([16, 24, 32, 64]))
    generator = Generator(
        PRIMITIVE[length],
        data.draw(st.integers(1, 8)),
        data.draw(st.sampled_from([1, 2, 4, 8, 16, 19, 32, 64])),
        data.draw(st.integers(1, (1 << length) - 1)),
        data.draw(st.booleans()),
    )
    fold = data.draw(st.sampled_from(["logit", "word", None]))
    graph = optimise(network(generator, fold=fold))
    codes = np.random.default_rng(0).integers(-16, 16, (300, 3))
    (found,) = emulate_codes(graph, [codes])
    p = np.rint(2.0**generator.bits / (1 + np.exp(-codes / 2)))
    np.testing.assert_array_equal(found, words_of(generator, 3, 300) < p)
    assert parse(str(graph)) == graph


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_over_a_period_the_probability_is_the_sigmoid_to_half_a_step(bits: int) -> None:
    """All 65535 words: each count is P * 2**(16 - bits), less the one for the state of zeros."""
    generator = Generator(PRIMITIVE[16], bits, 7, 5)
    graph = network(generator, (), Fixed(True, 3, 2))
    period = 2**16 - 1
    for code in (-32, -7, -1, 0, 3, 31):
        (found,) = emulate_codes(graph, [np.full(period, code)])
        p = 1 / (1 + np.exp(-code / 4))
        ones = int(found.sum())
        level = round(p * 2**bits)
        assert ones == level * 2 ** (16 - bits) - (level > 0)
        assert abs(ones / period - p) < 0.5 / 2**bits + 1e-4


def test_both_folds_and_many_formats_toss_the_same_coins() -> None:
    builder = Builder("mixed")
    t = TensorType((3,), [True, False, True], [2, 3, 0], [3, 0, 4])
    x = builder.add(ops.Input("x", t))
    generator = Generator()
    both = [
        coins.bernoulli(builder, x, generator, fold=fold, name=fold) for fold in ("logit", "word")
    ]
    graph = builder.build(both)
    low, high = t.range().at(t.lsb)
    rng = np.random.default_rng(1)
    codes = rng.integers(low, high, (5000, 3), endpoint=True)
    codes &= -(1 << (t.lsb - t.fraction))
    a, b = emulate_codes(graph, [codes])
    np.testing.assert_array_equal(a, b)
    assert 0.2 < a.mean() < 0.8


def test_draws_are_averaged_and_independent() -> None:
    graph = network(Generator(), (2,), draws=4)
    codes = np.zeros((20_000, 2), dtype=np.int64)
    (found,) = emulate_codes(graph, [codes])
    mean = found / 2.0 ** graph.output_types[0].lsb
    assert sorted(set(mean.ravel().tolist())) == [0, 0.25, 0.5, 0.75, 1]
    # The variance of the mean of four fair coins is 1/16; its own error is about 0.0005.
    np.testing.assert_allclose(mean.var(axis=0), 1 / 16, atol=0.002)


def test_shared_draws_are_of_registers_of_their_own() -> None:
    (found,) = emulate_codes(
        network(Generator(shared=True), (2,), draws=2), [np.zeros((999, 2), int)]
    )
    assert len(set(found.ravel().tolist())) == 3
    np.testing.assert_array_equal(found[:, 0], found[:, 1])


def test_words_shifted_by_one_are_correlated_and_leaping_ends_it() -> None:
    """Half of the bits' weight stays: correlation 1/2 at lag 1; 8 new bits leave none."""
    for leap, expected in ((1, 0.5), (8, 0.0)):
        builder = Builder()
        word = coins.words(builder, Generator(PRIMITIVE[32], 8, leap, 77), ())
        (found,), _ = emulate_steps(builder.build([word]), (), steps=50_000)
        measured = np.corrcoef(found[:-1], found[1:])[0, 1]
        assert abs(measured - expected) < 0.02


def test_seeds_make_each_pair_of_neurons_independent() -> None:
    for generator in (Generator(), Generator(PRIMITIVE[63], 8, 8), Generator(PRIMITIVE[16], 4, 4)):
        seeds = generator.seeds(24)
        assert len(set(seeds)) == 24
        assert seeds[0] == generator.seed
        assert coins.dependent_pairs(generator, 24) == []
    with pytest.raises(GraphError, match="cannot be independent in 16 bits"):
        Generator(PRIMITIVE[16], 9, 8).seeds(2)
    with pytest.raises(GraphError, match="not independent in pairs"):
        Generator((4, 3), 2, 2).seeds(8)


def test_dependence_is_found_where_it_is() -> None:
    """Words that overlap an event later share bits; those that leap over them do not."""
    assert (0, 0) in coins.dependent_pairs(Generator(PRIMITIVE[32], 8, 1), 2, later=1)
    assert (0, 0) not in coins.dependent_pairs(Generator(PRIMITIVE[32], 8, 8), 2, later=1)


def test_pairs_are_independent_over_a_whole_period() -> None:
    """Counted: all 16 pairs of 2-bit words come 4096 times (the state of zeros is missing once)."""
    builder = Builder()
    word = coins.words(builder, Generator(PRIMITIVE[16], 2, 4), (3,))
    (found,), _ = emulate_steps(builder.build([word]), (), steps=2**16 - 1)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        counts = np.bincount(4 * found[:, a] + found[:, b], minlength=16)
        assert counts.tolist() == [4095, *[4096] * 15]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Generator((4, 4)),
        lambda: Generator((16, 15, 13, 4), bits=17),
        lambda: Generator(bits=0),
        lambda: Generator(leap=0),
        lambda: Generator(leap=15),
        lambda: Generator(seed=0),
        lambda: Generator(seed=1 << 32),
        lambda: network(Generator(), draws=3),
        lambda: network(Generator(), form=Fixed(True, 9, 9)),
    ],
)
def test_what_makes_no_coin_is_refused(make) -> None:
    with pytest.raises(GraphError):
        make()


def test_the_likelier_side() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((2,), INT3)))
    graph = builder.build([coins.likelier(builder, x)])
    assert emulate_codes(graph, [np.array([[-1, 0], [1, -16]])])[0].tolist() == [[0, 1], [1, 0]]
    assert graph.pure


# --- powers instead of steps ---------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 200), st.integers(1, 9))
def test_powers_give_what_steps_give(seed: int, count: int, chunk: int) -> None:
    rng = np.random.default_rng(seed)
    length = int(rng.integers(1, 12))
    matrix = rng.integers(0, 2, (length, length))
    first = rng.integers(0, 2, (2, length))
    found = gf2.orbit(first, matrix, count)
    state = first
    for row in found:
        np.testing.assert_array_equal(row, state)
        state = state @ matrix % 2
    np.testing.assert_array_equal(gf2.multiply(first, gf2.power(matrix, count)), state)
    again = gf2.orbit(found[min(chunk, count - 1)], matrix, 3)
    np.testing.assert_array_equal(again[:1], found[min(chunk, count - 1)][None])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_rank_and_solution_by_trying_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 2, (int(rng.integers(1, 6)), int(rng.integers(1, 6))))
    sums = np.arange(1 << len(rows))[:, None] >> np.arange(len(rows)) & 1
    assert len({tuple(row) for row in (sums @ rows % 2).tolist()}) == 2 ** gf2.rank(rows)
    if rows.shape[0] == rows.shape[1] == gf2.rank(rows):
        target = rng.integers(0, 2, len(rows))
        np.testing.assert_array_equal(gf2.solve(rows, target) @ rows % 2, target)


def test_only_shifted_bits_are_worked_out_by_powers() -> None:
    graph = network(Generator())
    loops = [g.places for g in steps.groups(graph) if g.loop]
    assert [steps.shifted_bits(graph, places) is not None for places in loops] == [True]
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((), INT3)))
    total = builder.state("total", TensorType.uniform((), INT3))
    more = builder.add(ops.Quantize(TensorType.uniform((), INT3)), builder.add(ops.Add(), total, x))
    builder.update(total, more)
    graph = builder.build([total])
    (places,) = (g.places for g in steps.groups(graph) if g.loop)
    assert steps.shifted_bits(graph, places) is None


def test_steps_go_on_where_they_stopped() -> None:
    graph = network(Generator(PRIMITIVE[64], 8, 16, 12345), draws=2)
    codes = np.random.default_rng(3).integers(-16, 16, (100, 3))
    whole, end = emulate_steps(graph, [codes])
    held, parts = None, []
    for start, stop in ((0, 0), (0, 1), (1, 33), (33, 100)):
        (part,), held = emulate_steps(graph, [codes[start:stop]], held)
        parts.append(part)
    np.testing.assert_array_equal(np.concatenate(parts), whole[0])
    for a, b in zip(held or (), end, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_single_register_is_that_of_machines() -> None:
    builder = Builder()
    word = coins.words(builder, Generator((16, 14, 13, 11), 4, 4, 0xACE1), ())
    bits = machines.lfsr(builder, (16, 14, 13, 11), 0xACE1, "other", 4)
    (a, b), _ = emulate_steps(builder.build([word, bits]), (), steps=50)
    np.testing.assert_array_equal(a, b[:, :4] @ [8, 4, 2, 1])


# --- engines -------------------------------------------------------------------------------------


def test_onnx_refuses_coins_and_the_emulator_takes_over() -> None:
    graph = network(Generator())
    with pytest.raises(UnsupportedError, match="keeps nothing"):
        onnx.to_onnx(graph)
    ran = engines.run(graph, np.zeros((5, 3)))
    assert ran.engine == engines.EMULATOR


@pytest.mark.parametrize(
    ("events", "options"),
    [
        (5000, {"fold": "word"}),
        (5000, {"draws": 2}),
        pytest.param(100_000, {}, marks=pytest.mark.slow),
    ],
)
def test_the_chip_tosses_the_same_coins(events: int, options: dict) -> None:
    """Event by event, the words themselves included, with gaps between events and without."""
    builder = Builder("tossed")
    x = builder.add(ops.Input("x", TensorType.uniform((4,), INT3)))
    generator = Generator()
    coin = coins.bernoulli(builder, x, generator, **options)
    states = [n for n, _ in builder.updates.items()]
    graph = builder.build({"coin": coin, "register": states[0]})
    codes = np.random.default_rng(2).integers(-16, 16, (events, 4))
    design = compile_graph(graph, clock="320 MHz")
    expected = emulate_codes(graph, [codes])
    for gaps in (None, 5):
        found = simulate(design, [codes], gaps_seed=gaps)
        assert found.latency == design.latency
        for a, b in zip(found.codes, expected, strict=True):
            np.testing.assert_array_equal(a, b)
