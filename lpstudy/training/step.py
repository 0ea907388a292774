"""One training step: forward, loss, backward, update."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn, optim

from lpstudy.distill import Method, Step, StepContext
from lpstudy.outputs import Batch, Network, Outputs
from lpstudy.training import parallel
from lpstudy.training.precision import autocast


@dataclass(frozen=True, slots=True)
class Learner:
    """The networks, method and optimiser of a run."""

    student: Network
    auxiliary: nn.Module | None
    """FitNet's regressor and the like."""
    method: Method
    maps: tuple[str, ...]
    """The student's maps that the method reads."""
    optimizer: optim.Optimizer
    device: torch.device
    layout: torch.memory_format
    """The memory format of the images."""
    bf16: bool

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All trained parameters."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def forward(self, batch: Batch) -> Outputs:
        """The student's outputs for a batch."""
        images = batch.images.contiguous(memory_format=self.layout)
        with autocast(self.device, bf16=self.bf16):
            outputs: Outputs = self.student(images, self.maps)
        return outputs

    def step_of(self, student: Outputs, batch: Batch, target: Outputs | None, context: StepContext) -> Step:
        """The batch as the method's loss sees it."""
        return context.step(student, target, batch.labels, batch.samples, self.auxiliary)

    def start(self, batch: Batch, target: Outputs | None, context: StepContext) -> dict[str, float]:
        """The method's metrics of the first batch; the student does not change."""
        buffers = [(buffer, buffer.clone()) for buffer in self.student.buffers()]
        metrics = self.method.start(self.step_of(self.forward(batch), batch, target, context))
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        return metrics

    def step(
        self, batch: Batch, target: Outputs | None, context: StepContext
    ) -> tuple[Mapping[str, Tensor], Outputs]:
        """Train on a batch.

        Returns:
            The loss and its terms, 0-dimensional and detached, and the student's outputs before the update,
            detached.
        """
        self.optimizer.zero_grad(set_to_none=True)
        student = self.forward(batch)
        with autocast(self.device, bf16=self.bf16):
            loss = self.method.loss(self.step_of(student, batch, target, context))
        loss.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        parallel.average_gradients(self.parameters)
        self.optimizer.step()
        return {"loss": loss.total.detach(), **loss.parts}, student.detach()
