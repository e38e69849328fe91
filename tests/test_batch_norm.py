"""Batch norm: what moves its running statistics, what uses them, and where they are kept."""

import copy
import pickle

import numpy as np
import pytest
import small_network
from small_network import X, Y, bits, fit

import fastnn as fn
from fastnn import backends
from fastnn.backends import Batch
from fastnn.errors import DivergenceError, ModelFileError

pytestmark = pytest.mark.parametrize("backend", backends.available())

LAYERS = [
    fn.Dense(6, "tanh"),
    fn.BatchNorm(),
    fn.Residual([fn.BatchNorm(0.3, 0.01), fn.Dense(6, "relu")]),
    fn.Dense(2),
]


def network(backend, layers=LAYERS, **options):
    return small_network.network(backend, layers, **options)


def test_running_statistics_begin_at_0_and_1_and_are_no_parameters(backend):
    net = network(backend)
    names = [f"{layer}.running_{what}" for layer in ("1", "2.0") for what in ("mean", "variance")]
    assert list(net.states) == names
    assert not any(name in net.parameters for name in names)
    assert not net.states["1.running_mean"].any()
    assert (net.states["2.0.running_variance"] == 1).all()
    assert net.parameter_count == 30 + 12 + 12 + 42 + 14
    assert "110 parameters and 24 running statistics" in str(net)


def test_a_step_moves_the_running_statistics_by_those_of_its_batch(backend):
    net = network(backend, [fn.BatchNorm(momentum=0.2), fn.Dense(2)])
    net.train_batch(X[:16], Y[:16])
    mean, variance = X[:16].mean(axis=0), X[:16].var(axis=0, ddof=1)
    np.testing.assert_allclose(net.states["0.running_mean"], 0.2 * mean, rtol=1e-13)
    np.testing.assert_allclose(net.states["0.running_variance"], 0.8 + 0.2 * variance, rtol=1e-13)
    net.train_batch(X[16:21], Y[16:21])
    mean = 0.8 * 0.2 * mean + 0.2 * X[16:21].mean(axis=0)
    np.testing.assert_allclose(net.states["0.running_mean"], mean, rtol=1e-13)


def test_the_last_batch_moves_them_by_its_own_statistics(backend):
    fitted, stepped = network(backend), network(backend)
    fit(fitted, shuffle=False)
    for start in range(0, 50, 16):
        stepped.train_batch(X[start : start + 16], Y[start : start + 16])
    assert bits(fitted) == bits(stepped)


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_momentum_0_keeps_them_and_1_takes_the_last_batch(backend, momentum):
    net = network(backend, [fn.BatchNorm(momentum), fn.Dense(2)])
    net.train_batch(X, Y)
    want = momentum * X.mean(axis=0)
    np.testing.assert_allclose(net.states["0.running_mean"], want, rtol=1e-13)


def test_training_looks_at_the_batch_and_nothing_else_does(backend):
    net = network(backend, [fn.BatchNorm(), fn.Dense(2)])
    net.states["0.running_mean"][...] = [1, 2, 3, 4]
    net.states["0.running_variance"][...] = 4
    W, b = net.parameters["1.weight"], net.parameters["1.bias"]

    def loss(mean, variance):
        return np.mean(((X - mean) / np.sqrt(variance + 1e-5) @ W + b - Y) ** 2)

    running, batch = loss([1, 2, 3, 4], 4.0), loss(X.mean(axis=0), X.var(axis=0))
    assert net.loss_and_gradients(X, Y)[0] == pytest.approx(running, rel=1e-12)
    assert net.evaluate(X, Y)["loss"] == pytest.approx(running, rel=1e-12)
    assert np.mean((net.predict(X) - Y) ** 2) == pytest.approx(running, rel=1e-12)
    assert net.loss_and_gradients(X, Y, training=True)[0] == pytest.approx(batch, rel=1e-12)
    assert net.train_batch(X, Y) == pytest.approx(batch, rel=1e-12)


def test_only_steps_move_the_running_statistics(backend):
    net = network(backend)
    fit(net)
    before = bits(net)
    net.predict(X)
    net.evaluate(X, Y)
    for training in (False, True):
        net.loss_and_gradients(X, Y, training=training)
        net.input_gradients(X, Y, training=training)
    assert bits(net) == before


def test_a_batch_of_one_row_has_a_mean_but_no_variance(backend):
    net = network(backend, [fn.BatchNorm(), fn.Dense(2)])
    net.parameters["0.shift"][...] = [1, 2, 3, 4]
    want = np.array([[1, 2, 3, 4]]) @ net.parameters["1.weight"] + net.parameters["1.bias"]
    loss, gradients = net.loss_and_gradients(X[:1], Y[:1], training=True)
    assert loss == pytest.approx(np.mean((want - Y[:1]) ** 2), rel=1e-12)
    assert not gradients["0.scale"].any()
    assert gradients["0.shift"].any()
    assert not net.input_gradients(X[:1], Y[:1], training=True).any()
    net.train_batch(X[:1], Y[:1])
    np.testing.assert_allclose(net.states["0.running_mean"], 0.1 * X[0], rtol=1e-13)
    assert (net.states["0.running_variance"] == 1).all()
    fit(net, batch_size=7)  # 50 = 7 * 7 + 1
    assert np.isfinite(net.predict(X)).all()


def test_the_weights_of_rows_do_not_count_in_the_statistics(backend):
    plain, weighted = network(backend), network(backend)
    plain.train_batch(X, Y)
    weighted.train_batch(X, Y, sample_weight=np.arange(1.0, 51.0))
    assert (plain.states["1.running_mean"] == weighted.states["1.running_mean"]).all()
    assert (plain.parameters_vector != weighted.parameters_vector).any()


def test_a_bias_before_a_batch_norm_learns_nothing(backend):
    net = network(backend, [fn.Dense(6), fn.BatchNorm(), fn.Dense(2)])
    gradients = net.loss_and_gradients(X, Y, training=True)[1]
    assert np.abs(gradients["0.bias"]).max() < 1e-14
    assert np.abs(gradients["0.weight"]).max() > 1e-3


def test_a_write_into_the_states_counts_at_once(backend):
    net = network(backend, [fn.BatchNorm(), fn.Dense(2)])
    before = net.predict(X)
    net.states["0.running_mean"][...] += 1
    np.testing.assert_allclose(net.predict(X + 1), before, rtol=1e-12)
    vector = net.states_vector
    assert vector.shape == (8,)
    net.states_vector = 2 * vector
    assert (net.states_vector == 2 * vector).all()
    with pytest.raises(ValueError, match=r"states_vector must have shape \(8,\)"):
        net.states_vector = vector[1:]


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "nadam", "lion"])
def test_fitting_on_from_a_file_or_a_copy_gives_the_bits_of_never_having_stopped(
    backend, optimizer, tmp_path
):
    whole, half = (network(backend, optimizer=optimizer) for _ in range(2))
    fit(whole, epochs=5)
    fit(half, epochs=3)
    half.save(tmp_path / "half.fnn")
    loaded = fn.Network.load(tmp_path / "half.fnn", backend=backend)
    for net in (loaded, copy.deepcopy(half), pickle.loads(pickle.dumps(half)), half):
        assert bits(net) == bits(half)
        fit(net, epochs=2)
        assert bits(net) == bits(whole)


def test_a_checkpoint_inside_an_epoch_goes_on_to_the_same_bits(backend, tmp_path):
    whole = network(backend, optimizer="nadam")
    save = fn.ModelCheckpoint(str(tmp_path / "{step}.fnn"), every=3, keep=10)
    fit(whole, epochs=3, callbacks=[save])
    loaded = fn.Network.load(tmp_path / "6.fnn", backend=backend)
    fit(loaded, epochs=2)
    assert bits(loaded) == bits(whole)


def test_setting_the_optimizer_forgets_the_product_of_the_momenta(backend):
    net, fresh = network(backend, optimizer="nadam"), network(backend, optimizer="nadam")
    start = net.parameters_vector
    first = net.train_batch(X, Y)
    net.optimizer = fn.NAdam()
    net.parameters_vector = start
    assert net.train_batch(X, Y) == first == fresh.train_batch(X, Y)
    assert (net.parameters_vector == fresh.parameters_vector).all()


def test_early_stopping_puts_the_best_statistics_back(backend):
    class Watch(fn.Callback):
        def __init__(self):
            self.seen = []

        def on_epoch_end(self, run):
            self.seen.append(bits(run.network))
            if run.epoch >= 2:  # every later epoch is worse
                run.network.parameters["3.bias"][...] = 100.0 * run.epoch

    watch, stop = Watch(), fn.EarlyStopping(patience=2)
    net = network(backend)
    fit(net, epochs=20, validation_data=(X, Y), callbacks=[stop, watch])
    assert bits(net) == watch.seen[stop.best_epoch - 1]
    assert bits(net) != watch.seen[-1]


def test_statistics_that_overflow_take_no_step(backend):
    # The normalised rows, the loss and its gradient are all finite.
    net = network(backend, [fn.BatchNorm(), fn.Dense(2)], dtype="float32")
    before = bits(net)
    with pytest.raises(DivergenceError):
        net.train_batch(1e30 * X, Y)
    assert bits(net) == before
    assert net.steps == 0


def test_a_file_with_a_negative_variance_is_refused(backend, tmp_path):
    net = network(backend)
    net.states["1.running_variance"][2] = -1.0
    net.save(tmp_path / "bad.fnn")
    with pytest.raises(ModelFileError, match=r"1\.running_variance"):
        fn.Network.load(tmp_path / "bad.fnn", backend=backend)


@pytest.mark.parametrize("rows", [3, 511, 513, 1300])
def test_a_long_batch_has_one_mean_and_one_variance(backend, rows):
    # Longer than the chunks in which other networks go through a batch.
    rng, told = np.random.default_rng(rows), []
    batch = Batch(rng.normal(size=(rows, 4)), rng.normal(size=(rows, 2)))
    for name in (backend, "reference"):
        executable = network(name)._executable
        gradient, into = np.empty_like(executable.parameters), np.empty_like(batch.X)
        loss = executable.loss_and_gradient(batch, gradient, into, training=True)
        told.append((loss, gradient, into))
    for got, want in zip(*told, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("argument", [{"momentum": 1.1}, {"momentum": -0.1}, {"epsilon": 0.0}])
def test_arguments_of_a_batch_norm_are_checked(backend, argument):
    with pytest.raises(ValueError, match=f"{next(iter(argument))} of BatchNorm"):
        fn.BatchNorm(**argument)
