"""The muon study: targets, decoding, figures from hand-made predictions, networks that convert."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hairtrigger.detectors import rpc
from hairtrigger.detectors.rpc_config import RpcConfig
from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.metrics import LEVEL
from hairtrigger.studies import muon, muon_networks, muon_task, muon_train
from hairtrigger.studies.muon_calibration import calibrated
from hairtrigger.studies.muon_metrics import MuonPrediction, fake_rate, muon_metrics
from hairtrigger.train import ebops_of, output_size, output_slices, predict

# Keras's own, when it reads a JAX array for a file.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def truth_of(pt, count=1):
    truth = np.zeros(len(pt), rpc.TRUTH_DTYPE)
    truth["n_muons"] = count
    truth["pt"][:, 0] = pt
    truth["charge"][:, 0] = 1
    truth["eta"][:, 0] = 0.5
    truth["layers_hit"][:, :1] = 9
    return truth


def perfect(truth):
    return MuonPrediction(
        pt=np.where(truth["n_muons"] > 0, truth["pt"][:, 0], 0.0).astype(float),
        eta=truth["eta"][:, 0].astype(float),
        charge=np.where(truth["charge"][:, 0] > 0, 1, -1),
        n_muons=truth["n_muons"].astype(np.int64),
    )


def test_calibration_keeps_the_order_of_muons_and_brings_most_above_the_threshold():
    pts = np.linspace(3, 40, 10_000)
    got = calibrated(pts)
    assert (np.diff(got) > 0).all()
    apart = (pts < 13.3) | (pts > 16.5)
    assert got[apart] == pytest.approx(pts[apart])
    assert (got[pts >= 13.6] >= 15 - 1e-9).all()
    assert calibrated([50.0]).tolist() == [40.0]


@given(st.lists(st.floats(3, 40), min_size=1, max_size=20), st.floats(0, 1.05))
def test_decoding_undoes_encoding(pts, eta):
    where = output_slices(muon_task.TASK.heads)
    outputs = np.zeros((len(pts), output_size(muon_task.TASK.heads)))
    outputs[:, where["pt"]] = muon_task.encode_pt(pts)[:, None]
    outputs[:, where["eta"]] = muon_task.encode_eta(eta)
    outputs[:, where["charge"]] = -0.3
    outputs[:, where["count"]] = [0, 1, 0.5, 0]
    got = muon.decode(outputs)
    assert got.pt == pytest.approx(calibrated(pts), rel=1e-9)
    assert got.eta == pytest.approx([eta] * len(pts), abs=1e-9)
    assert (got.charge == -1).all()
    assert (got.n_muons == 1).all()


def test_pt_is_bounded_and_does_not_ask_for_the_number():
    outputs = np.zeros((3, 7))
    outputs[:, 0] = [100.0, 100.0, -100.0]
    outputs[:, 3:] = [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    got = muon.decode(outputs)
    assert got.pt == pytest.approx([40.0, 40.0, 3.0])
    assert got.n_muons.tolist() == [0, 3, 1]


def test_integer_outputs_decode_as_their_values():
    codes = np.array([[5, -3, 2, 0, 9, 1, 1]])
    from_codes = muon.decode(codes * 2.0**-2)
    assert from_codes.pt[0] == pytest.approx(3 * 2 ** (5 / 4))
    assert from_codes.n_muons[0] == 1


@pytest.mark.parametrize(
    "outputs",
    [np.zeros((3, 6)), np.zeros(7), np.full((2, 7), np.nan), np.full((2, 7), np.inf)],
)
def test_bad_outputs(outputs):
    with pytest.raises(InputError, match="Way out"):
        muon.decode(outputs)


def test_targets_follow_what_can_be_seen():
    truth = truth_of([10.0, 20.0, 6.0, 0.0])
    truth["layers_hit"][1, 0] = muon_task.SEEN_LAYERS - 1
    truth["n_muons"][2], truth["n_muons"][3] = 2, 0
    # The leading muon of the third image is not seen; the next one is asked for.
    truth["pt"][2], truth["layers_hit"][2] = (6, 5, 0), (1, 7, 0)
    truth["charge"][2], truth["eta"][2] = (1, -1, 0), (0.5, 1.05, 0)
    truth["layers_hit"][3], truth["charge"][3] = 0, 0
    got = muon_task.targets(truth)
    assert got[:, 3].tolist() == [1, 0, 1, 0]
    assert got[[0, 2, 3], 0] == pytest.approx([np.log2(10 / 3), np.log2(5 / 3), 0], abs=1e-6)
    assert np.isnan(got[1, 0])  # a muon, but none to be seen: any pT will do
    assert got[2, 1] == pytest.approx(1.0)
    assert got[[0, 2], 2].tolist() == [1, 0]
    assert np.isnan(got[[1, 3], 1:3]).all()


def test_figures_of_a_perfect_trigger():
    rng = np.random.default_rng(0)
    truth = truth_of(rng.uniform(3, 30, 5000))
    truth["n_muons"][:1000] = rng.integers(0, 4, 1000)
    figures = muon_metrics(perfect(truth), truth)
    assert figures.spread.value == 0
    assert figures.efficiency.value == figures.charge.value == 1
    assert figures.efficiency.low < 1
    matrix = np.array(figures.confusion)
    assert (matrix == np.diag(np.diag(matrix))).all()
    assert matrix.sum() == 5000
    for curve in figures.turn_on:
        for low, point in zip(curve.edges, curve.points, strict=False):
            assert point.value == float(low >= curve.threshold)


def test_figures_by_hand():
    truth = truth_of([8.0, 8.0, 12.0, 16.0, 16.0, 20.0])
    predicted = perfect(truth)
    predicted.pt[:] = [9.0, 0.0, 10.0, 15.0, 14.9, 0.0]
    predicted.n_muons[:] = [1, 0, 1, 2, 1, 0]
    predicted.charge[:] = [1, 1, -1, 1, 1, 1]
    figures = muon_metrics(predicted, truth)
    # A muon that is missed counts with pT 0 in the spread and fails every threshold.
    assert figures.spread.value == pytest.approx((1 + 8 + 2) / 3)
    assert (figures.efficiency.passed, figures.efficiency.total) == (1, 3)
    assert (figures.charge.passed, figures.charge.total) == (1, 2)
    assert figures.confusion[1] == (2, 3, 1, 0)
    fakes = fake_rate([0.0, 15.0, 15.1, 40.0])
    assert (fakes.passed, fakes.total, fakes.level) == (2, 4, LEVEL)


def test_figures_want_single_muons_and_equal_lengths():
    truth = truth_of([8.0, 9.0], count=0)
    with pytest.raises(InputError, match="exactly one muon"):
        muon_metrics(perfect(truth), truth)
    with pytest.raises(InputError, match="different lengths"):
        muon_metrics(perfect(truth), truth_of([8.0]))


@pytest.fixture(scope="module")
def samples():
    return muon.simulate(muon.SMOKE, seed=3)


def test_simulation_is_reproducible_and_kept(samples, tmp_path):
    told = []
    folder = tmp_path / "samples"
    kept = muon.simulate(muon.SMOKE, 3, folder, lambda *args: told.append(args))
    again = muon.simulate(muon.SMOKE, 3, folder)
    for other in (kept, again):
        assert np.array_equal(other.train[1].images, samples.train[1].images)
        assert np.array_equal(other.test["noise_300"].truth, samples.test["noise_300"].truth)
    assert {what for what, _, _ in told} >= {"simulate muons", "simulate noise_150"}
    sets = (*samples.train, *samples.validation, *samples.test.values())
    assert len({events.seed for events in sets}) == len(sets)
    assert (samples.test["noise_150"].truth["n_muons"] == 0).all()
    assert samples.test["noise_300"].config.noise_rate_hz_cm2 == 300


def test_training_data(samples):
    data = muon_train.data(samples.train)
    assert len(data) == muon.SMOKE.train_events
    image = data.prepare(data.inputs[:5])
    assert image.shape == (5, 9, 384, 1)
    assert image.max() == 1
    assert np.array_equal(image[..., 0], samples.train[0].unpacked(slice(0, 5)))


def test_bend_shape_is_that_of_a_track():
    config = RpcConfig(
        noise_rate_hz_cm2=0.0,
        radiation_lengths=0.0,
        vertex_sigma_m=0.0,
        pt_range_gev=(20.0, 30.0),
        eta_range=(0.45, 0.55),
    )
    events = rpc.simulate(4000, seed=1, config=config, muons=1)
    images = events.unpacked().astype(float)
    strips = np.arange(images.shape[2])
    centres = []
    for first, count in muon_networks.station_rows(config).values():
        rows = images[:, first : first + count]
        centres.append((rows * strips).sum(axis=(1, 2)) / rows.sum(axis=(1, 2)).clip(1))
    bend = (np.array(centres) - centres[0]) * events.truth["charge"][:, 0]
    measured = np.median(bend, axis=1)
    expected = muon_networks.bend_shape(config)
    assert measured / measured[-1] == pytest.approx(expected, abs=0.06)


def test_students_have_about_a_thousand_weights():
    # Untrained weights of other seeds can leave the ranges that the student begins with: then it
    # saturates and correlates less (0.63 to 0.97 for seeds 1 to 4).
    import_keras().utils.set_random_seed(4)
    float_student, student = muon_train.float_student(), muon_train.student()
    assert 800 <= float_student.count_params() <= 1200
    muon_networks.start_from_float(float_student, student)
    # With the widths it begins with, the student says nearly what the float one does.
    events = rpc.simulate(500, seed=0, muons=1)
    ours, theirs = (predict(m, events.images, muon_train.prepare) for m in (student, float_student))
    for ours_of, theirs_of in zip(ours.T, theirs.T, strict=True):
        assert np.corrcoef(ours_of, theirs_of)[0, 1] > 0.9
    with pytest.raises(InputError, match="no layers"):
        muon_networks.start_from_float(muon_train.teacher(), student)


def test_a_station_starts_with_votes_for_one_and_for_two_layers():
    keras = import_keras()
    keras.utils.set_random_seed(3)
    student, floating = muon_train.student(), muon_train.float_student()
    muon_networks.start_from_float(floating, student)
    rng = np.random.default_rng(3)
    image = (rng.random((4, 9, 384, 1)) < 0.3).astype(np.float32)
    for model, rounded in ((floating, False), (student, True)):
        hits = model.get_layer("hits")
        read = keras.Model(model.input, hits.input)(image)
        read = np.array(hits.iq(read) if rounded else read)[:, 0]  # the phase without offset
        votes = read.reshape(4, 48, 4, 8, 2).transpose(0, 1, 3, 2, 4).reshape(4, 384, 4, 2)
        for n, (first, count) in enumerate(muon_networks.station_rows(RpcConfig()).values()):
            fired = image[:, first : first + count, :, 0].sum(axis=1)
            for vote, least in enumerate((1, 2)):
                wanted = fired >= least
                away = np.abs(votes[:, :, n, vote] - wanted).max()
                assert away == 0 if rounded else away < 0.5
    assert votes.max() == 1


def test_four_row_images_have_networks_too():
    config = RpcConfig(rows=4)
    model = muon_networks.build_float_student(config, 7)
    muon_networks.start_on_roads(model, config)
    events = rpc.simulate(50, seed=0, config=config)
    assert predict(model, events.images, muon_train.prepare).shape == (50, 7)


def test_smoke_run_and_conversion(samples, tmp_path):
    from hairtrigger.frontends.hgq import from_hgq
    from hairtrigger.frontends.keras_file import load_model
    from hairtrigger.graph import decode, emulate_codes, encode

    preset = muon.SMOKE
    teacher = muon_train.train_teacher(preset, samples, 1)
    floating = muon_train.train_float_student(preset, samples, 1, teacher.model)
    told = []
    student = muon_train.train_student(
        preset,
        samples,
        1,
        teacher.model,
        start=floating.model,
        checkpoint=tmp_path / "student.npz",
        progress=lambda *args: told.append(args),
    )
    assert told[-1] == ("train student", 8, 8)
    assert student.history.ebops[-1] == ebops_of(student.model) > 0
    for trained in (teacher, floating, student):
        trained.model.save(tmp_path / "model.keras")
        again = load_model(tmp_path / "model.keras")
        images = samples.test["muons"].images[:64]
        before = predict(trained.model, images, muon_train.prepare)
        assert np.array_equal(predict(again, images, muon_train.prepare), before)

    graph = from_hgq(again)
    x = muon_train.prepare(images).astype(float)
    (values,) = decode(graph, emulate_codes(graph, encode(graph, (x,))))
    assert np.array_equal(values, before)

    outputs = {
        name: predict(student.model, packed, muon_train.prepare)
        for name, packed in muon.test_inputs(samples).items()
    }
    figures = muon.evaluate(outputs, samples)
    assert figures.fakes[1].share.total == preset.noise_events
    assert sum(map(sum, figures.muons.confusion)) == preset.test_events
    with pytest.raises(InputError, match="no outputs"):
        muon.evaluate({"muons": outputs["muons"]}, samples)
    with pytest.raises(InputError, match="1024 outputs"):
        muon.evaluate({**outputs, "noise_150": outputs["noise_150"][:1024]}, samples)


def test_presets():
    assert muon.STUDY.preset("demo") is muon.DEMO
    with pytest.raises(InputError, match="smoke, demo"):
        muon.STUDY.preset("huge")


# --- options -------------------------------------------------------------------------------------


def test_three_muons_have_targets_and_answers_of_their_own():
    task = muon_task.MuonTask(muons=3)
    truth = np.zeros(3, rpc.TRUTH_DTYPE)
    truth["n_muons"] = [2, 0, 3]
    truth["pt"] = [[20, 6, 0], [0, 0, 0], [12, 8, 4]]
    truth["eta"] = [[0.2, 0.8, 0], [0, 0, 0], [0.1, 0.5, 0.9]]
    truth["charge"] = [[1, -1, 0], [0, 0, 0], [-1, 1, 1]]
    truth["layers_hit"] = [[9, 9, 0], [0, 0, 0], [2, 9, 9]]  # the leading one of the last is unseen
    got = muon_task.targets(truth, task)
    names = [head.name for head in task.heads]
    column = {name: got[:, n] for n, name in enumerate(names)}
    assert column["count"].tolist() == [2, 0, 2]
    assert column["pt"] == pytest.approx(muon_task.encode_pt([20, 3, 8]))
    assert column["pt2"] == pytest.approx(muon_task.encode_pt([6, 3, 4]))
    assert column["pt3"].tolist() == [0, 0, 0]
    assert column["charge2"][[0, 2]].tolist() == [0, 1]
    assert np.isnan(column["eta2"][1])
    assert np.isnan(column["eta3"]).all()
    assert (
        got[:, :4][~np.isnan(got[:, :4])] == muon_task.targets(truth)[~np.isnan(got[:, :4])]
    ).all()

    where = output_slices(task.heads)
    outputs = np.zeros((1, output_size(task.heads)))
    for name, pt in (("pt", 10.0), ("pt2", 8.0), ("pt3", 5.0)):
        outputs[:, where[name]] = muon_task.encode_pt(pt)
    outputs[:, where["charge2"]] = -1
    said = muon_task.decode(outputs, task)
    assert said.pt == pytest.approx([10.0])
    assert [other.pt[0] for other in said.others] == pytest.approx([8.0, 5.0])
    assert [int(other.charge[0]) for other in said.others] == [-1, 1]


@pytest.mark.parametrize("changes", [{"rows": 5}, {"muons": 0}, {"muons": 4}])
def test_tasks_that_nobody_can_do(changes):
    with pytest.raises(InputError):
        muon_task.MuonTask(**changes)


@pytest.mark.parametrize("name", ["muon_4_rows", "muon_3_muons"])
def test_options_train_judge_and_convert(name):
    from hairtrigger.frontends.hgq import from_hgq

    study = muon.STUDIES[name]
    preset = replace(muon.SMOKE, train_events=512, validation_events=512, test_events=512)
    preset = replace(preset, noise_events=512)
    samples = study.simulate(preset, 3)
    trained = study.train_student(preset, samples, 3, None)
    outputs = {
        key: predict(trained.model, data.inputs, data.prepare)
        for key, events in samples.test.items()
        for data in [study.data(events)]
    }
    figures = study.evaluate(outputs, samples)
    assert figures.muons.efficiency.total > 0
    assert [other.number for other in figures.others] == ([2, 3] if "muons" in name else [])
    graph = from_hgq(trained.model)
    rows = 4 if "rows" in name else 9
    assert graph.input_ops[0].type.shape == (rows, 384, 1)
    assert graph.output_types[0].shape == (output_size(study.heads),)


def test_ways_to_make_a_student():
    """Hints, pruning and bits after training, at a size where only the mechanism is seen."""
    preset = replace(muon.SMOKE, train_events=512, validation_events=512, test_events=64)
    samples = muon.simulate(replace(preset, noise_events=64), 5)
    teacher, start = muon_train.teacher(), muon_train.float_student()
    hinted = replace(preset, hint=0.5, teacher_share=0.0)
    before = np.array(muon_train.float_student().get_layer("hidden").kernel)
    trained = muon_train.train_float_student(hinted, samples, 5, teacher)
    assert trained.model.output_shape == (None, 7)
    assert np.abs(np.array(trained.model.get_layer("hidden").kernel) - before).max() > 1e-4

    pruned = replace(preset, pruned=0.5)
    made = muon_train.train_student(pruned, samples, 5, None, start=start).model
    for name in muon_networks.PRUNED:
        kernel = np.array(made.get_layer(name).kernel)
        assert np.count_nonzero(kernel) == kernel.size - kernel.size // 2

    narrow, wide = (
        muon_train.train_student(replace(preset, post_bits=bits), samples, 5, None, start=start)
        for bits in (3, 8)
    )
    assert narrow.history.ebops[0] < wide.history.ebops[0]
    with pytest.raises(InputError, match="no trained network"):
        muon_train.train_student(replace(preset, post_bits=4), samples, 5, None)


def test_the_student_that_comes_with_the_study_decides_as_its_page_says():
    from hairtrigger.frontends.hgq import from_hgq
    from hairtrigger.frontends.keras_file import load_model
    from hairtrigger.runs import TRAINED
    from hairtrigger.runs.learn import graph_outputs

    run, _ = graph_outputs(from_hgq(load_model(TRAINED / "muon.keras")), 24_000)
    preset = replace(muon.SMOKE, train_events=8, validation_events=8, test_events=8000)
    samples = muon.simulate(replace(preset, noise_events=8000), 77)
    outputs = {name: run(muon.STUDY.data(events)) for name, events in samples.test.items()}
    figures = muon.evaluate(outputs, samples)
    assert figures.muons.efficiency.value > 0.95
    assert figures.muons.charge.value > 0.98
    assert figures.muons.spread.value < 1.6
    assert figures.fakes[0].share.value < 0.002
