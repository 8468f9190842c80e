"""Clusters and sums of trigger primitives against brute force, scores and tuning."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import lartpc
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.detectors.lartpc_noise import pedestals
from hairtrigger.errors import InputError
from hairtrigger.studies import supernova_baseline as baseline
from hairtrigger.studies.supernova_baseline import Clusters, Sums
from hairtrigger.studies.supernova_clusters import (
    CLUSTER,
    Adjacent,
    Dbscan,
    clusters,
    label,
    largest_in_window,
)
from hairtrigger.studies.supernova_hits import (
    HIT,
    AbsRunningSum,
    State,
    Threshold,
    begin,
    find_in_stream,
    finish,
    into_images,
    settle,
)
from hairtrigger.studies.supernova_metrics import cut_at, pass_rate

PEDESTAL = 3660
WIRES = 480


def make_hits(*rows):
    """Hits from (image, wire, start, length, sum)."""
    hits = np.zeros(len(rows), HIT)
    for hit, (image, wire, start, length, total) in zip(hits, rows, strict=True):
        hit["image"], hit["wire"], hit["start"] = image, wire, start
        hit["length"], hit["sum"] = length, total
    return hits


def random_hits(seed, count, images, wires, ticks):
    rng = np.random.default_rng(seed)
    hits = np.zeros(count, HIT)
    hits["image"], hits["wire"] = rng.integers(0, images, count), rng.integers(0, wires, count)
    hits["start"], hits["length"] = rng.integers(0, ticks, count), rng.integers(1, 12, count)
    hits["sum"] = rng.integers(60, 3000, count)
    return hits


def flood(count, linked):
    """Components by flooding a matrix of links, numbered by their first member."""
    labels = [-1] * count
    for first in range(count):
        if labels[first] >= 0:
            continue
        stack = [first]
        while stack:
            one = stack.pop()
            if labels[one] < 0:
                labels[one] = first
                stack += [other for other in range(count) if linked[one][other]]
    return labels


def adjacent_by_ticks(hits, wires, gap):
    """Links from the sets of ticks themselves: each hit widened by the gap on one side."""
    count = len(hits)
    linked = [[False] * count for _ in range(count)]
    for i, a in enumerate(hits):
        mine = set(range(a["start"], a["start"] + a["length"] + gap + 1))
        for j, b in enumerate(hits):
            begins = int(b["start"])
            near = a["image"] == b["image"] and abs(int(a["wire"]) - int(b["wire"])) <= wires
            if near and begins in mine and begins >= a["start"]:
                linked[i][j] = linked[j][i] = True
    return flood(count, linked)


def dbscan_by_definition(hits, eps, minimum, units):
    count = len(hits)
    distance = np.full((count, count), np.inf)
    for i in range(count):
        for j in range(count):
            if hits[i]["image"] == hits[j]["image"]:
                wire = int(hits[i]["wire"]) - int(hits[j]["wire"])
                tick = units * (int(hits[i]["start"]) - int(hits[j]["start"]))
                distance[i, j] = round(np.hypot(wire, tick), 9)
    near = distance <= eps
    core = near.sum(axis=1) >= minimum
    groups = flood(count, near & core[:, None] & core[None, :])
    found = [groups[i] if core[i] else -1 for i in range(count)]
    for i in range(count):
        if not core[i]:
            cores = [(distance[i, j], j) for j in range(count) if core[j] and near[i, j]]
            if cores:
                found[i] = groups[min(cores)[1]]
    return found


def renumbered(labels):
    """The same groups, each numbered by its first member."""
    return [-1 if x == -1 else labels.index(x) for x in labels]


def test_adjacent_by_hand():
    hits = make_hits(
        (0, 10, 5, 4, 100),  # ticks 5 to 8
        (0, 11, 12, 2, 50),  # three idle ticks after it
        (0, 13, 12, 2, 70),  # two wires on
        (1, 10, 5, 4, 30),  # another image
    )
    assert label(hits, Adjacent(1, 2)).tolist() == [0, 1, 2, 3]
    assert label(hits, Adjacent(1, 3)).tolist() == [0, 0, 2, 3]
    assert label(hits, Adjacent(2, 3)).tolist() == [0, 0, 0, 3]
    found = clusters(hits, label(hits, Adjacent(2, 3)))
    assert found.dtype == CLUSTER
    assert found.tolist() == [(0, 3, 220, 10, 4, 5, 9), (1, 1, 30, 10, 1, 5, 4)]


def test_dbscan_by_hand():
    # Three at one place are cores; with two of them so is one 10 wires off, but not one 11 wires
    # from that. 31 ticks are 9.92 units, 32 are 10.24.
    hits = make_hits(
        (0, 20, 10, 3, 1),
        (0, 10, 10, 3, 10),
        (0, 10, 10, 3, 100),
        (0, 10, 11, 3, 1000),
        (0, 31, 10, 3, 7),
        (0, 10, 41, 3, 10_000),
        (0, 0, 43, 3, 7),
        (1, 10, 10, 3, 5),
    )
    labels = label(hits, Dbscan())
    assert labels.tolist() == [0, 0, 0, 0, -1, 0, -1, -1]
    assert clusters(hits, labels)["sum"].tolist() == [11_111]
    assert label(hits, Dbscan(minimum=1)).tolist()[-1] == 7


def test_exactly_eps_counts():
    # 6 wires and 25 ticks of 0.32 are 6 and 8: a distance of exactly 10.
    hits = make_hits((0, 0, 0, 1, 1), (0, 6, 25, 1, 1), (0, 6, 25, 1, 1))
    assert label(hits, Dbscan()).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("wire", "owner"), [(12, 0), (13, 5), (11, 0), (21, 5)])
def test_a_border_hit_goes_to_its_nearest_core(wire, owner):
    # With eps 8 and 4 hits, one at 4 and one at 20 are the ends of two clusters. A hit at 12 is as
    # far from both: it goes to the first.
    left = [*[(0, 0, 0, 1, 1)] * 4, (0, 4, 0, 1, 1)]
    right = [(0, 20, 0, 1, 1), *[(0, 24, 0, 1, 1)] * 4]
    labels = label(make_hits(*left, *right, (0, wire, 0, 1, 1)), Dbscan(8.0, 4))
    assert labels.tolist() == [0] * 5 + [5] * 5 + [owner]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(0, 60),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 8),
)
def test_adjacent_against_flooding(seed, count, images, wires, gap):
    hits = random_hits(seed, count, images, 20, 40)
    assert label(hits, Adjacent(wires, gap)).tolist() == adjacent_by_ticks(hits, wires, gap)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(0, 60),
    st.integers(1, 3),
    st.integers(1, 6),
    st.sampled_from([1.0, 2.5, 5.0, 10.0]),
)
def test_dbscan_against_its_definition(seed, count, images, minimum, eps):
    hits = random_hits(seed, count, images, 40, 60)
    ours = label(hits, Dbscan(eps, minimum)).tolist()
    theirs = dbscan_by_definition(hits, eps, minimum, 0.32)
    assert ours == renumbered(theirs)


def test_large_groups_of_every_shape():
    # A long chain in shuffled order needs many rounds of hooking.
    rng = np.random.default_rng(0)
    order = rng.permutation(3000)
    hits = make_hits(*[(0, int(w), 0, 1, 1) for w in order])
    assert (label(hits, Adjacent(1, 0)) == 0).all()
    hits["image"] = order % 7
    found = clusters(hits, label(hits, Adjacent(7, 0)))
    assert sorted(found["hits"].tolist()) == [428] * 3 + [429] * 4


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(0, 40),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 30)),
    st.one_of(st.none(), st.integers(1, 40)),
)
def test_windows_against_every_position(seed, count, images, wires, ticks):
    hits = random_hits(seed, count, images, 20, 30)
    grid = np.zeros((images, 20, 30), np.int64)
    np.add.at(grid, (hits["image"], hits["wire"], hits["start"]), hits["sum"])
    wide, long = wires or 20, ticks or 30
    expected = [
        max(image[w : w + wide, t : t + long].sum() for w in range(20) for t in range(30))
        for image in grid
    ]
    assert largest_in_window(hits, images, wires, ticks).tolist() == expected


def sample(seed, images, pulses=0, size=4):
    """Noise images, with ``pulses`` bundles of neighbouring wires in each."""
    rng = np.random.default_rng(seed)
    made = PEDESTAL + rng.normal(0, 10.7, (images, 64, WIRES))
    shape = np.exp(-0.5 * ((np.arange(16) - 7) / 2.55) ** 2)
    for image in made:
        for _ in range(pulses):
            tick, wire = rng.integers(0, 48), rng.integers(0, WIRES - size)
            image[tick : tick + 16, wire : wire + size] += rng.uniform(60, 400) * shape[:, None]
    return np.rint(made).astype(np.uint16)


STATE = State.at(np.full(WIRES, PEDESTAL), 21)


def test_scores():
    images = sample(1, 40, pulses=1)
    images[7] = PEDESTAL
    for trigger in baseline.ladder():
        values = baseline.scores(trigger, images, STATE)
        assert values.dtype == np.int64
        assert values.shape == (40,)
        assert values[7] == 0
    every = baseline.scores(Sums(Threshold()), images, STATE)
    assert (every > 0).mean() > 0.8
    for largest in (Sums(Threshold(), 20, 32), Clusters(), Clusters(min_hits=3)):
        assert (baseline.scores(largest, images, STATE) <= every).all()
    fewer = [baseline.scores(Clusters(min_hits=n), images, STATE) for n in (1, 2, 3, 6)]
    assert all((a >= b).all() for a, b in pairwise(fewer))


def test_many_at_once_are_as_one_by_one(monkeypatch):
    monkeypatch.setattr(baseline, "AT_A_TIME", 7)
    images = sample(2, 20, pulses=2)
    triggers = baseline.ladder()
    told = []
    values = baseline.scores_of(triggers, images, STATE, lambda *at: told.append(at))
    for trigger, row in zip(triggers, values, strict=True):
        assert (baseline.scores(trigger, images, STATE) == row).all()
    assert told == [(7, 20), (14, 20), (20, 20)]
    # A state for each image, and one for each finder.
    rng = np.random.default_rng(0)
    own = State.at(PEDESTAL + rng.integers(-9, 9, (20, WIRES)), 21)
    states = {Threshold(): own, AbsRunningSum(): own}
    for trigger in (Clusters(), Sums(AbsRunningSum(), 20)):
        whole = baseline.scores(trigger, images, states)
        ones = [baseline.scores(trigger, images[k : k + 1], _row(own, k))[0] for k in range(20)]
        assert whole.tolist() == ones


def _row(state, k):
    return State(*(getattr(state, name)[k : k + 1] for name in State.__dataclass_fields__))


def test_named_triggers_judge_images_as_they_are_made():
    images = sample(6, 10, pulses=1)
    triggers = {"clusters": Clusters(), "sums": Sums(AbsRunningSum(), 20, 32)}
    pedestals = np.full(WIRES, float(PEDESTAL))
    found = baseline.scorer(triggers, 21)(images, pedestals)
    assert list(found) == ["clusters", "sums"]
    for name, trigger in triggers.items():
        assert (found[name] == baseline.scores(trigger, images, STATE)).all()
    with pytest.raises(InputError, match="no pedestal of its sum"):
        baseline.scorer(triggers)
    assert baseline.scorer({"clusters": Clusters()})(images, pedestals)["clusters"].any()


def test_a_stream_is_scored_by_the_same_triggers():
    images = np.full((6, 64, WIRES), PEDESTAL, np.uint16)
    images[1, 20:26, 100:103] += 200
    images[4, 30:36, 50:51] += 300
    hits, stream = find_in_stream(images.reshape(-1, WIRES), Threshold(), begin(STATE))
    hits = into_images(np.concatenate([hits, finish(stream)]))
    triggers = (Clusters(), Clusters(min_hits=3), Sums())
    found = baseline.scores_of_hits(triggers, hits, 6)
    assert [row.tolist() for row in found] == [
        [0, 3600, 0, 0, 1800, 0],
        [0, 3600, 0, 0, 0, 0],
        [0, 3600, 0, 0, 1800, 0],
    ]


def test_tuning_takes_the_best_and_its_cut_holds_elsewhere():
    noise, signal = sample(3, 800, pulses=1, size=1), sample(4, 60, pulses=1, size=5)
    triggers = (Clusters(min_hits=1), Clusters(min_hits=3), Sums(), Sums(wires=5, ticks=20))
    best = baseline.tune(triggers, noise, signal, STATE, fake_rate=0.01)
    # One wire is noise here, several are signal: clusters of three or more wires tell them apart.
    assert best.trigger == Clusters(min_hits=3)
    assert best.efficiency.value > 0.9
    assert best.cut.fakes.value <= 0.01
    by_scores = [
        baseline.tune_scores(
            [t], *(baseline.scores_of([t], x, STATE) for x in (noise, signal)), 0.01
        )
        for t in triggers
        if t != Clusters(min_hits=3)
    ]
    assert all(other.efficiency.value <= best.efficiency.value for other in by_scores)


def test_tuning_takes_what_noise_never_passes():
    tied, fine = np.zeros(1000, np.int64), np.arange(1000)
    triggers, noise = [Sums(), Clusters()], np.stack([fine, tied])
    best = baseline.tune_scores(triggers, noise, np.array([[2000, 0], [5, 5]]), 0.01)
    assert best.trigger == Clusters()
    assert (best.cut.fakes.passed, best.efficiency.passed) == (0, 2)
    best = baseline.tune_scores(triggers, noise, np.array([[2000, 0], [5, 0]]), 0.01)
    assert best.trigger == Sums()  # the first of equals
    assert best.cut.value == 990
    assert (best.cut.fakes.passed, best.efficiency.passed) == (10, 1)


def test_on_simulated_images():
    config = LartpcConfig()
    noise = lartpc.simulate(768, seed=21, config=config)
    signal = lartpc.simulate(256, seed=22, config=config, kind="nue_cc")
    lead = lartpc.simulate(64, seed=23, config=config).images.reshape(-1, config.wires)
    state = settle(AbsRunningSum(), lead)
    # What it settled on are the pedestals of the wires, whose spread is 60 counts.
    true = pedestals(config)
    assert np.std(state.pedestal - true) < 2 < 40 < np.std(true)
    judge = baseline.scorer(
        {
            "clusters": Clusters(),
            "AbsRS": Clusters(AbsRunningSum(), Adjacent(2, 8)),
            "DBSCAN": Clusters(clustering=Dbscan(), min_hits=3),
            "sum": Sums(wires=20, ticks=32),
        },
        state.sum_pedestal,
    )
    off, on = judge(noise.images, true), judge(signal.images, true)
    high = signal.truth["visible_mev"] > 10
    for name in off:
        cut = cut_at(off[name], 0.02)
        assert pass_rate(on[name][high], cut.value).value > 0.9
    # Argon-39 is seen: nearly every image with decays has something over threshold, and noise
    # alone has not.
    decays = noise.truth["n_radiological"]
    assert (off["sum"][decays > 3] > 0).mean() > 0.9
    assert (off["sum"][decays == 0] > 0).mean() < 0.3


def test_bad_input():
    hits = random_hits(0, 5, 1, 9, 9)
    with pytest.raises(InputError, match="holds no hits"):
        label(np.zeros(3), Adjacent())
    with pytest.raises(InputError, match="holds no hits"):
        largest_in_window(np.zeros(3), 1)
    with pytest.raises(InputError, match="not of 5 hits"):
        clusters(hits, np.zeros(4, np.int64))
    with pytest.raises(InputError, match="holds nothing"):
        largest_in_window(hits, 1, wires=0)
    with pytest.raises(InputError, match="negative"):
        Adjacent(-1)
    with pytest.raises(InputError, match="no neighbourhood"):
        Dbscan(0)
    with pytest.raises(InputError, match="no cut"):
        Clusters(min_hits=0)
    images = sample(0, 3)
    with pytest.raises(InputError, match="There is no state for"):
        baseline.scores(Clusters(), images, {AbsRunningSum(): STATE})
    with pytest.raises(InputError, match="less than one of 3 noise images"):
        baseline.tune([Clusters()], images, images, STATE, fake_rate=1e-4)
    with pytest.raises(InputError, match="nothing to tune"):
        baseline.tune([Clusters()], images, images[:0], STATE, fake_rate=0.5)
    with pytest.raises(InputError, match="not uint16"):
        baseline.scores(Clusters(), images.astype(float), STATE)


def test_words():
    words = [baseline.describe(trigger) for trigger in baseline.ladder()]
    assert len(set(words)) == len(words)
    assert words[0] == "threshold 60, adjacent 1 x 4, hits >= 1"
    assert "AbsRS 65, DBSCAN 10, 3, hits >= 6" in words
    assert baseline.describe(Sums(AbsRunningSum(), 20, 32)).endswith("sum of 20 wires x 32 ticks")
    assert baseline.describe(Sums()) == "threshold 60, sum of the image"
