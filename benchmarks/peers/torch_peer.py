"""PyTorch: eager with the fastest of its optimizers, or through `torch.compile`."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import torch
from cases import Case
from torch.nn import functional

from peers import Unable, times_of

# Ways to run an optimizer; the fastest is taken, by this many steps each.
WAYS = ({"foreach": False}, {"foreach": True}, {"fused": True})
TRIAL_STEPS = 20
TRIAL_SECONDS = 0.5


def describe(threads: int) -> dict[str, Any]:
    """Set the threads, and return versions and settings."""
    torch.set_num_threads(threads)
    details = {
        "threads": str(torch.get_num_threads()),
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "mkl": str(torch.backends.mkl.is_available()),
    }
    return {"versions": {"torch": torch.__version__}, "details": details}


def build(case: Case) -> torch.nn.Sequential:
    """Return the network of a case with its first weights; its outputs are scores."""
    layers: list[torch.nn.Module] = []
    for i, o in case.layers:
        layers += [torch.nn.Linear(i, o), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    set_weights(model, case)
    return model


def set_weights(model: torch.nn.Sequential, case: Case) -> None:
    """Give a network the first weights of a case."""
    with torch.no_grad():
        for layer, (weight, bias) in zip(model[::2], case.first_weights(), strict=True):
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))


def compiled(function: Any) -> Any:
    """Return a function compiled for the shapes of one case.

    What earlier cases left is forgotten: after a second shape the compiler writes code for any
    shape, and after eight it gives up and runs eagerly, without a word.
    """
    torch.compiler.reset()
    return torch.compile(function, dynamic=False)


class Trainer:
    """Steps in a Python loop over resident batches. Mode ``compiled`` compiles the loss."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case, self.data = case, case.data()
        X, y = map(torch.from_numpy, self.data)
        self.batches = list(zip(X.split(case.batch), y.split(case.batch), strict=True))
        self.model = build(case)
        compute = functional.mse_loss if case.loss == "mse" else functional.cross_entropy
        self.loss = lambda x, target: compute(self.model(x), target)
        if mode == "compiled":
            self.loss = compiled(self.loss)
        self.way = WAYS[0]
        self.at = 0
        self._optimizer()
        try:
            self.run(2)
        except Exception as error:  # the compiler raises whatever it likes
            if mode != "compiled":
                raise
            raise Unable(f"torch.compile failed: {str(error).splitlines()[0]}") from error
        self.way = min(WAYS, key=self._trial)
        self._optimizer()
        self.note = f"optimizer {next(iter(self.way))}={next(iter(self.way.values()))}"

    def restart(self, steps: int) -> None:
        """Take so many steps from the first weights."""
        set_weights(self.model, self.case)
        self._optimizer()
        self.at = 0
        self.run(steps)

    def run(self, steps: int) -> int:
        """Take so many steps."""
        optimizer, loss_of, batches, at = self.optimizer, self.loss, self.batches, self.at
        for _ in range(steps):
            x, y = batches[at]
            optimizer.zero_grad(set_to_none=True)
            loss_of(x, y).backward()
            optimizer.step()
            at = (at + 1) % len(batches)
        self.at = at
        return steps

    def each(self, seconds: float) -> list[float]:
        """Return the seconds of single steps."""
        return times_of(partial(self.run, 1), seconds)

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return weights and biases."""
        return [(la.weight.detach().numpy().T, la.bias.detach().numpy()) for la in self.model[::2]]

    def _optimizer(self) -> None:
        kind = torch.optim.Adam if self.case.optimizer == "adam" else torch.optim.SGD
        self.optimizer = kind(self.model.parameters(), lr=self.case.rate, **self.way)

    def _trial(self, way: dict[str, bool]) -> float:
        """Return the seconds of a step with a way to run the optimizer."""
        self.way = way
        self._optimizer()
        self.run(1)
        started, taken = time.perf_counter(), 0
        while taken < TRIAL_STEPS and time.perf_counter() - started < TRIAL_SECONDS:
            taken += self.run(1)
        return (time.perf_counter() - started) / taken


class Predictor:
    """One forward pass after the other, in inference mode, from a tensor to a tensor."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case, self.note = case, "inference_mode, tensors in and out"
        self.X = torch.from_numpy(case.data()[0])
        self.model = torch.nn.Sequential(*build(case), torch.nn.Softmax(dim=1)).eval()
        if mode == "compiled":
            self.model = compiled(self.model)
        self.run(3)

    @torch.inference_mode()
    def run(self, calls: int) -> int:
        """Predict so many times."""
        model, X = self.model, self.X
        for _ in range(calls):
            model(X)
        return calls

    @torch.inference_mode()
    def each(self, seconds: float) -> list[float]:
        """Return the seconds of single calls."""
        return times_of(partial(self.model, self.X), seconds)

    @torch.inference_mode()
    def outputs(self) -> np.ndarray:
        """Return the probabilities."""
        return self.model(self.X).numpy()
