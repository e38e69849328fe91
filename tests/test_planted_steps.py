"""A wrong training step turns the suite red: faults planted into the reference's executable.

The tests of trajectories and predictions are called as they are, on a backend with one fault, and
have to fail.
"""

from dataclasses import replace

import networks
import numpy as np
import pytest
import test_predictions
import test_trajectories
from test_trajectories import BATCH, COUPLED, EVERYTHING, KINDS

from fastnn.backends.base import Batch
from fastnn.backends.reference import ReferenceBackend, ReferenceExecutable
from fastnn.optimizers import SGD, Adam


def with_fault(**methods):
    """Return the reference with other methods in its executables."""
    executable = type("Faulty", (ReferenceExecutable,), methods)

    class Backend(ReferenceBackend):
        def compile(self, program, dtype, threads):
            return executable(program, dtype, threads)

    return Backend()


def limited(**limits):
    return [replace(kind, **limits) for kind in KINDS.values()]


def formulas_object(backend, optimizers, described=EVERYTHING):
    for optimizer in optimizers:
        with pytest.raises(AssertionError):
            test_trajectories.test_twenty_steps_follow_the_formulas(backend, optimizer, described)


def changed_update(change):
    """Return a fault of the update: the state is changed before, and put back after it."""

    def _update(self, gradient, state, rate):
        optimizer = state.optimizer
        state.optimizer = change(optimizer)
        ReferenceExecutable._update(self, gradient, state, rate)
        state.optimizer = optimizer

    return with_fault(_update=_update)


def test_the_sound_backend_passes():
    for limits in test_trajectories.LIMITS.values():
        for optimizer in limited(**limits):
            for described in (EVERYTHING, COUPLED):
                test_trajectories.test_twenty_steps_follow_the_formulas(
                    ReferenceBackend(), optimizer, described
                )


@pytest.mark.parametrize(
    ("name", "value"), [("weight_decay", 0.02), ("clip_value", 0.01), ("clip_norm", 0.1)]
)
def test_a_limit_that_is_forgotten_is_found(name, value):
    without = {name: 0.0 if name == "weight_decay" else None}
    faulty = changed_update(lambda optimizer: replace(optimizer, **without))
    formulas_object(faulty, limited(**{name: value}))


def test_a_norm_that_is_clipped_before_the_elements_is_found():
    def _update(self, gradient, state, rate):
        norm = float(np.sqrt((gradient**2).sum()))
        gradient *= min(1.0, state.optimizer.clip_norm / norm)
        optimizer = state.optimizer
        state.optimizer = replace(optimizer, clip_norm=None)
        ReferenceExecutable._update(self, gradient, state, rate)
        state.optimizer = optimizer

    formulas_object(with_fault(_update=_update), limited(clip_value=0.05, clip_norm=0.1))


def test_a_decay_of_what_is_not_regularized_is_found():
    def _update_parameter(self, p, *told):
        ReferenceExecutable._update_parameter(self, p._replace(regularized=True), *told)

    formulas_object(with_fault(_update_parameter=_update_parameter), limited(weight_decay=0.02))


def test_steps_that_are_counted_from_0_are_found():
    def _update_parameter(self, p, gradient, state, rate):
        state.step += 1
        ReferenceExecutable._update_parameter(self, p, gradient, state, rate)
        state.step -= 1

    adaptive = [kind for kind in limited() if isinstance(kind, Adam)]
    formulas_object(with_fault(_update_parameter=_update_parameter), adaptive)


def test_momentum_that_is_not_nesterovs_is_found():
    faulty = changed_update(lambda optimizer: replace(optimizer, nesterov=False))
    formulas_object(faulty, [k for k in limited() if isinstance(k, SGD) and k.nesterov])


def test_a_max_norm_that_is_forgotten_is_found():
    def _update(self, gradient, state, rate):
        program = self.program
        free = tuple(p._replace(max_norm=0.0) for p in program.parameters)
        self.program = program._replace(parameters=free)
        ReferenceExecutable._update(self, gradient, state, rate)
        self.program = program

    formulas_object(with_fault(_update=_update), limited(), COUPLED)


def test_a_product_of_momenta_that_is_forgotten_is_found():
    def _update(self, gradient, state, rate):
        ReferenceExecutable._update(self, gradient, state, rate)
        state.product = 1.0

    formulas_object(with_fault(_update=_update), [KINDS["nadam"]])


@pytest.mark.parametrize("rows", [lambda rows: 0, lambda rows: rows + 1, lambda rows: BATCH])
def test_running_statistics_of_another_number_of_rows_are_found(rows):
    def _update_states(self, statistics, count):
        if rows(count):
            ReferenceExecutable._update_states(self, statistics, rows(count))

    with pytest.raises(AssertionError):
        test_trajectories.test_running_statistics_follow_every_batch(
            with_fault(_update_states=_update_states)
        )


def changed_batch(change):
    """Return a fault of the loss of a batch: its arguments are changed."""

    def _batch_loss(self, batch, *arrays, **told):
        batch, told = change(batch, told)
        return ReferenceExecutable._batch_loss(self, batch, *arrays, **told)

    return with_fault(_batch_loss=_batch_loss)


def test_a_mask_that_stays_from_step_to_step_is_found():
    faulty = changed_batch(lambda batch, told: (batch, {**told, "step": 0}))
    with pytest.raises(AssertionError):
        test_predictions.test_dropout_is_off_when_predicting_and_on_when_training(faulty)


def test_weights_that_are_forgotten_are_found():
    faulty = changed_batch(lambda batch, told: (Batch(batch.X, batch.Y), told))
    with pytest.raises(AssertionError):
        test_trajectories.test_a_row_of_weight_0_teaches_nothing(faulty)
    with pytest.raises(AssertionError):
        test_predictions.test_the_loss_of_a_batch_is_the_weighted_mean_of_its_rows(faulty, 3, True)


def test_an_order_that_is_forgotten_is_found():
    def run_steps(self, batch, order, *told):
        return ReferenceExecutable.run_steps(self, batch, np.sort(order), *told)

    formulas_object(with_fault(run_steps=run_steps), limited())


def test_a_last_batch_that_is_left_out_is_found():
    def run_steps(self, batch, order, batch_size, state, rates, *told):
        rows = np.arange(len(batch)) if order is None else order
        whole = len(rows) // batch_size
        done = ReferenceExecutable.run_steps(
            self, batch, rows[: whole * batch_size], batch_size, state, rates[:whole], *told
        )
        return done + len(rates) - whole

    formulas_object(with_fault(run_steps=run_steps), limited())


def test_a_step_made_in_spite_of_an_infinite_loss_is_found():
    def run_steps(self, batch, order, batch_size, state, rates, seed, losses, hits):
        done = ReferenceExecutable.run_steps(
            self, batch, order, batch_size, state, rates, seed, losses, hits
        )
        if done < len(rates):
            self._update(np.full_like(self.parameters, np.inf), state, 1.0)
        return done

    for name in ("sgd", "momentum"):
        with pytest.raises(AssertionError):
            test_trajectories.test_a_step_that_diverges_is_not_made(
                with_fault(run_steps=run_steps), "float64", name
            )


def test_a_penalty_that_is_forgotten_is_found():
    faulty = with_fault(_penalty=lambda self, gradient, factor: 0.0)
    found = 0
    for seed in test_predictions.SEEDS:
        described = networks.random_network(seed)
        if networks.compile_network(described, faulty).program.penalized:
            found += 1
            with pytest.raises(AssertionError):
                test_predictions.test_the_loss_of_a_batch_is_the_weighted_mean_of_its_rows(
                    faulty, seed, False
                )
    assert found > 5


def test_a_penalty_that_forgets_the_rows_is_found():
    def _penalty(self, gradient, factor):
        return ReferenceExecutable._penalty(self, gradient, 1.0)

    faulty, found = with_fault(_penalty=_penalty), set()
    for seed in test_predictions.SEEDS:
        program = networks.compile_network(networks.random_network(seed), faulty).program
        per_row = {p.penalty_per_row for p in program.parameters if p.l1}
        found |= per_row
        if True in per_row:
            with pytest.raises(AssertionError):
                test_predictions.test_the_loss_of_a_batch_is_the_weighted_mean_of_its_rows(
                    faulty, seed, False
                )
    assert found == {False, True}
