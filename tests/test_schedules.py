"""Learning rates over time: the formula of every schedule, and what a plateau remembers."""

import numpy as np
import own_functions
import pytest

import fastnn as fn
from fastnn import backends, configuration
from fastnn.backends.base import RATES_AHEAD, OptimizerState
from fastnn.errors import ModelFileError
from fastnn.optimizers import Adam
from fastnn.schedules import (
    Constant,
    Cosine,
    CosineLog,
    Exponential,
    InverseScaling,
    OneCycle,
    Plateau,
    ReduceOnPlateau,
    Step,
)

BACKENDS = pytest.mark.parametrize("backend", backends.available())


def rates(schedule, times):
    """Return the rates at some times, in the unit of the schedule."""
    times = np.asarray(times, np.float64)
    other = np.full(len(times), 10.0**6)  # whoever reads the wrong clock is found out
    if schedule.unit == "step":
        return schedule.rates(times.astype(np.int64), other)
    return schedule.rates(other.astype(np.int64), times)


# -- formulas ------------------------------------------------------------------------------------

TIMES = np.array([0, 1, 2.5, 7, 19])


@pytest.mark.parametrize(
    ("schedule", "want"),
    [
        (Constant(0.3), 0.3 + 0 * TIMES),
        (Exponential(0.3, gamma=0.9), 0.3 * 0.9**TIMES),
        (InverseScaling(0.3), 0.3 / np.sqrt(TIMES + 1)),
        (InverseScaling(0.3, power=1.0), 0.3 / (TIMES + 1)),
        (Step(0.3, every=2.5, gamma=0.5), [0.3, 0.3, 0.15, 0.075, 0.3 / 2**7]),
        (Cosine(0.3, length=14, final=0.1), [0.3, 0.297493, 0.284672, 0.2, 0.1]),
        # 15 units have cycles of 1, 2, 4 and 8.
        (CosineLog(0.3, length=15), [0, 0, 0.0971067, 0, 0]),
        (CosineLog(0.3, length=7.6, cycles=1), [0, 0.0847187, 0.2767924, 0.009885271, 0]),
        (ReduceOnPlateau(0.3), 0.3 + 0 * TIMES),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_rates_are_those_of_the_formula(schedule, want):
    np.testing.assert_allclose(rates(schedule, TIMES), want, rtol=1e-4)


# PyTorch 2.13: OneCycleLR(optimizer, max_lr=0.1, total_steps=10, cycle_momentum=False).
PYTORCHS_CYCLE = (
    0.004,
    0.052,
    0.1,
    0.0950484632,
    0.0811745654,
    0.0611262022,
    0.0388741978,
    0.0188258346,
    0.0049519368,
    4e-7,
)


def test_one_cycle_counted_in_steps_has_the_rates_of_pytorch():
    schedule = OneCycle(0.1, length=10, unit="step")
    np.testing.assert_allclose(rates(schedule, np.arange(10)), PYTORCHS_CYCLE, rtol=2e-8)
    assert rates(schedule, [50]) == pytest.approx(4e-7, rel=1e-12)


def test_one_cycle_counted_in_epochs_goes_from_end_to_end():
    schedule = OneCycle(0.1, length=8, rise=0.25, divisor=10, final_divisor=5)
    told = rates(schedule, [0, 1, 2, 5, 8, 9])
    np.testing.assert_allclose(told, [0.01, 0.055, 0.1, 0.051, 0.002, 0.002], rtol=1e-12)
    assert (np.diff(rates(schedule, np.linspace(0, 2, 50))) > 0).all()
    assert (np.diff(rates(schedule, np.linspace(2, 8, 50))) < 0).all()


def test_the_cycles_of_a_coslog_are_each_twice_as_long_as_the_one_before():
    schedule = CosineLog(0.3, length=3.1, cycles=5)
    # log2(1 + 31 t / 3.1) is a whole number at the ends, a half more in the middle of a cycle.
    ends, middles = np.array([0.1, 0.3, 0.7, 1.5]), 0.1 * (2 ** np.arange(0.5, 5) - 1)
    np.testing.assert_allclose(rates(schedule, ends), 0, atol=1e-15)
    np.testing.assert_allclose(rates(schedule, middles), 0.3, rtol=1e-12)
    assert rates(schedule, [0, 3.1, 3.2, 1e9]).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_cycle_of_a_few_steps_has_finite_rates(length):
    told = rates(OneCycle(0.1, length=length, unit="step"), np.arange(5))
    assert np.isfinite(told).all()
    assert (told > 0).all()
    assert told[-1] == pytest.approx(4e-7, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Exponential(gamma=0), "gamma must be above 0"),
        (lambda: InverseScaling(power=-1), "power must be at least 0"),
        (lambda: CosineLog(length=0), "length must be above 0"),
        (lambda: CosineLog(cycles=0), "cycles must lie between 1"),
        (lambda: OneCycle(-0.1), "highest must be at least 0"),
        (lambda: OneCycle(length=0), "length must be above 0"),
        (lambda: OneCycle(rise=1.0), "rise must be above 0 and below 1"),
        (lambda: OneCycle(divisor=0.5), "divisor must be at least 1"),
        (lambda: ReduceOnPlateau(cut=1.0), "cut must be above 0 and below 1"),
        (lambda: ReduceOnPlateau(patience=0), "patience must lie between 1"),
        (lambda: ReduceOnPlateau(min_rate=-1.0), "min_rate must be at least 0"),
        (lambda: ReduceOnPlateau(unit="minute"), "unit of time"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", configuration.CLASSES.values(), ids=configuration.CLASSES)
def test_every_description_comes_back_from_plain_data(kind):
    needed = {"Dense": [3], "Gated": [3], "Dropout": [0.5], "Activation": ["relu"]}
    needed |= {"ActivationFunction": ["elu"], "CustomLoss": ["log_cosh"]}
    own_functions.register("log_cosh")
    needed |= dict.fromkeys(("Residual", "Concat"), [[fn.Dense(3), fn.BatchNorm(0.3)]])
    needed["Columns"] = [1, 4, [fn.Dense(3, use_bias=False)]]
    made = kind(*needed.get(kind.__name__, []))
    assert configuration.from_config(configuration.to_config(made)) == made
    own_functions.forget()


# -- plateaus ------------------------------------------------------------------------------------


def observed(schedule, values, name="val_loss"):
    """Return the scale behind every epoch."""
    plateau, scales = Plateau(), []
    for value in values:
        plateau = schedule.observe(plateau, {name: value})
        scales.append(plateau.scale)
    return scales


def test_the_rate_is_cut_after_epochs_without_improvement():
    schedule = ReduceOnPlateau(0.1, cut=0.5, patience=2)
    values = [1.0, 0.9, 0.95, 0.9, 0.8, 0.85, 0.85, 0.85, 0.85, 0.7]
    assert observed(schedule, values) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_an_improvement_is_more_than_min_delta():
    values = [1.0, 0.95, 0.9, 0.85]
    assert observed(ReduceOnPlateau(0.1, cut=0.5, patience=1), values)[-1] == 1
    small = ReduceOnPlateau(0.1, cut=0.5, patience=1, min_delta=0.1)
    assert observed(small, values) == [1, 0.5, 0.25, 0.25]  # 0.85 beats 1.0 by more


def test_an_accuracy_should_rise():
    schedule = ReduceOnPlateau(0.1, cut=0.5, patience=1, monitor="val_accuracy")
    assert observed(schedule, [0.5, 0.6, 0.55, 0.7], "val_accuracy") == [1, 1, 0.5, 0.5]


def test_no_cut_goes_below_the_smallest_rate_and_none_raises_it():
    schedule = ReduceOnPlateau(0.1, cut=0.1, patience=1, min_rate=0.004)
    np.testing.assert_allclose(observed(schedule, [1, 1, 1, 1]), [1, 0.1, 0.04, 0.04])
    high = ReduceOnPlateau(0.1, cut=0.1, patience=1, min_rate=0.5)
    assert observed(high, [1, 1, 1]) == [1, 1, 1]


def test_a_loss_that_is_not_finite_is_no_improvement():
    schedule = ReduceOnPlateau(0.1, cut=0.5, patience=2)
    assert observed(schedule, [np.nan, np.inf, 1.0, 2.0, -np.inf]) == [1, 0.5, 0.5, 0.5, 0.25]


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 1))
FAR = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 1))  # no network learns these


def network(backend, **options):
    told = {"cut": 0.5, "patience": 1, "monitor": "val_loss", **options}
    optimizer = fn.SGD(ReduceOnPlateau(0.3, **told), momentum=0.9)
    return fn.Network([fn.Dense(20, "tanh"), fn.Dense(1)], optimizer=optimizer, backend=backend)


def fit(net, epochs):
    return net.fit(X, Y, epochs=epochs, batch_size=8, validation_data=FAR, progress=False)


def plateau(net):
    return net._state.optimizer.plateau


@BACKENDS
def test_fitting_3_epochs_and_then_2_cuts_where_5_do(backend, tmp_path):
    whole, parts = network(backend), network(backend)
    history = fit(whole, 5)
    fit(parts, 3)
    assert plateau(parts).scale < 1
    parts.save(tmp_path / "net.fnn")
    loaded = fn.Network.load(tmp_path / "net.fnn", backend=backend)
    assert plateau(loaded) == plateau(parts)
    for net in (parts, loaded):
        assert fit(net, 2)["val_loss"] == history["val_loss"][3:]
        assert (net.parameters_vector == whole.parameters_vector).all()
        assert plateau(net) == plateau(whole)


@BACKENDS
def test_the_next_epoch_has_the_cut_rate(backend):
    net, by_hand = network(backend, min_delta=1e9), network(backend)
    fit(net, 2)  # nothing improves on the first epoch by that much
    assert plateau(net) == Plateau(plateau(net).best, 0, 0.5)
    by_hand.optimizer = fn.SGD(0.3, momentum=0.9)
    fit(by_hand, 2)
    assert (net.parameters_vector == by_hand.parameters_vector).all()
    by_hand._state.optimizer.optimizer = fn.SGD(0.15, momentum=0.9)
    fit(net, 1)
    fit(by_hand, 1)
    assert (net.parameters_vector == by_hand.parameters_vector).all()
    by_hand._state.optimizer.optimizer = fn.SGD(0.075, momentum=0.9)
    assert net.train_batch(X, Y) == by_hand.train_batch(X, Y)
    assert (net.parameters_vector == by_hand.parameters_vector).all()


@BACKENDS
def test_checkpoints_hold_what_was_seen_up_to_their_epoch(backend, tmp_path):
    class Watch(fn.Callback):
        seen = ()

        def on_epoch_end(self, run):
            self.seen += (plateau(run.network),)

    net, watch = network(backend), Watch()
    save = fn.ModelCheckpoint(str(tmp_path / "{epoch}.fnn"), keep=9)
    net.fit(
        X, Y, epochs=4, validation_data=FAR, callbacks=[watch, save], progress=False
    )  # fmt: skip
    for epoch, seen in enumerate(watch.seen, 1):
        loaded = fn.Network.load(tmp_path / f"{epoch}.fnn", backend=backend)
        assert plateau(loaded) == seen


@BACKENDS
def test_a_metric_that_is_not_measured_is_refused_before_training(backend):
    net = network(backend)
    with pytest.raises(ValueError, match="ReduceOnPlateau monitors 'val_loss'.*validation_data"):
        net.fit(X, Y, progress=False)
    assert net.steps == 0
    network(backend, monitor="loss").fit(X, Y, progress=False)


@BACKENDS
def test_a_new_optimizer_has_seen_nothing(backend):
    net = network(backend)
    fit(net, 4)
    assert plateau(net) != Plateau()
    net.optimizer = net.optimizer
    assert plateau(net) == Plateau()


@BACKENDS
@pytest.mark.parametrize("wrong", [Plateau(0.1, 0, 2.0), Plateau(0.1, -1, 1.0), (0.1, 0)])
def test_a_file_with_a_plateau_that_cannot_be_is_refused(backend, tmp_path, wrong):
    net = network(backend)
    fit(net, 1)
    net._state.optimizer.plateau = wrong
    net.save(tmp_path / "net.fnn")
    with pytest.raises(ModelFileError, match="plateau"):
        fn.Network.load(tmp_path / "net.fnn", backend=backend)


@BACKENDS
def test_the_summary_names_the_schedule_as_it_was_made(backend):
    net = fn.Network([fn.Dense(1)], optimizer=fn.Lion(OneCycle(0.1, 20)), backend=backend)
    assert "Lion(OneCycle(highest=0.1, length=20.0))" in str(net)
    assert "initial" not in str(net)


# -- single steps ----------------------------------------------------------------------------------

AHEAD = [
    Constant(0.3, warmup=3),
    Cosine(0.1, length=700, unit="step", warmup=10),
    CosineLog(0.1, length=700, unit="step"),
    Exponential(0.1, gamma=0.999, unit="step"),
    InverseScaling(0.1, unit="step"),
    OneCycle(0.1, length=600, unit="step"),
    Step(0.1, every=100, unit="step"),
    ReduceOnPlateau(0.1),
]


@pytest.mark.parametrize("schedule", AHEAD, ids=repr)
def test_rates_computed_ahead_are_those_of_their_steps(schedule):
    state = OptimizerState(Adam(schedule), np.zeros((2, 1)))
    for step in [*range(2 * RATES_AHEAD + 3), 3, 4, 1000, 0]:
        state.step = step
        if step % 100 == 50:
            state.epochs += 1
        if step % 170 == 160:
            state.plateau = state.plateau._replace(scale=state.plateau.scale / 3)
        (rate,) = schedule.rates(np.array([step]), np.array([float(state.epochs)]))
        assert state.next_rate() == rate * state.plateau.scale
