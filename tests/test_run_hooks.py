"""What whoever watches a run may see and change: orders, losses of steps, learning rates."""

import numpy as np
import pytest

import fastnn as fn

X = np.random.default_rng(0).normal(size=(50, 4))
y = X.sum(axis=1)


def network(optimizer="sgd", backend="native"):
    layers = [fn.Dense(5, "tanh"), fn.Dense(1)]
    return fn.Network(layers, input_size=4, optimizer=optimizer, dtype="float64", backend=backend)


def test_an_order_of_ones_own_is_that_of_the_batches():
    orders = []

    def reverse(order, epoch):
        order[...] = order[::-1].copy()
        orders.append((epoch, order.copy()))

    ours, by_hand = network(), network()
    ours.fit(X, y, epochs=2, batch_size=20, shuffle=reverse, progress=False)
    assert [epoch for epoch, _ in orders] == [0, 1]
    assert orders[0][1].tolist() == list(range(49, -1, -1))
    assert orders[1][1].tolist() == list(range(50))  # the order of the epoch before, reversed
    for _, order in orders:
        for first in (0, 20, 40):
            rows = order[first : first + 20]
            by_hand.train_batch(X[rows], y[rows])
    assert np.array_equal(ours.parameters_vector, by_hand.parameters_vector)


@pytest.mark.parametrize("wrong", [-1, 50])
def test_an_order_may_not_name_rows_that_do_not_exist(wrong):
    def spoil(order, epoch):
        order[3] = wrong

    net = network()
    before = net.parameters_vector
    with pytest.raises(IndexError, match=f"row {wrong} into an order of 50 rows"):
        net.fit(X, y, shuffle=spoil, progress=False)
    assert np.array_equal(net.parameters_vector, before)


def test_the_losses_of_the_steps_make_the_loss_of_the_epoch():
    class Watch(fn.Callback):
        def on_epoch_end(self, run):
            assert len(run.batch_losses) == 3
            mean = run.batch_losses @ [0.4, 0.4, 0.2]
            assert mean == pytest.approx(run.metrics["loss"], rel=1e-14)
            self.seen = True

    watch = Watch()
    network().fit(X, y, batch_size=20, callbacks=[watch], progress=False)
    assert watch.seen


class Slower(fn.Callback):
    def __init__(self, **options):
        self.options = options

    def on_epoch_end(self, run):
        if run.epoch == 1:
            run.scale_learning_rate(0.25, **self.options)


@pytest.mark.parametrize("keep_velocity", [False, True])
def test_learning_rates_can_be_scaled(keep_velocity):
    momentum, rate, factor = 0.9, 0.1, 0.25
    net = network(fn.SGD(rate, momentum=momentum))
    twin = network()
    velocity = np.zeros(twin.parameter_count)
    for epoch_rate in (rate, rate * factor):
        gradients = twin.loss_and_gradients(X, y)[1]
        gradient = np.concatenate([g.ravel() for g in gradients.values()])
        if keep_velocity:  # the form of Sutskever et al. and scikit-learn
            velocity = momentum * velocity - epoch_rate * gradient
            twin.parameters_vector = twin.parameters_vector + velocity
        else:  # that of PyTorch
            velocity = momentum * velocity + gradient
            twin.parameters_vector = twin.parameters_vector - epoch_rate * velocity
    slower = Slower(keep_velocity=keep_velocity)
    net.fit(X, y, epochs=2, batch_size=50, shuffle=False, callbacks=[slower], progress=False)
    assert net.parameters_vector == pytest.approx(twin.parameters_vector, rel=1e-12)


def test_a_factor_of_0_is_refused():
    class Stop(fn.Callback):
        def on_fit_begin(self, run):
            run.scale_learning_rate(0)

    with pytest.raises(ValueError, match="factor must be above 0"):
        network().fit(X, y, callbacks=[Stop()], progress=False)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_gradients_take_weights_of_rows(backend):
    net = network(backend=backend)
    weight = np.arange(50) % 3
    rows = np.repeat(np.arange(50), weight)
    loss, gradients = net.loss_and_gradients(X, y, weight)
    repeated_loss, repeated = net.loss_and_gradients(X[rows], y[rows])
    assert loss == pytest.approx(repeated_loss, rel=1e-12)
    for name, gradient in gradients.items():
        assert gradient == pytest.approx(repeated[name], rel=1e-9, abs=1e-14)
