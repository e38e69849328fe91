"""What bad input gets: one sentence that names the argument, and a network that is as it was."""

import numpy as np
import polars
import pytest

import fastnn as fn
from fastnn import backends
from fastnn.errors import BackendUnavailable, FastnnError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3)).astype(np.float32)
LABELS = np.arange(12) % 2
WEIGHT = np.ones(12)


@pytest.fixture(params=backends.available())
def net(request):
    return fn.Network(
        [fn.Dense(5, "tanh"), fn.Dense(2, "softmax")], input_size=3, backend=request.param
    )


@pytest.fixture(params=["fit", "train_batch", "evaluate", "loss_and_gradients", "input_gradients"])
def call(request, net):
    method = getattr(net, request.param)
    return (lambda x, y: method(x, y, progress=False)) if request.param == "fit" else method


def put(array, index, value):
    changed = np.array(array, dtype=float)
    changed[index] = value
    return changed


BAD_ROWS = [
    (X[:, :2], ValueError, "X has 2 columns, the network takes 3"),
    (np.ones((12, 4)), ValueError, "X has 4 columns, the network takes 3"),
    (X[0], ValueError, r"X must have 2 dimensions .* got \(3,\); for one row use X.reshape"),
    (X[None], ValueError, r"X must have 2 dimensions .* got \(1, 12, 3\)"),
    (np.float32(1), ValueError, r"X must have 2 dimensions .* got \(\)"),
    (X[:, :0], ValueError, "X has no columns"),
    (put(X, (7, 1), np.nan), ValueError, "X holds nan in row 7, column 1"),
    (put(X, (11, 2), -np.inf), ValueError, "X holds -inf in row 11, column 2"),
    (put(X, (0, 0), 1e300), ValueError, r"X holds 1e\+300 in row 0, column 0, too large for"),
    ([["a", "b", "c"]] * 12, TypeError, "X must hold numbers, got 'a' in row 0, column 0"),
    ([[1, 2, "7"]] * 12, TypeError, "X must hold numbers, got '1' in row 0, column 0"),
    (np.array([[1, 2, None]] * 12), TypeError, "got None in row 0, column 2"),
    (X.astype(complex), TypeError, "X must hold real numbers, not complex"),
    (X.astype("datetime64[s]"), TypeError, "X must hold real numbers, not datetime64"),
    ([[1, 2, 3], [1, 2]], ValueError, "X cannot be read as an array"),
    (np.ma.masked_array(X, mask=X > 0), TypeError, "X is a masked array; fill it first"),
    (None, TypeError, "X must hold numbers, got None"),
    ({"a": 1}, TypeError, "X must hold numbers"),
]


@pytest.mark.parametrize(("rows", "error", "message"), BAD_ROWS)
def test_rows_that_do_not_fit_are_refused(call, net, rows, error, message):
    before = net.parameters_vector
    with pytest.raises(error, match=message):
        call(rows, LABELS)
    with pytest.raises(error, match=message):
        net.predict(rows)
    assert (net.parameters_vector == before).all()
    assert net.steps == 0


def test_no_rows_cannot_be_trained_on(call):
    with pytest.raises(ValueError, match="X has no rows"):
        call(X[:0], LABELS[:0])


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (LABELS[:5], ValueError, "X has 12 rows, y has 5"),
        (put(LABELS, 3, 2), ValueError, "whole numbers from 0 to 1, got 2.0 in row 3"),
        (put(LABELS, 3, -1), ValueError, "whole numbers from 0 to 1, got -1.0 in row 3"),
        (put(LABELS, 3, 0.5), ValueError, "whole numbers from 0 to 1, got 0.5 in row 3"),
        (put(LABELS, 3, np.nan), ValueError, "whole numbers from 0 to 1, got nan in row 3"),
        (put(LABELS, 3, np.inf), ValueError, "whole numbers from 0 to 1, got inf in row 3"),
        (["yes", "no"] * 6, TypeError, "y must hold numbers, got 'yes' in row 0"),
        (np.ones((12, 3)), ValueError, r"y has shape \(12, 3\), the network gives \(12, 2\)"),
        (np.ones((12, 2)), ValueError, "row 0 sums to 2"),
        (np.tile([1.5, -0.5], (12, 1)), ValueError, "between 0 and 1 .* got 1.5 in row 0, col"),
        (put(np.tile([1, 0], (12, 1)), (4, 1), np.nan), ValueError, "nan in row 4, column 1"),
        (np.ones((12, 2, 1)), ValueError, "y must have 1 or 2 dimensions"),
        (7, ValueError, "y must have 1 or 2 dimensions"),
    ],
)
def test_targets_that_do_not_fit_are_refused(call, net, y, error, message):
    before = net.parameters_vector
    with pytest.raises(error, match=message):
        call(X, y)
    assert (net.parameters_vector == before).all()
    assert net.steps == 0


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (put(np.ones(12), 5, np.nan), "y holds nan in row 5, column 0"),
        (put(np.ones(12), 5, np.inf), "y holds inf in row 5, column 0"),
        (np.ones((12, 2)), r"y has shape \(12, 2\), the network gives \(12, 1\)"),
    ],
)
def test_values_that_do_not_fit_are_refused(net, y, message):
    values = fn.Network([fn.Dense(1)], input_size=3, backend=net.backend)
    with pytest.raises(ValueError, match=message):
        values.fit(X, y, progress=False)


def test_yes_or_no_targets_lie_between_0_and_1(net):
    yes_or_no = fn.Network([fn.Dense(1, "sigmoid")], input_size=3, backend=net.backend)
    with pytest.raises(ValueError, match=r"between 0 and 1 for binary_cross_entropy, got 2.0"):
        yes_or_no.fit(X, np.full(12, 2.0), progress=False)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (WEIGHT[:5], ValueError, r"sample_weight must have shape \(12,\), got \(5,\)"),
        (WEIGHT[:, None], ValueError, "sample_weight must have shape"),
        (put(WEIGHT, 2, np.nan), ValueError, "sample_weight holds nan in row 2"),
        (put(WEIGHT, 2, np.inf), ValueError, "sample_weight holds inf in row 2"),
        (put(WEIGHT, 2, -1), ValueError, "must not be negative, got -1.0 in row 2"),
        (WEIGHT * 0, ValueError, "0 in every row"),
        (["a"] * 12, TypeError, "sample_weight must hold numbers"),
    ],
)
def test_weights_that_do_not_fit_are_refused(net, weight, error, message):
    for method in (net.train_batch, net.evaluate):
        with pytest.raises(error, match=message):
            method(X, LABELS, weight)
    with pytest.raises(error, match=message):
        net.fit(X, LABELS, sample_weight=weight, progress=False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must lie between 1 and"),
        ({"epochs": 1.5}, TypeError, "epochs must be a whole number, not 1.5"),
        ({"batch_size": -1}, ValueError, "batch_size must lie between 1"),
        ({"batch_size": True}, TypeError, "batch_size must be a whole number"),
        ({"shuffle": 1}, TypeError, "shuffle must be True or False"),
        ({"callbacks": [print]}, TypeError, "must hold Callback objects"),
        ({"callbacks": print}, TypeError, "must be a list of Callback objects"),
        ({"validation_data": X}, TypeError, "validation_data must be"),
        ({"validation_data": 1.5}, ValueError, "validation_data must be above 0 and below 1"),
        ({"validation_data": 0.999}, ValueError, "leaves none"),
        ({"validation_data": (X[:, :2], LABELS)}, ValueError, "X has 2 columns"),
        ({"validation_data": (X[:0], LABELS[:0])}, ValueError, "X has no rows"),
        ({"class_weight": {2: 1.0}}, ValueError, "class_weight names 2, the classes are 0 to 1"),
        ({"class_weight": {0: -1.0}}, ValueError, "class_weight of 0 must be at least 0"),
        ({"class_weight": "even"}, TypeError, "class_weight must be a mapping or 'balanced'"),
        ({"class_weight": {0: 0, 1: 0}}, ValueError, "is 0 in every row"),
    ],
)
def test_options_of_fit_that_do_not_fit_are_refused(net, options, error, message):
    before = net.parameters_vector
    with pytest.raises(error, match=message):
        net.fit(X, LABELS, **{"progress": False, **options})
    assert (net.parameters_vector == before).all()


def test_a_bad_first_fit_leaves_the_input_size_unknown(net):
    fresh = fn.Network(net.layers, backend=net.backend)
    with pytest.raises(ValueError, match="y has 5"):
        fresh.fit(X, LABELS[:5], progress=False)
    assert fresh.input_size is None
    fresh.fit(np.ones((4, 9)), [0, 1, 0, 1], progress=False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: fn.Dense(3, "rellu"),
            r"unknown activation 'rellu' \(did you mean 'relu'\?\); kno",
        ),
        (lambda: fn.Activation("gelo"), "did you mean 'gelu'"),
        (lambda: fn.Network([fn.Dense(1)], loss="msse"), "unknown loss 'msse' .did you mean 'mse'"),
        (lambda: fn.Network([fn.Dense(1)], optimizer="adm"), "unknown optimizer .* 'adam'"),
        (lambda: fn.Network([fn.Dense(1)], backend="nativ"), "unknown backend .* 'native'"),
        (lambda: fn.Network([fn.Dense(1)], dtype="float16"), "unknown dtype .*float32"),
        (lambda: fn.Network([fn.Dense(1)], dtype=">f4"), "unknown dtype"),
        (lambda: fn.Gated(3, "siglu"), "unknown kind of gate"),
        (lambda: fn.Dense(3, weight_initializer="he"), "unknown initializer"),
        (lambda: fn.Dense(0), "units of Dense must lie between 1 and"),
        (lambda: fn.Dropout(1.0), "rate of Dropout must be at least 0 and below 1, got 1.0"),
        (lambda: fn.LayerNorm(0.0), "epsilon of LayerNorm must be above 0"),
        (lambda: fn.Adam(beta1=1.0), "beta1 must be at least 0 and below 1"),
        (lambda: fn.SGD(float("nan")), "learning_rate must be at least 0, got nan"),
        (lambda: fn.SGD(nesterov=True), "nesterov=True needs a momentum"),
        (lambda: fn.SGD(momentum=1.01), "momentum must be at least 0 and at most 1, got 1.01"),
        (lambda: fn.RMSprop(momentum=1.0), "momentum must be at least 0 and below 1"),
        (lambda: fn.SGD(clip_norm=0), "clip_norm must be above 0"),
        (lambda: fn.Huber(delta=-1), "delta must be above 0"),
        (lambda: fn.CrossEntropy(label_smoothing=1.0), "label_smoothing must be .* below 1"),
        (lambda: fn.schedules.Cosine(0.1, unit="hour"), "unknown unit of time"),
        (lambda: fn.Network([]), "needs at least one layer"),
        (lambda: fn.Residual([]), "needs at least one layer"),
        (lambda: fn.Network([fn.Dense(1)], input_size=0), "input_size must lie between 1"),
        (lambda: fn.Network([fn.Dense(1)], threads=0), "threads must lie between 1"),
        (lambda: fn.Network([fn.Dense(1)], seed=-1), "seed must lie between 0"),
        (
            lambda: fn.Network([fn.Residual([fn.Dense(4)])], input_size=3),
            "Residual, layer 0: its input has 3 columns, its layers give 4",
        ),
        (lambda: fn.Columns(3, 3, [fn.Dense(2)]), "stop of Columns must lie between 4"),
        (lambda: fn.Columns(-1, 3, [fn.Dense(2)]), "start of Columns must lie between 0"),
        (
            lambda: fn.Network([fn.Residual([fn.Columns(1, 4, [fn.Dense(3)])])], input_size=3),
            r"Columns, layer 0\.0: its input has 3 columns, so 1 to 4 are not all there",
        ),
        (lambda: fn.Network([fn.Activation("softmax")], input_size=3), "no layer that computes"),
        (lambda: fn.ModelCheckpoint("a.fnn", keep=2), "must hold {epoch} or {step}"),
        (lambda: fn.EarlyStopping(patience=0), "patience must lie between 1"),
        (lambda: fn.set_num_threads(0), "threads must lie between 1"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fn.Dense(2.5), "units of Dense must be a whole number, not 2.5"),
        (lambda: fn.Dense("3"), "units of Dense must be a whole number, not '3'"),
        (lambda: fn.Dense(3, use_bias=1), "use_bias must be True or False"),
        (lambda: fn.Network("relu"), "Network takes a list of layers"),
        (lambda: fn.Network(fn.Dense(3)), "Network takes a list of layers"),
        (lambda: fn.Network([fn.Dense(3), "relu"]), "layer 1 of Network is 'relu', not a layer"),
        (lambda: fn.Residual([fn.Dense]), "layer 0 of Residual is"),
        (lambda: fn.Adam("fast"), "learning_rate must be a number, not 'fast'"),
    ],
)
def test_descriptions_of_the_wrong_type_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda x: x[::-1][::-1],
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x.astype(">f8"),
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.longdouble),
        lambda x: x.tolist(),
        lambda x: [tuple(row) for row in x],
        lambda x: x.astype(object),
        lambda x: polars.DataFrame(x),
        lambda x: (
            np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
        ),
        lambda x: np.lib.stride_tricks.as_strided(x, x.shape, x.strides, writeable=False),
    ],
)
def test_any_layout_is_converted_and_left_as_it_was(net, layout):
    rows = layout(X)
    before = rows.tobytes() if isinstance(rows, np.ndarray) and rows.dtype != object else None
    assert (net.predict(rows) == net.predict(X)).all()
    assert net.evaluate(rows, LABELS) == net.evaluate(X, LABELS)
    net.fit(rows, LABELS, progress=False)
    assert before is None or rows.tobytes() == before


@pytest.mark.parametrize("kind", ["float16", "int8", "uint8", "int64", "bool"])
def test_any_kind_of_number_is_converted(net, kind):
    small = np.array([[0, 1, 1], [1, 0, 1]], dtype=kind)
    assert (net.predict(small) == net.predict(small.astype(np.float32))).all()


def test_a_backend_that_is_missing_says_so_and_what_would_do(monkeypatch):
    monkeypatch.setitem(backends.BACKENDS, "abacus", ("fastnn.backends.abacus", "buy beads"))
    with pytest.raises(BackendUnavailable, match="'abacus' is not available: .*; buy beads") as e:
        fn.Network([fn.Dense(1)], backend="abacus")
    assert isinstance(e.value, (ImportError, FastnnError))
    assert "abacus" not in backends.available()
    assert "buy beads" in backends.why_unavailable("abacus")


def test_auto_falls_back_on_the_reference_with_a_warning(monkeypatch):
    monkeypatch.setattr(backends, "AUTOMATIC", ("reference",))
    with pytest.warns(RuntimeWarning, match="slow NumPy reference"):
        assert fn.Network([fn.Dense(1)]).backend == "reference"
