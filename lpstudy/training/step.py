"""One training step: forward, loss, backward, update."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn, optim

from lpstudy.methods import Method, Step, StepContext
from lpstudy.outputs import Batch, Network, Outputs
from lpstudy.training import parallel
from lpstudy.training.precision import autocast
from lpstudy.training.weight_average import WeightAverage


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
    average: WeightAverage | None = None
    """The moving average of the student's weights, where the run has one."""

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules with a state, by their names in checkpoints."""
        modules = {"student": self.student, "auxiliary": self.auxiliary, "average": self.average}
        return {name: module for name, module in modules.items() if module is not None}

    @property
    def averaged_modules(self) -> list[nn.Module]:
        """The modules whose buffers the workers of a run average."""
        return [self.student] if self.average is None else [self.student, self.average]

    def evaluated(self, steps: int) -> AbstractContextManager[None]:
        """The student has the weights that are evaluated and stored, those after so many steps."""
        return nullcontext() if self.average is None else self.average.in_student(steps)

    @property
    def auxiliary_size(self) -> dict[str, float]:
        """The auxiliary module's learned weights, and the bytes of these and of its buffers."""
        if self.auxiliary is None:
            return {"auxiliary_parameters": 0.0, "auxiliary_bytes": 0.0}
        parameters = [*self.auxiliary.parameters()]
        tensors = [*parameters, *self.auxiliary.buffers()]
        return {
            "auxiliary_parameters": float(sum(parameter.numel() for parameter in parameters)),
            "auxiliary_bytes": float(sum(tensor.numel() * tensor.element_size() for tensor in tensors)),
        }

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
        step = context.step(student, target, batch.labels, batch.samples, self.auxiliary)
        images = batch.images if self.method.reads_images else None
        return replace(step, input_images=images, partners=batch.partners)

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
        step = self.step_of(student, batch, target, context)
        with autocast(self.device, bf16=self.bf16):
            loss = self.method.loss(step)
        loss.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        with torch.no_grad(), autocast(self.device, bf16=self.bf16):
            self.method.update(step)
        parallel.average_gradients(self.parameters)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return {"loss": loss.total.detach(), **loss.parts}, student.detach()
