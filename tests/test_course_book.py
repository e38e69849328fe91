"""Examples that a course works by hand, with their numbers, on every backend."""

import numpy as np
import pytest

import fastnn as fn
from fastnn import backends

pytestmark = pytest.mark.parametrize("backend", backends.available())


def network(layers, inputs, backend, **options):
    return fn.Network(layers, input_size=inputs, dtype="float64", backend=backend, **options)


def assign(net, **values):
    for name, value in values.items():
        index, role = name[1:].split("_", 1)
        net.parameters[f"{index}.{role}"][...] = value


def test_the_score_of_a_neuron_is_its_weighted_sum_and_bias(backend):
    # -2 * 66 + 4 * 39 + 1.5 * 12 - 0.5 = -132 + 156 + 18 - 0.5 = 41.5
    neuron = network([fn.Dense(1)], 3, backend)
    assign(neuron, _0_weight=[[-2], [4], [1.5]], _0_bias=[-0.5])
    assert neuron.predict([[66, 39, 12]])[0, 0] == 41.5


def test_a_sigmoid_neuron_with_a_large_score_is_almost_sure(backend):
    neuron = network([fn.Dense(1, "sigmoid")], 3, backend)
    assign(neuron, _0_weight=[[-2], [4], [1.5]], _0_bias=[-0.5])
    output = neuron.predict([[66, 39, 12]])[0, 0]
    assert output > 0.999
    assert output == pytest.approx(1 / (1 + np.exp(-41.5)), rel=1e-15)


def test_a_4_6_2_network_has_44_parameters(backend):
    # (4 + 1) * 6 + (6 + 1) * 2 = 30 + 14
    assert network([fn.Dense(6, "relu"), fn.Dense(2)], 4, backend).parameter_count == 44


def test_a_layer_from_5_units_to_10_has_60_parameters(backend):
    # 5 * 10 weights and 10 biases
    assert network([fn.Dense(10)], 5, backend).parameter_count == 60


def test_the_mean_squared_error_of_a_quarter_twice_is_a_sixteenth(backend):
    # ((0.25 - 0)**2 + (0.75 - 1)**2) / 2 = 0.0625
    net = network([fn.Dense(2)], 1, backend)
    assign(net, _0_weight=[[0, 0]], _0_bias=[0.25, 0.75])
    assert net.evaluate([[1.0]], [[0.0, 1.0]])["loss"] == 0.0625


def test_a_house_price_goes_forward_through_two_hidden_units(backend):
    # A house of 120 m² and 4 rooms; the price in thousands.
    # h1 = relu(0.5 * 120 + 10 * 4 - 20) = relu(80) = 80
    # h2 = relu(-0.1 * 120 + 2 * 4 + 1) = relu(-3) = 0
    # price = 3 * 80 + 7 * 0 + 15 = 255
    net = network([fn.Dense(2, "relu"), fn.Dense(1)], 2, backend)
    assign(
        net,
        _0_weight=[[0.5, -0.1], [10, 2]],
        _0_bias=[-20, 1],
        _1_weight=[[3], [7]],
        _1_bias=[15],
    )
    assert net.predict([[120, 4]])[0, 0] == pytest.approx(255, rel=1e-15)


def test_unwell_or_not_unwell_goes_forward_to_a_softmax(backend):
    # Temperature 39 °C and heart rate 100, over their usual 37 and 70: (2, 30).
    # h1 = sigmoid(1 * 2 + 0.1 * 30 - 4) = sigmoid(1), h2 = sigmoid(-0.5 * 2 + 0 * 30 + 1) = 1/2
    # scores: unwell 2 h1 - h2 + 0.5 = 2 h1, not unwell -2 h1 + h2 = -2 h1 + 0.5
    net = network([fn.Dense(2, "sigmoid"), fn.Dense(2, "softmax")], 2, backend)
    assign(
        net,
        _0_weight=[[1, -0.5], [0.1, 0]],
        _0_bias=[-4, 1],
        _1_weight=[[2, -2], [-1, 1]],
        _1_bias=[0.5, 0],
    )
    h1 = 1 / (1 + np.exp(-1))  # 0.7310586
    unwell, well = net.predict([[2, 30]])[0]
    expected = 1 / (1 + np.exp(-2 * h1 + (-2 * h1 + 0.5)))  # 0.9186...
    assert unwell == pytest.approx(expected, rel=1e-14)
    assert unwell == pytest.approx(0.9186, abs=1e-4)
    assert unwell + well == pytest.approx(1, rel=1e-15)


def test_a_backward_pass_and_a_gradient_step_of_a_2_2_1_network_by_hand(backend):
    # x = (1, 2), target 1, sigmoid hidden units, a linear output, squared error, rate 0.1
    #   W1 = [[0.1, 0.3], [0.2, -0.4]]   b1 = (0, 0.5)
    #   w2 = (0.5, -1)                   b2 = 0.2
    # z1 = 0.1 + 0.4 = 0.5,  z2 = 0.3 - 0.8 + 0.5 = 0
    # h1 = sigmoid(0.5) = 0.622459331201855,  h2 = sigmoid(0) = 0.5
    # y = 0.5 h1 - 0.5 + 0.2 = 0.011229665600927,  loss = (y - 1)**2 = 0.977666774...
    net = network(
        [fn.Dense(2, "sigmoid"), fn.Dense(1)], 2, backend, optimizer=fn.SGD(0.1), loss="mse"
    )
    assign(
        net,
        _0_weight=[[0.1, 0.3], [0.2, -0.4]],
        _0_bias=[0, 0.5],
        _1_weight=[[0.5], [-1]],
        _1_bias=[0.2],
    )
    before = {name: value.copy() for name, value in net.parameters.items()}
    h1, h2 = 0.622459331201855, 0.5
    y = 0.011229665600927
    dy = 2 * (y - 1)  # -1.977540668798146
    expected = {
        "1.weight": [[dy * h1], [dy * h2]],
        "1.bias": [dy],
        # dz = dy * w2 * h (1 - h);  h1 (1 - h1) = 0.235003712201595, h2 (1 - h2) = 0.25
        "0.bias": [dy * 0.5 * 0.235003712201595, dy * -1 * 0.25],
    }
    dz1, dz2 = expected["0.bias"]
    expected["0.weight"] = [[1 * dz1, 1 * dz2], [2 * dz1, 2 * dz2]]
    assert dz1 == pytest.approx(-0.232364, abs=1e-6)
    assert dz2 == pytest.approx(0.494385, abs=1e-6)

    loss, gradients = net.loss_and_gradients([[1, 2]], [1])
    assert loss == pytest.approx(0.977666774193, rel=1e-10)
    for name, value in expected.items():
        np.testing.assert_allclose(gradients[name], value, rtol=1e-12)

    assert net.train_batch([[1, 2]], [1]) == loss
    for name, value in expected.items():
        np.testing.assert_allclose(
            net.parameters[name], before[name] - 0.1 * np.array(value), rtol=1e-12
        )
