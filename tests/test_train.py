"""Training: reproducible, resumable to the same weights, interrupted without loss; distillation."""

import numpy as np
import pytest

from hairtrigger.errors import HairtriggerError, InputError, StorageError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train import (
    Data,
    Distillation,
    FitSettings,
    Head,
    Kind,
    distill,
    distillation_loss,
    ebops_of,
    fit,
    output_size,
    output_slices,
    predict,
    truth_loss,
)
from hairtrigger.train.checkpoint import values_of
from hairtrigger.train.distill import with_teacher

HEADS = (
    Head("size", Kind.VALUE, elbow=0.2),
    Head("sign", Kind.BINARY, weight=0.5),
    Head("kind", Kind.CLASSES, size=3),
)
SETTINGS = FitSettings(epochs=3, batch=32, learning_rate=0.03, seed=5, beta=(1e-5, 1e-4))


def make_data(events=1024, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(events, 4)).astype(np.float32)
    size = np.abs(x[:, 0])
    size[:5] = np.nan
    kind = np.digitize(x[:, 2], [-0.5, 0.5])
    return Data(x, np.stack([size, x[:, 1] > 0, kind], axis=1).astype(np.float32))


def make_model(quantised=False, width=8):
    keras = import_keras()
    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = keras.Input((4,))
    if quantised:
        from hgq.layers import QDense

        x = QDense(width, activation="relu")(inputs)
        return keras.Model(inputs, QDense(output_size(HEADS))(x))
    x = layers.Dense(width, activation="relu")(inputs)
    return keras.Model(inputs, layers.Dense(output_size(HEADS))(x))


def weights(model):
    return values_of(model.variables)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


class Stop(KeyboardInterrupt):
    """Ctrl-C at a place of our choice."""


@pytest.fixture(scope="module")
def uninterrupted():
    model = make_model(quantised=True)
    history = fit(model, make_data(), make_data(64, 1), truth_loss(HEADS), SETTINGS)
    return weights(model), history


def test_resumes_to_the_same_weights(tmp_path, uninterrupted):
    data, validation = make_data(), make_data(64, 1)
    path = tmp_path / "deep" / "training.npz"
    steps = len(data) // SETTINGS.batch

    def stop_in_second_epoch(what, done, total):
        assert total == 3 * steps
        if done == steps + 3:
            raise Stop

    args = (data, validation, truth_loss(HEADS), SETTINGS)
    with pytest.raises(Stop):
        fit(make_model(quantised=True), *args, checkpoint=path, progress=stop_in_second_epoch)
    done = []
    model = make_model(quantised=True)
    history = fit(
        model, *args, checkpoint=path, progress=lambda what, done_, total: done.append(done_)
    )
    expected, expected_history = uninterrupted
    assert done[0] == steps + 1  # only the epoch in hand was lost
    assert same(weights(model), expected)
    assert history.loss == expected_history.loss
    assert history.validation_loss == expected_history.validation_loss
    assert history.ebops == expected_history.ebops
    assert history.epochs == 3
    # A finished training is not repeated.
    again = make_model(quantised=True)
    assert fit(again, *args, checkpoint=path) == history
    assert same(weights(again), expected)
    assert [p.name for p in path.parent.iterdir()] == ["training.npz"]


def test_learns_and_prices_bits(uninterrupted):
    _, history = uninterrupted
    assert history.loss[-1] < history.loss[0] - 0.2
    assert history.ebops[-1] < history.ebops[0]
    assert history.ebops[-1] > 0
    assert history.seconds > 0


def test_keeps_the_best_epoch_within_the_budget():
    from hairtrigger.train.fit import _best

    losses, ebops = (3.0, 1.0, 2.0, 2.5), (900.0, 800.0, 300.0, 200.0)
    cheap = (1e-7, 1e-7)
    assert _best(losses, ebops, FitSettings(4, beta=cheap)) == 1
    assert _best(losses, ebops, FitSettings(4, beta=cheap, ebops=400)) == 2
    assert _best(losses, ebops, FitSettings(4, beta=cheap, ebops=100)) == 3


def test_the_best_epoch_pays_for_its_bits():
    from hairtrigger.train.fit import _best

    # The first epoch has the lowest loss since bits were cheap in it.
    losses, ebops = (1.0, 1.2, 1.1), (900.0, 300.0, 250.0)
    assert _best(losses, ebops, FitSettings(3, beta=(1e-7, 1e-6))) == 0
    assert _best(losses, ebops, FitSettings(3, beta=(1e-7, 1e-3))) == 2


def test_beta_rises_geometrically_then_stays():
    settings = FitSettings(epochs=10, beta=(1e-8, 1e-4))
    betas = [settings.beta_at(epoch) for epoch in range(10)]
    assert betas[0] == pytest.approx(1e-8)
    assert betas[2] == pytest.approx(1e-6)
    assert betas[4:] == pytest.approx([1e-4] * 6)


def test_distillation_draws_to_the_teacher():
    # The teacher contradicts the truth, so following it cannot come from the truth.
    data, validation = make_data(512), make_data(128, 1)
    keras = import_keras()
    inputs = keras.Input((4,))
    teacher = keras.Model(inputs, keras.layers.Dense(output_size(HEADS))(inputs))
    rng = np.random.default_rng(0)
    teacher.set_weights([rng.normal(size=(4, 5)), np.zeros(5)])
    settings = FitSettings(epochs=6, batch=32, learning_rate=0.05, seed=1)
    off = {}
    for weight in (0.0, 1.0):
        student = make_model(width=16)
        distill(teacher, student, data, validation, HEADS, Distillation(2.0, weight), settings)
        expected = predict(teacher, validation.inputs)[:, output_slices(HEADS)["size"]]
        got = predict(student, validation.inputs)[:, output_slices(HEADS)["size"]]
        off[weight] = np.abs(got - expected).mean()
    assert off[1.0] < 0.5 * off[0.0]


def test_loss_values():
    ops = import_keras().ops
    heads = (Head("v", Kind.VALUE, weight=2.0, elbow=1.0), Head("c", Kind.CLASSES, size=2))
    targets = np.array([[1.0, 0], [np.nan, 1], [5.0, 1]], np.float32)
    outputs = np.array([[1.5, 0, 0], [9, 0, 0], [1.0, 0, 0]], np.float32)
    got = np.asarray(truth_loss(heads)(targets, outputs))
    assert got == pytest.approx(np.log(2) + 2 * np.array([0.125, 0.0, 3.5]), rel=1e-5)
    both = np.concatenate([targets, outputs], axis=1)
    soft = np.asarray(distillation_loss(heads, 3.0, 1.0)(both, outputs))
    assert soft == pytest.approx([9 * np.log(2)] * 3, rel=1e-5)
    assert ops.convert_to_numpy(soft).shape == (3,)


def test_a_focus_counts_events_several_times():
    import_keras()
    plain, focused = Head("v", Kind.VALUE, elbow=1.0), Head("v", Kind.VALUE, 1, 1, 1.0, (1, 2, 3))
    targets = np.array([[0.9], [1.0], [1.9], [2.0], [np.nan]], np.float32)
    outputs = targets * 0 + 5
    once, often = (np.asarray(truth_loss((head,))(targets, outputs)) for head in (plain, focused))
    assert often == pytest.approx(once * [1, 3, 3, 1, 1], nan_ok=False)
    both = np.concatenate([targets, outputs - 1], axis=1)
    soft = [distillation_loss((head,), 1.0, 1.0)(both, outputs) for head in (plain, focused)]
    assert np.asarray(soft[1]) == pytest.approx(np.asarray(soft[0]) * [1, 3, 3, 1, 1])


def test_masked_targets_give_no_nan_gradient():
    import_keras()
    jax = pytest.importorskip("jax")
    targets = np.array([[np.nan, np.nan, np.nan], [0.5, 1, 2]], np.float32)
    outputs = np.array([[1.0, 2, 3, 4, 5]] * 2, np.float32)
    slope = np.asarray(jax.grad(lambda x: truth_loss(HEADS)(targets, x).sum())(outputs))
    assert np.isfinite(slope).all()
    assert (slope[0] == 0).all()
    assert (slope[1] != 0).any()


def test_predict_in_batches_is_the_same():
    data, model = make_data(70), make_model()
    whole = predict(model, data.inputs)
    parts = predict(model, data.inputs, batch=32)
    assert parts == pytest.approx(whole, abs=1e-5)
    assert predict(model, data.inputs[:0]).shape == (0, 5)
    assert ebops_of(model) == 0


def test_foreign_and_damaged_checkpoints(tmp_path):
    data, validation = make_data(), make_data(64, 1)
    path = tmp_path / "training.npz"
    short = FitSettings(epochs=1, batch=64, seed=1)
    fit(make_model(), data, validation, truth_loss(HEADS), short, checkpoint=path)
    whole = path.read_bytes()

    def again(settings=short, used=data):
        fit(make_model(), used, validation, truth_loss(HEADS), settings, checkpoint=path)

    with pytest.raises(StorageError, match="another training"):
        again(FitSettings(epochs=2, batch=64, seed=1))
    with pytest.raises(StorageError, match="another training"):
        again(used=make_data(256, 9))
    for bad in (whole[: len(whole) // 2], b"not a checkpoint", b""):
        path.write_bytes(bad)
        with pytest.raises(StorageError, match="Delete it"):
            again()


def test_unwritable_checkpoint(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        fit(
            make_model(),
            make_data(),
            make_data(64, 1),
            truth_loss(HEADS),
            FitSettings(epochs=1, batch=64),
            checkpoint=tmp_path / "file" / "training.npz",
        )


def test_loss_that_explodes_is_an_error():
    data = make_data()
    data.inputs[7] = np.nan
    settings = FitSettings(epochs=1, batch=64)
    with pytest.raises(HairtriggerError, match="Lower the learning rate"):
        fit(make_model(), data, data, truth_loss(HEADS), settings)


def test_bad_input():
    data = make_data(16)
    with pytest.raises(InputError, match="less than one batch"):
        fit(make_model(), data, data, truth_loss(HEADS), FitSettings(epochs=1, batch=64))
    with pytest.raises(InputError, match="do not fit"):
        Data(data.inputs, data.targets[:3])
    with pytest.raises(InputError, match="infinite"):
        Data(data.inputs, np.full_like(data.targets, np.inf))
    with pytest.raises(InputError, match="at least one"):
        Data(data.inputs[:0], data.targets[:0])
    with pytest.raises(InputError, match="epochs"):
        FitSettings(epochs=0)
    with pytest.raises(InputError, match="positive"):
        FitSettings(epochs=1, beta=(0.0, 1.0))
    with pytest.raises(InputError, match="temperature"):
        distillation_loss(HEADS, 0.0, 0.5)
    with pytest.raises(InputError, match="weight"):
        distillation_loss(HEADS, 1.0, 1.5)
    with pytest.raises(InputError, match="two or more"):
        Head("x", Kind.VALUE, size=2)
    with pytest.raises(InputError, match="focus"):
        Head("x", Kind.BINARY, focus=(0, 1, 2))
    with pytest.raises(InputError, match="target columns"):
        with_teacher(make_model(), Data(data.inputs, data.targets[:, :2]), HEADS)
