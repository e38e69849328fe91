"""Batch norm, max-norm, and the losses of quantiles, counts and margins, as users meet them."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.linear_model import PoissonRegressor

import fastnn as fn
from fastnn import backends
from fastnn.backends import Batch, get
from fastnn.errors import DivergenceError, ModelFileError

pytestmark = pytest.mark.parametrize("backend", backends.available())

RNG = np.random.default_rng(0)
X = RNG.normal(1.5, 2.0, (50, 4))
Y = RNG.normal(size=(50, 2))
SIGNS = np.where(X[:, 0] + 0.3 * RNG.normal(size=50) > 1.5, 1, -1)
LAYERS = [
    fn.Dense(6, "tanh"),
    fn.BatchNorm(),
    fn.Residual([fn.BatchNorm(0.3, 0.01), fn.Dense(6, "relu")]),
    fn.Dense(2),
]


def network(backend, layers=LAYERS, **options):
    options = {"input_size": 4, "dtype": "float64", "seed": 1, **options}
    return fn.Network(layers, backend=backend, **options)


def bits(net):
    return net.parameters_vector.tobytes() + net.states_vector.tobytes()


def fit(net, y=Y, **options):
    return net.fit(X, y, **{"batch_size": 16, "progress": False, **options})


# -- batch norm ----------------------------------------------------------------------------------


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


# -- max-norm ------------------------------------------------------------------------------------


def norms(net, name):
    return np.linalg.norm(net.parameters[name], axis=0)


def test_no_column_is_longer_than_its_max_norm_after_a_step(backend):
    layers = [fn.Dense(8, "relu", max_norm=0.7), fn.Gated(5, max_norm=0.5), fn.Dense(2)]
    net = network(backend, layers, optimizer=fn.SGD(0.003))
    net.parameters["0.bias"][...] = 5
    assert (norms(net, "0.weight") > 0.7).any()
    fit(net)
    for name, limit in (("0.weight", 0.7), ("1.weight", 0.5), ("1.gate_weight", 0.5)):
        assert (norms(net, name) <= limit * (1 + 1e-12)).all()
        assert (norms(net, name) > limit * (1 - 1e-12)).any()
    assert (norms(net, "2.weight") > 0.7).any()
    assert (net.parameters["0.bias"] > 1).any()


def test_a_max_norm_only_scales_what_is_too_long(backend):
    free, held = (network(backend, [fn.Dense(2, max_norm=m)]) for m in (None, 0.9))
    for net in (free, held):
        net.parameters["0.weight"][...] = [[3, 0.1], [4, 0.1], [0, 0.1], [0, 0.1]]
        net.train_batch(X, Y)
    long, short = free.parameters["0.weight"].T
    np.testing.assert_allclose(
        held.parameters["0.weight"][:, 0], 0.9 * long / np.linalg.norm(long), rtol=1e-13
    )
    assert (held.parameters["0.weight"][:, 1] == short).all()


def test_weights_that_have_diverged_are_not_hidden_by_a_max_norm(backend):
    for value in (np.inf, np.nan, 1e200):
        W = np.array([[value, 3.0], [1.0, 4.0]])
        with np.errstate(over="ignore"):
            get(backend).kernels.max_norm(W, 1.0)
        np.testing.assert_array_equal(W[:, 0], [value, 1.0])
        np.testing.assert_allclose(W[:, 1], [0.6, 0.8], rtol=1e-15)


def test_a_max_norm_must_be_above_0(backend):
    with pytest.raises(ValueError, match="max_norm of Dense must be above 0, got 0"):
        fn.Dense(3, max_norm=0)


# -- losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_the_quantile_loss_finds_the_quantile(backend, q):
    y = np.random.default_rng(3).exponential(size=301)
    net = network(
        backend,
        [fn.Dense(1)],
        input_size=1,
        loss=fn.Quantile(q),
        optimizer=fn.SGD(fn.schedules.Cosine(0.5, length=400)),
    )
    net.fit(np.zeros((301, 1)), y, epochs=400, batch_size=301, progress=False)
    assert net.predict([[0.0]])[0, 0] == pytest.approx(np.quantile(y, q), abs=0.02)


def test_half_the_absolute_error_is_the_quantile_loss_of_a_half(backend):
    absolute = network(backend, [fn.Dense(2, "tanh")], loss="mae")
    pinball = network(backend, [fn.Dense(2, "tanh")], loss="quantile")
    for one, two in zip(
        (absolute.evaluate(X, Y)["loss"], *absolute.loss_and_gradients(X, Y)[1].values()),
        (pinball.evaluate(X, Y)["loss"], *pinball.loss_and_gradients(X, Y)[1].values()),
        strict=True,
    ):
        np.testing.assert_allclose(one, 2 * two, rtol=1e-13)


def test_one_exp_neuron_reaches_unpenalised_poisson_regression(backend):
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(400, 3))
    counts = rng.poisson(np.exp(rows @ [0.5, -0.3, 0.2] + 0.4))
    judge = PoissonRegressor(alpha=0, tol=1e-10, max_iter=1000).fit(rows, counts)
    net = network(
        backend, [fn.Dense(1, "exp")], input_size=3, loss="poisson", optimizer=fn.SGD(0.3)
    )
    net.fit(rows, counts, epochs=500, batch_size=400, progress=False)
    np.testing.assert_allclose(net.parameters["0.weight"][:, 0], judge.coef_, atol=1e-6)
    np.testing.assert_allclose(net.parameters["0.bias"], judge.intercept_, atol=1e-6)
    np.testing.assert_allclose(net.predict(rows)[:, 0], judge.predict(rows), rtol=1e-5)


def test_without_a_head_the_poisson_loss_has_log_rates(backend):
    counts = np.abs(np.round(Y))
    rates = network(backend, [fn.Dense(2, "exp")], loss="poisson")
    logs = network(backend, [fn.Dense(2)], loss="poisson")
    logs.parameters_vector = 0.1 * rates.parameters_vector
    rates.parameters_vector = logs.parameters_vector
    np.testing.assert_allclose(np.exp(logs.predict(X)), rates.predict(X), rtol=1e-12)
    assert logs.evaluate(X, counts)["loss"] == rates.evaluate(X, counts)["loss"]
    assert list(rates.evaluate(X, counts)) == ["loss", "r2"]
    assert list(logs.evaluate(X, counts)) == ["loss"]  # log rates are no estimates of counts


def test_an_exp_head_alone_does_not_mean_counts(backend):
    net = network(backend, [fn.Dense(2, "exp")])
    assert net.loss == fn.MeanSquaredError()
    net.train_batch(X, Y)  # negative targets are fine


def test_the_hinge_loss_separates_with_a_margin(backend):
    y = np.where(X[:, 0] + X[:, 1] > 3.0, 1, -1)
    gap = np.abs(X[:, 0] + X[:, 1] - 3.0) > 0.3
    net = network(backend, [fn.Dense(1)], loss="hinge", optimizer=fn.Adam(0.2))
    history = net.fit(X[gap], y[gap], epochs=300, batch_size=50, progress=False)
    assert history["accuracy"][-1] == net.evaluate(X[gap], y[gap])["accuracy"] == 1.0
    margins = net.predict(X[gap])[:, 0] * y[gap]
    assert margins.min() > 0.9
    assert history["loss"][-1] < 0.02


def test_labels_0_and_1_are_taken_as_signs(backend):
    whole, zeros = (network(backend, [fn.Dense(1)], loss="hinge") for _ in range(2))
    fit(whole, SIGNS, class_weight={-1: 3.0})
    for labels in (SIGNS > 0, (SIGNS > 0).astype(np.uint8), (SIGNS[:, None] + 1) / 2):
        other = copy.deepcopy(zeros)
        fit(other, labels, class_weight={0: 3.0})
        assert bits(other) == bits(whole)
        assert other.evaluate(X, labels) == whole.evaluate(X, SIGNS)
    balanced = network(backend, [fn.Dense(1)], loss="hinge")
    fit(balanced, SIGNS, class_weight="balanced")
    assert bits(balanced) != bits(whole)


def test_the_accuracy_of_the_hinge_loss_is_the_share_of_right_signs(backend):
    y = np.where(Y > 0, 1, -1)
    net = network(backend, [fn.Dense(3, "tanh"), fn.Dense(2)], loss="hinge")
    scores = net.predict(X)
    told = net.evaluate(X, y)
    assert told["accuracy"] == pytest.approx(np.mean((scores > 0) == (y > 0)), rel=1e-12)
    assert told["loss"] == pytest.approx(np.maximum(0, 1 - y * scores).mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("poisson", [[0, 1], [2, -3]], "y must be at least 0 for poisson, got -3.0 in row 1"),
        ("hinge", [[1, -1], [2, 1]], "y must hold -1 and 1, or 0 and 1, for hinge, got 2.0 in row"),
        ("hinge", [[1, -1], [0, 1]], "y holds -1, and 0 in row 1, column 0"),
    ],
)
def test_targets_that_do_not_fit_are_named(backend, loss, y, message):
    net = network(backend, [fn.Dense(2)], loss=loss)
    before = bits(net)
    with pytest.raises(ValueError, match=message):
        net.fit(X[:2], y, progress=False)
    assert bits(net) == before


@pytest.mark.parametrize(("loss", "head"), [("hinge", "sigmoid"), ("poisson", "relu")])
def test_a_loss_that_does_not_go_with_the_head_is_refused(backend, loss, head):
    with pytest.raises(ValueError, match=f"{loss} goes with .* not with {head}"):
        network(backend, [fn.Dense(1, head)], loss=loss)


@pytest.mark.parametrize("quantile", [0, 1, -0.5, 2.0])
def test_a_quantile_lies_between_0_and_1(backend, quantile):
    with pytest.raises(ValueError, match="quantile must be above 0 and below 1"):
        fn.Quantile(quantile)


@pytest.mark.parametrize("optimizer", [fn.Adagrad(0.3), fn.NAdam(0.02), fn.Lion(0.003)], ids=str)
def test_every_new_optimizer_learns_xor(backend, optimizer):
    rows, labels = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    layers = [fn.Dense(8, "tanh"), fn.Dense(2, "softmax")]
    net = network(backend, layers, input_size=2, optimizer=optimizer)
    net.fit(rows, labels, epochs=400, batch_size=4, progress=False)
    assert net.predict(rows).argmax(axis=1).tolist() == labels


def test_digits_are_learned_through_batch_norm(backend):
    data = fn.data.load_digits()
    layers = [fn.Dense(48, max_norm=3.0), fn.BatchNorm(), fn.Activation("relu")]
    layers += [fn.Dropout(0.1), fn.Dense(10, "softmax")]
    rate = fn.schedules.OneCycle(0.01, length=8)
    net = fn.Network(layers, optimizer=fn.NAdam(rate), backend=backend)
    history = net.fit(
        data.X_train, data.y_train, epochs=8, batch_size=64, progress=False,
        validation_data=(data.X_test, data.y_test),
    )  # fmt: skip
    assert history["val_accuracy"][-1] > 0.96
