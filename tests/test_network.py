"""The Network as users meet it, on every backend."""

import copy
import pickle

import numpy as np
import pytest

import fastnn as fn
from fastnn import backends
from fastnn.formats import model_file

pytestmark = pytest.mark.parametrize("backend", backends.available())

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, 50)
LAYERS = [
    fn.Dense(20, "relu", l2=1e-3),
    fn.Dropout(0.3),
    fn.Residual([fn.LayerNorm(), fn.Gated(20)]),
    fn.Dense(3, "softmax"),
]


def network(backend, layers=LAYERS, **options):
    return fn.Network(layers, backend=backend, **options)


def bits(net):
    return net.parameters_vector.tobytes()


def test_the_input_size_is_taken_from_the_first_fit(backend):
    net = network(backend)
    assert net.input_size is None
    with pytest.raises(ValueError, match="input size is not known"):
        net.predict(X)
    net.fit(X, LABELS, progress=False)
    assert net.input_size == 4


def test_the_same_seed_draws_the_same_network_and_another_another(backend):
    same = bits(network(backend, input_size=4, seed=5))
    assert bits(network(backend, input_size=4, seed=5)) == same
    assert bits(network(backend, input_size=4, seed=6)) != same
    drawn = network(backend, input_size=4, seed=None)
    assert bits(network(backend, input_size=4, seed=drawn.seed)) == bits(drawn)


def test_columns_make_embeddings_of_categories(backend, tmp_path):
    codes = np.array([4, 0, 2, 2, 1])
    rows = np.column_stack([X[:5, 0], np.eye(5)[codes], X[:5, 1:3]]).astype(np.float32)
    net = network(backend, [fn.Columns(1, 6, [fn.Dense(3, use_bias=False)])], input_size=8)
    assert list(net.parameters) == ["0.0.weight"]
    before = net.parameters["0.0.weight"].copy()
    want = np.column_stack([X[:5, 0], before[codes], X[:5, 1:3]])
    np.testing.assert_array_equal(net.predict(rows), want)
    net.fit(rows, want + 1, epochs=3, progress=False)
    moved = (net.parameters["0.0.weight"] != before).all(axis=1)
    assert moved.tolist() == [True, True, True, False, True]  # nobody is of category 3
    net.save(tmp_path / "net.fnn")
    loaded = fn.Network.load(tmp_path / "net.fnn", backend=backend)
    assert loaded.layers == net.layers
    np.testing.assert_array_equal(loaded.predict(rows), net.predict(rows))
    assert "Columns(1, stop=6)" in str(net)


def test_a_write_into_the_parameters_counts_at_once(backend):
    net = network(backend, [fn.Dense(1)], input_size=4)
    net.parameters["0.weight"][...] = 0
    net.parameters["0.bias"][...] = 7
    assert (net.predict(X) == 7).all()
    net.parameters["0.weight"][2, 0] = 1
    np.testing.assert_allclose(net.predict(X)[:, 0], X[:, 2] + 7, rtol=1e-6)
    with pytest.raises(TypeError):
        net.parameters["0.weight"] = np.zeros((4, 1))  # would bind a name and change nothing


def test_the_vector_of_parameters_is_a_compact_copy_that_can_be_set(backend):
    net = network(backend, input_size=4)
    vector = net.parameters_vector
    assert vector.shape == (net.parameter_count,)
    vector[:] = 1
    assert not (net.parameters_vector == 1).all()
    net.parameters_vector = vector
    assert all((value == 1).all() for value in net.parameters.values())
    with pytest.raises(ValueError, match="shape"):
        net.parameters_vector = vector[1:]


def test_predictions_of_a_softmax_are_probabilities(backend):
    p = network(backend, input_size=4).predict(X)
    assert p.shape == (50, 3)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)


def test_a_network_without_a_head_predicts_scores(backend):
    logits = network(backend, [fn.Dense(3)], input_size=4, loss="cross_entropy", seed=1)
    headed = network(backend, [fn.Dense(3, "softmax")], input_size=4, seed=1)
    headed.parameters_vector = logits.parameters_vector
    e = np.exp(logits.predict(X))
    np.testing.assert_allclose(headed.predict(X), e / e.sum(axis=1, keepdims=True), rtol=1e-5)
    assert logits.evaluate(X, LABELS) == pytest.approx(headed.evaluate(X, LABELS))


def test_predictions_go_into_a_buffer(backend):
    net = network(backend, input_size=4)
    out = np.full((50, 3), np.nan, np.float32)
    assert net.predict(X, out=out) is out
    assert (out == net.predict(X)).all()
    square = network(backend, [fn.Dense(4, "tanh")], input_size=4)
    expected, both = square.predict(X), X.copy()
    square.predict(both, out=both)
    assert (both == expected).all()


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.empty((50, 2), np.float32), ValueError),
        (np.empty((50, 3)), TypeError),
        (np.empty((50, 6), np.float32)[:, ::2], ValueError),
        ([[0.0]], TypeError),
    ],
)
def test_a_buffer_that_does_not_fit_is_refused(backend, out, error):
    with pytest.raises(error, match="out must"):
        network(backend, input_size=4).predict(X, out=out)


def test_no_rows_give_no_predictions(backend):
    assert network(backend, input_size=4).predict(np.empty((0, 4))).shape == (0, 3)


def test_the_loss_with_penalties_is_the_same_everywhere(backend):
    net = network(backend, input_size=4, dtype="float64")
    loss, gradients = net.loss_and_gradients(X, LABELS)
    assert net.evaluate(X, LABELS)["loss"] == pytest.approx(loss, rel=1e-12)
    assert {name: value.shape for name, value in gradients.items()} == {
        name: value.shape for name, value in net.parameters.items()
    }
    training = net.loss_and_gradients(X, LABELS, training=True)[0]
    assert training != loss  # dropout is on
    assert net.train_batch(X, LABELS) == pytest.approx(training, rel=1e-12)


def test_labels_and_one_hot_rows_mean_the_same(backend):
    net = network(backend, input_size=4, dtype="float64")
    one_hot = np.eye(3)[LABELS]
    assert net.loss_and_gradients(X, one_hot)[0] == pytest.approx(
        net.loss_and_gradients(X, LABELS)[0], rel=1e-12
    )
    for labels in (LABELS.tolist(), LABELS.astype(np.uint8), LABELS.astype(float), LABELS[:, None]):
        assert net.evaluate(X, labels) == net.evaluate(X, LABELS)


def test_input_gradients_are_those_of_the_loss_without_penalties(backend):
    net = network(backend, input_size=4, dtype="float64")
    gradient = net.input_gradients(X, LABELS)
    step = 1e-6
    for row, column in [(0, 0), (7, 3)]:
        up, down = X.astype(float), X.astype(float)
        up[row, column] += step
        down[row, column] -= step
        change = net.evaluate(up, LABELS)["loss"] - net.evaluate(down, LABELS)["loss"]
        assert gradient[row, column] == pytest.approx(change / (2 * step), rel=1e-5, abs=1e-9)


def test_fitting_3_epochs_and_then_2_gives_the_bits_of_5(backend):
    whole, parts = network(backend), network(backend)
    whole.fit(X, LABELS, epochs=5, batch_size=16, progress=False)
    parts.fit(X, LABELS, epochs=3, batch_size=16, progress=False)
    parts.fit(X, LABELS, epochs=2, batch_size=16, progress=False)
    assert bits(parts) == bits(whole)
    assert parts.epochs == 5
    assert parts.steps == 5 * 4


def test_unshuffled_fitting_gives_the_bits_of_train_batch_on_consecutive_batches(backend):
    fitted, stepped = network(backend), network(backend)
    history = fitted.fit(X, LABELS, batch_size=16, shuffle=False, progress=False)
    losses = [stepped.train_batch(X[i : i + 16], LABELS[i : i + 16]) for i in range(0, 50, 16)]
    assert bits(stepped) == bits(fitted)
    # The last batch has 2 rows: its update counts with its own mean, the metric by its rows.
    assert history["loss"] == [pytest.approx(np.average(losses, weights=[16, 16, 16, 2]))]


@pytest.mark.parametrize("optimizer", [fn.SGD(0.1, momentum=0.9), fn.AdamW(0.01), fn.RMSprop()])
def test_saving_loading_and_going_on_gives_the_bits_of_never_having_stopped(
    backend, optimizer, tmp_path
):
    whole = network(backend, optimizer=optimizer)
    stopped = network(backend, optimizer=optimizer)
    whole.fit(X, LABELS, epochs=4, batch_size=16, progress=False)
    stopped.fit(X, LABELS, epochs=2, batch_size=16, progress=False)
    stopped.metadata = {"class_names": ["a", "b", "c"]}
    stopped.save(tmp_path / "half.fnn")
    loaded = fn.Network.load(tmp_path / "half.fnn", backend=backend)
    assert bits(loaded) == bits(stopped)
    assert (loaded.layers, loaded.optimizer, loaded.seed) == (stopped.layers, optimizer, 0)
    assert (loaded.epochs, loaded.steps, loaded.metadata) == (2, 8, stopped.metadata)
    loaded.fit(X, LABELS, epochs=2, batch_size=16, progress=False)
    assert bits(loaded) == bits(whole)


def test_a_checkpoint_in_the_middle_of_an_epoch_goes_on_to_the_same_bits(backend, tmp_path):
    path = str(tmp_path / "{step}.fnn")
    whole = network(backend)
    save = fn.ModelCheckpoint(path, every=3, keep=10)
    whole.fit(X, LABELS, epochs=3, batch_size=16, callbacks=[save], progress=False)
    loaded = fn.Network.load(tmp_path / "6.fnn", backend=backend)
    assert (loaded.epochs, loaded.steps) == (1, 6)
    history = loaded.fit(X, LABELS, epochs=2, batch_size=16, progress=False)
    assert bits(loaded) == bits(whole)
    assert len(history["loss"]) == 2


def test_a_network_that_was_never_trained_can_be_saved(backend, tmp_path):
    network(backend).save(tmp_path / "new.fnn")
    loaded = fn.Network.load(tmp_path / "new.fnn", backend=backend)
    assert loaded.input_size is None
    network(backend, input_size=4).save(tmp_path / "new.fnn")
    assert fn.Network.load(tmp_path / "new.fnn", backend=backend).input_size == 4


def test_a_file_from_before_some_arguments_has_their_defaults(backend, tmp_path):
    net = network(backend, optimizer=fn.AdamW(0.01))
    net.fit(X, LABELS, progress=False)
    net.save(tmp_path / "old.fnn")
    description, tensors = model_file.read(tmp_path / "old.fnn")
    del description["optimizer"]["epsilon_hat"]
    del description["layers"][0]["penalty_per_row"]
    model_file.write(tmp_path / "old.fnn", description, tensors)
    loaded = fn.Network.load(tmp_path / "old.fnn", backend=backend)
    assert (loaded.layers, loaded.optimizer) == (net.layers, net.optimizer)
    assert bits(loaded) == bits(net)


def test_copies_and_pickles_go_their_own_way(backend):
    net = network(backend)
    net.fit(X, LABELS, epochs=2, progress=False)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert bits(twin) == bits(net)
        before = bits(net)
        twin.fit(X, LABELS, progress=False)
        assert bits(net) == before
        assert bits(twin) != before


def test_setting_the_optimizer_starts_it_afresh(backend):
    net = network(backend)
    net.fit(X, LABELS, progress=False)
    net.optimizer = "sgd"
    assert net.steps == 0
    assert net.optimizer == fn.SGD()
    net.fit(X, LABELS, progress=False)


def test_the_summary_names_every_layer_width_and_count(backend):
    lines = str(network(backend, input_size=4)).splitlines()
    assert [line.split()[0] for line in lines[3:-1]] == ["0", "1", "2", "2.0", "2.1", "3"]
    assert lines[3].split()[-2:] == ["20", "100"]
    gated = 2 * (20 * 20 + 20) + 1
    assert lines[7].split()[-2:] == ["20", str(gated)]
    assert "1,044 parameters" in lines[-1]
    assert "?" in str(network(backend))


def test_penalties_and_weight_decay_touch_weights_only_unless_told(backend):
    def change(layer, optimizer):
        net = network(backend, [layer], input_size=2, optimizer=optimizer, dtype="float64")
        net.parameters_vector = np.ones(3)
        net.train_batch([[0.0, 0.0]], [1.0])  # predicts 1: the data ask for nothing
        return [float(v.reshape(-1)[0]) - 1 for v in net.parameters.values()]

    plain, decayed = fn.SGD(0.1), fn.SGD(0.1, weight_decay=0.5)
    told = fn.Dense(1, regularize_bias=True)
    assert change(fn.Dense(1), decayed) == pytest.approx([-0.05, 0])
    assert change(told, decayed) == pytest.approx([-0.05, -0.05])
    assert change(fn.Dense(1, l2=0.5), plain) == pytest.approx([-0.05, 0])
    assert change(fn.Dense(1, l1=0.5), plain) == pytest.approx([-0.05, 0])
    both = fn.Dense(1, l1=0.5, l2=0.5, regularize_bias=True)
    assert change(both, plain) == pytest.approx([-0.1, -0.1])


@pytest.mark.parametrize(
    ("layers", "loss", "chosen"),
    [
        ([fn.Dense(3, "softmax")], "auto", "cross_entropy"),
        ([fn.Dense(3), fn.Activation("softmax")], "auto", "cross_entropy"),
        ([fn.Dense(3, "sigmoid")], "auto", "binary_cross_entropy"),
        ([fn.Dense(3, "tanh")], "auto", "mse"),
        ([fn.Dense(3, "softmax")], "mse", "mse"),
        ([fn.Dense(3, "sigmoid")], fn.Huber(2.0), "huber"),
    ],
)
def test_the_loss_goes_with_the_head(backend, layers, loss, chosen):
    net = network(backend, layers, loss=loss, input_size=4)
    assert net.loss.name == chosen
    y = RNG.uniform(size=(50, 3))
    y /= y.sum(axis=1, keepdims=True)
    assert np.isfinite(net.train_batch(X, y))


def test_a_loss_that_does_not_go_with_the_head_is_refused_by_name(backend):
    with pytest.raises(ValueError, match=r"cross_entropy goes with .*softmax.* not with relu"):
        network(backend, [fn.Dense(3, "relu")], loss="cross_entropy")
