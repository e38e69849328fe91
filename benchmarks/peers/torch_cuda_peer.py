"""PyTorch on a GPU: eager, or every step recorded as a CUDA graph and replayed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cases import Case
from torch.nn import functional

from peers import Unable
from peers.torch_peer import WAYS, build, set_weights

__all__ = ["Trainer", "describe"]

# A graph needs some steps before it, on a stream of their own: the allocator and cuBLAS settle.
WARM_STEPS = 3
TRIAL_STEPS = 50


def describe(threads: int) -> dict[str, Any]:
    """Return versions and settings: products are in float32, as those of the others."""
    if not torch.cuda.is_available():
        raise RuntimeError("this PyTorch finds no GPU")
    torch.set_float32_matmul_precision("highest")
    details = {
        "device": torch.cuda.get_device_name(),
        "cuda": str(torch.version.cuda),
        "float32 products": torch.get_float32_matmul_precision(),
    }
    return {"versions": {"torch": torch.__version__}, "details": details}


class Trainer:
    """Steps over batches that are on the device. Mode ``graphs`` replays a recorded step."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case, self.data = case, case.data()
        X, y = (torch.from_numpy(a).cuda() for a in self.data)
        self.batches = list(zip(X.split(case.batch), y.split(case.batch), strict=True))
        self.model = build(case).cuda()
        self.compute = functional.mse_loss if case.loss == "mse" else functional.cross_entropy
        self.graphs, self.at = mode == "graphs", 0
        self.way: dict[str, bool] = {"fused": True}
        if not self.graphs:
            self.way = min(WAYS, key=self._trial)
        self._begin()
        self.note = f"optimizer {next(iter(self.way))}={next(iter(self.way.values()))}"

    def restart(self, steps: int) -> None:
        """Take so many steps from the first weights."""
        self._begin()
        self.at = 0
        self.run(steps)

    def run(self, steps: int) -> int:
        """Take so many steps, and wait for them."""
        for _ in range(steps):
            x, y = self.batches[self.at]
            if self.graphs:
                self.x.copy_(x)
                self.y.copy_(y)
                self.graph.replay()
            else:
                self._step(x, y)
            self.at = (self.at + 1) % len(self.batches)
        torch.cuda.synchronize()
        return steps

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return weights and biases."""
        return [
            (la.weight.detach().cpu().numpy().T, la.bias.detach().cpu().numpy())
            for la in self.model[::2]
        ]

    def _begin(self) -> None:
        """Put the first weights back, without moments; a graph is recorded anew."""
        set_weights(self.model, self.case)
        self._optimizer()
        if self.graphs:
            self._record()

    def _optimizer(self) -> None:
        adam = self.case.optimizer == "adam"
        kind = torch.optim.Adam if adam else torch.optim.SGD
        more = {"capturable": True} if adam and self.graphs else {}
        self.optimizer = kind(self.model.parameters(), lr=self.case.rate, **self.way, **more)

    def _step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.compute(self.model(x), y).backward()
        self.optimizer.step()

    def _record(self) -> None:
        self.x, self.y = (t.clone() for t in self.batches[0])
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_STEPS):
                    self._step(self.x, self.y)
            torch.cuda.current_stream().wait_stream(stream)
            self.optimizer.zero_grad(set_to_none=True)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.compute(self.model(self.x), self.y).backward()
                self.optimizer.step()
        except RuntimeError as error:
            raise Unable(f"no graph: {str(error).splitlines()[0]}") from error
        set_weights(self.model, self.case)  # the steps that warmed up have moved them
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    value.zero_()

    def _trial(self, way: dict[str, bool]) -> float:
        """Return the seconds of some steps with a way to run the optimizer."""
        import time

        self.way = way
        self._optimizer()
        self.run(2)
        started = time.perf_counter()
        self.run(TRIAL_STEPS)
        return time.perf_counter() - started
