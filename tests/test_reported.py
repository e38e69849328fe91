"""Faults that users met, each with what must not come back."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fastnn as fn
from fastnn import backends, progress
from fastnn.errors import DivergenceError, MissingDependency, ModelFileError
from fastnn.formats import model_file

pytestmark = pytest.mark.parametrize("backend", backends.available())

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))
Y = RNG.integers(0, 2, 20)


def network(backend, **options):
    layers = [fn.Dense(4, "relu"), fn.Dense(2, "softmax")]
    return fn.Network(layers, input_size=3, backend=backend, **options)


def fit(net, **options):
    return net.fit(X, Y, **{"batch_size": 5, "progress": False, **options})


def test_a_new_optimizer_begins_its_schedule_in_epochs_afresh(backend):
    # Its time was that of the network, and a cosine of 3 epochs was over before it began.
    net = network(backend)
    fit(net, epochs=5)
    before = net.parameters_vector
    net.optimizer = fn.Adam(fn.schedules.Cosine(0.01, 3))
    fit(net, epochs=1)
    assert (net.parameters_vector != before).any()
    fit(net, epochs=2)
    with pytest.warns(RuntimeWarning, match="the learning rate is 0: the schedule"):
        fit(net)


def test_a_checkpoint_at_the_last_step_of_an_epoch_does_not_repeat_it(backend, tmp_path):
    net = network(backend)
    fit(net, callbacks=[fn.ModelCheckpoint(tmp_path / "{step}.fnn", every=1, keep=10)])
    loaded = fn.Network.load(tmp_path / "4.fnn", backend=backend)
    assert (loaded.epochs, loaded.steps) == (1, 4)
    fit(net)
    fit(loaded)
    assert (loaded.parameters_vector == net.parameters_vector).all()


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_weight_0_are_not_set_aside_for_validation(backend, seed):
    weight = np.zeros(20)
    weight[:2] = 1
    history = fit(network(backend, seed=seed), sample_weight=weight, validation_data=0.5)
    assert np.isfinite(history["val_loss"]).all()
    one = np.zeros(20)
    one[0] = 1
    with pytest.raises(ValueError, match="leaves none"):
        fit(network(backend, seed=seed), sample_weight=one, validation_data=0.3)


def test_what_a_row_of_weight_0_holds_does_not_matter(backend):
    net = fn.Network([fn.Dense(1)], input_size=1, dtype="float64", backend=backend)
    with_it = net.evaluate([[1e200], [1], [2]], [0, 1, 5], sample_weight=[0, 1, 1])
    assert with_it == net.evaluate([[1], [2]], [1, 5])


def test_class_weights_count_in_training_only_whatever_the_validation_data(backend):
    def val_loss(data):
        net = network(backend, optimizer=fn.SGD(0.0))
        weighed = fit(net, class_weight={0: 1, 1: 20}, validation_data=data)
        return weighed["val_loss"], fit(net, validation_data=data)["val_loss"]

    for data in (0.5, (X, Y)):
        weighed, plain = val_loss(data)
        assert weighed == plain


@pytest.mark.parametrize("optimizer", [fn.Adam(0.1), fn.RMSprop(0.1)])
def test_a_mean_square_that_overflows_is_a_divergence(backend, optimizer):
    # It froze the weight for good, silently, and no file could be saved any more.
    net = fn.Network([fn.Dense(1)], input_size=1, optimizer=optimizer, backend=backend)
    with pytest.raises(DivergenceError):
        net.train_batch([[1e12]], [[1e12]])
    net.train_batch([[1.0]], [[3.0]])
    assert np.isfinite(net.parameters_vector).all()


def test_a_class_of_ones_own_is_not_saved_into_a_file_that_cannot_be_loaded(backend, tmp_path):
    class Mine(fn.Adam):
        pass

    net = network(backend, optimizer=Mine())
    with pytest.raises(TypeError, match="a class of your own"):
        net.save(tmp_path / "mine.fnn")

    class Layer(fn.Dense):
        pass

    with pytest.raises(TypeError, match="layer 0 of Network"):
        fn.Network([Layer(3)], backend=backend)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"mean": np.ones(3)}, r"metadata\['mean'\] must be text.* not ndarray"),
        ({"a": 1, 3: 4}, "keys of metadata must be texts, got 3"),
        ({"a": float("nan")}, r"metadata\['a'\]"),
        ([1], "metadata must be a dict, not list"),
    ],
)
def test_metadata_that_no_file_can_hold_is_named(backend, tmp_path, metadata, message):
    net = network(backend)
    net.metadata = metadata
    with pytest.raises(TypeError, match=message):
        net.save(tmp_path / "net.fnn")


def test_a_constant_target_counts_as_constant_whatever_its_mean_rounds_to(backend):
    net = fn.Network([fn.Dense(1)], input_size=1, dtype="float64", backend=backend)
    net.parameters_vector = [0, 0]
    for rows in (3, 4, 7):
        assert net.evaluate(np.ones((rows, 1)), np.full(rows, 0.1))["r2"] == 0
        assert net.evaluate(np.ones((rows, 1)), np.zeros(rows))["r2"] == 1


def test_saving_in_the_middle_of_a_call_is_refused(backend, tmp_path):
    # A signal handler did it: trained weights stood beside the counts of an untrained network.
    net = network(backend)
    net._state.busy = True
    with pytest.raises(RuntimeError, match="in the middle of training steps"):
        net.save(tmp_path / "net.fnn")
    net._state.busy = False
    net.save(tmp_path / "net.fnn")


@pytest.mark.parametrize("doublings", [31, 70])
def test_widths_beyond_all_bounds_in_a_file_are_refused(backend, tmp_path, doublings):
    net = network(backend)
    net.save(tmp_path / "net.fnn")
    plain, _ = model_file.read(tmp_path / "net.fnn")
    doubled = {"type": "Concat", "layers": [{"type": "Activation", "function": "relu"}]}
    plain |= {"layers": [doubled] * doublings, "input_size": 1, "loss": None}
    plain["optimizer"] = {"type": "SGD"}
    model_file.write(tmp_path / "wide.fnn", json.loads(json.dumps(plain)), {})
    with pytest.raises(ModelFileError, match="columns, more than"):
        fn.Network.load(tmp_path / "wide.fnn", backend=backend)


@pytest.mark.parametrize("total", [1e308 * 20, 1e-320])
def test_weights_beyond_the_dtype_are_refused(backend, total):
    net = network(backend, dtype="float64")
    with pytest.raises(ValueError, match="scale it to a mean of about 1"):
        net.evaluate(X, Y, np.full(20, min(total, 1e308)))


def test_numbers_beyond_float64_are_refused_in_one_sentence(backend):
    with pytest.raises(ValueError, match="too large"):
        network(backend).predict([[10**400, 1, 1]])
    with pytest.raises(ValueError, match="must be finite"):
        fn.SGD(10**400)


def test_a_checkpoint_without_a_folder_is_refused_before_training(backend, tmp_path):
    net = network(backend)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        fit(net, callbacks=[fn.ModelCheckpoint(tmp_path / "none" / "net.fnn")])
    assert net.steps == 0


def test_the_rows_of_a_class_of_weight_0_are_as_good_as_absent(backend):
    """A batch of them alone has no mean: its loss was NaN, and training said to have diverged."""
    order = np.argsort(Y, kind="stable")
    by_class, absent = network(backend), network(backend)
    told = {"epochs": 2, "batch_size": 4, "shuffle": False, "progress": False}
    by_class.fit(X[order], Y[order], class_weight={0: 0.0}, **told)
    absent.fit(X[Y == 1], Y[Y == 1], **told)
    assert (by_class.parameters_vector == absent.parameters_vector).all()


@pytest.mark.parametrize("optimizer", [fn.SGD(1e-12), fn.Adam()])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_single_step_that_diverges_in_one_layer_leaves_all_as_they_were(
    backend, optimizer, order
):
    """The other layers were updated by then, and stayed so; an array in F order is copied first."""
    layers = [fn.Dense(100, "tanh"), fn.Dense(3)]
    net = fn.Network(layers, input_size=64, optimizer=optimizer, backend=backend)
    for name, scale in (("0.weight", 1e-30), ("1.weight", 1e10)):
        net.parameters[name][...] *= scale
    before = net.parameters_vector
    rows = 1e30 * np.random.default_rng(0).normal(size=(8, 64))
    with pytest.raises(DivergenceError, match="after 0 steps"):
        net.train_batch(np.asarray(rows, np.float32, order=order), np.zeros((8, 3), np.float32))
    assert (net.parameters_vector == before).all()


@pytest.mark.parametrize("call", ["fit", "train_batch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_that_were_set_to_nan_are_not_said_to_be_kept_finite(backend, call, dtype):
    """The message told of the last finite weights, of which there were none."""
    net, rows = network(backend), X.astype(dtype)
    net.parameters["0.weight"][0, 0] = np.nan
    train = getattr(net, call)
    with pytest.raises(DivergenceError, match="NaN or infinity was written into the parameters"):
        train(rows, Y)


def test_a_validation_loss_of_nan_is_worse_than_any_number(backend):
    """Nothing is lower than NaN, so the weights of the first epoch counted as the best."""
    stopping = fn.EarlyStopping(patience=5)
    run = fn.Run(network(backend), ["loss", "val_loss"])
    stopping.on_fit_begin(run)
    history = fn.History(run.metric_names, 1)
    for run.epoch, value in enumerate((np.nan, np.inf, 2.0, 3.0, np.nan), 1):
        run.metrics = {"loss": 1.0, "val_loss": value}
        history.append(run.metrics)
        stopping.on_epoch_end(run)
    assert (stopping.best_epoch, stopping.best, stopping.waited) == (3, 2.0, 2)
    assert history.best_epoch == 3


@pytest.mark.parametrize("bar", [False, True])
def test_a_run_that_is_ended_before_an_epoch_begins_takes_no_step(backend, bar):
    """Steps were taken all the same, and on a terminal, where a bar is drawn, others than else."""

    class Bar(fn.Callback):
        def on_steps_end(self, run):
            pass

    class Ended(fn.Callback):
        def on_epoch_begin(self, run):
            run.stop("before it begins")

    net = network(backend)
    callbacks = [Ended(), Bar()] if bar else [Ended()]
    history = net.fit(X, Y, batch_size=1, progress=False, callbacks=callbacks)
    assert (net.steps, history["loss"], history.stop_reason) == (0, [], "before it begins")


@pytest.mark.parametrize("output", ["None", "open(os.devnull, 'w')"])
def test_a_run_without_an_output_has_no_bar(backend, output):
    """A daemon has none, or has closed it: what should have drawn a bar raised an exception."""
    script = f"""
        import os, sys
        import numpy as np, fastnn as fn
        sys.stderr = {output}
        if sys.stderr is not None:
            sys.stderr.close()
        fn.Network([fn.Dense(1)], backend={backend!r}).fit(np.ones((4, 2)), np.ones(4))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=60)


def test_a_missing_tqdm_is_named_with_its_remedy(backend, monkeypatch):
    progress._bars.cache_clear()
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(
        MissingDependency, match="pip install tqdm, or call fit with progress=False"
    ):
        network(backend).fit(X, Y)


def test_an_infinite_constant_is_not_said_to_be_too_small(backend):
    with pytest.raises(ValueError, match="learning_rate must be finite and at least 0, got inf"):
        fn.SGD(float("inf"))
    with pytest.raises(MemoryError, match="no memory for 16 EiB"):
        fn.Network([fn.Dense(2**31 - 1)], input_size=2**31 - 1, backend=backend)
