"""The trainer of one run: its networks, its epochs, its state on disk."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from lpstudy.cost import cost_of
from lpstudy.data import Data, Order, Share
from lpstudy.folder import Folder
from lpstudy.methods import Needs, StepContext
from lpstudy.model_file import DESCRIPTION, WEIGHTS
from lpstudy.outputs import Batch, EpochResult
from lpstudy.space import RunSpec
from lpstudy.spending import STEP_SECONDS
from lpstudy.students import build, read_weights
from lpstudy.training import checkpoint, optimizers, parallel
from lpstudy.training.activations import evaluation_chunk_size
from lpstudy.training.cuda_graph import RecordedStep
from lpstudy.training.divergence import DivergedError, check_finite, mean_terms
from lpstudy.training.evaluation import evaluate
from lpstudy.training.final_test import read_test_set
from lpstudy.training.learner import example_pair, make_learner
from lpstudy.training.meter import Meter
from lpstudy.training.partial_epoch import (
    AfterStep,
    PartialEpoch,
    do_nothing,
    dropout_seed,
    generators,
    restore_generators,
    temporary_seed,
)
from lpstudy.training.run_identity import run_identity
from lpstudy.training.saving import describe_student
from lpstudy.training.teacher_outputs import PrefetchingOutputs, TeacherOutputs, classifier_for
from lpstudy.training.training_macs import TrainingMacs, epoch_loss_macs, loss_macs, teacher_macs

LOOK_STEPS = 500
"""Steps between two checks that the loss is finite, at which the host waits for the device."""


class Trainer:
    """The training of one run.

    Args:
        trial: The networks, the method and the training settings.
        data: The data set, on the device where its kind allows it.
        teacher: See `train`.
        device: The device of the training step.
        meter: Measures what the run spends; by default from now on.

    Raises:
        ValueError: The method needs a teacher and there is none, or a network has no layer that it names.
    """

    def __init__(
        self,
        trial: RunSpec,
        data: Data,
        teacher: TeacherOutputs | None,
        device: torch.device,
        meter: Meter | None = None,
    ) -> None:
        self.trial, self.device = trial, device
        self.meter = meter or Meter(device)
        self.data = data if trial.method.reads_teacher else data.labelled_alone()
        self.training = trial.training
        network = build(trial.student, input_shape=data.input_shape, classes=data.classes, seed=trial.seed)
        self.method = trial.method.resolved(network, teacher.network if teacher else None)
        self.needs = self.method.teacher_needs() if teacher else Needs()
        self.teacher = teacher if self.needs != Needs() else None
        weights = trial.student.weights
        self._read_test_logits = teacher.read_test_logits if teacher else None
        self._weights_hash = None if weights is None else read_weights(weights).sha256
        self.learner = make_learner(trial, self.method, network.to(device), data, self.teacher)
        self.macs = self._training_macs()
        is_alone_on_gpu = device.type == "cuda" and parallel.world_size() == 1
        self.step = RecordedStep(self.learner) if is_alone_on_gpu else self.learner.step
        self.images_seen = 0
        self.partial_epoch: PartialEpoch | None = None
        """The state of the next epoch from a checkpoint."""
        self.seconds = 0.0
        """Seconds of all completed epochs by the monotonic clock, over all processes of the run."""
        self.step_seconds = 0.0
        """The part of them that was spent on training steps; NaN where it is not known."""

    @torch.no_grad()
    def _training_macs(self) -> TrainingMacs:
        """The MACs of one image's training."""
        trial, data, learner = self.trial, self.data, self.learner
        images = torch.zeros(2, *data.input_shape, device=self.device)
        student, target = example_pair(learner.student, self.method, self.teacher, images)
        rows = torch.arange(data.train.batch_length(self.training.batch_size), device=self.device) % 2
        student, target = student.rows(rows), target.rows(rows) if target else None
        batch = Batch(images[:1].expand(len(rows), -1, -1, -1), rows, rows, 0)

        def loss_macs_with(weights: Mapping[str, float]) -> float:
            context = self._context(weights, _identity)
            return loss_macs(self.method, learner.step_of(student, batch, target, context))

        epoch_weights = [self._weights(epoch) for epoch in range(1, trial.epochs + 1)]
        return TrainingMacs(
            student=cost_of(trial.student, input_shape=data.input_shape, classes=data.classes).macs,
            teacher=teacher_macs(self.method, self.teacher, self.needs, trial.epochs),
            loss=epoch_loss_macs(loss_macs_with, epoch_weights),
        )

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps of an epoch."""
        return self.data.train.steps(self.training.batch_size)

    def _weights(self, epoch: int) -> dict[str, float]:
        return self.method.weights_in(epoch, self.trial.epochs)

    def _context(
        self, weights: Mapping[str, float], gather: Callable[[Tensor], Tensor] = parallel.gather
    ) -> StepContext:
        """What the steps of an epoch with these factors have in common."""
        return StepContext(
            weights,
            gather,
            self.data.classes,
            self.method.ce_weight,
            self.training.label_smoothing,
            classifier_for(self.method, self.teacher),
        )

    @property
    def identity(self) -> str:
        """The run's identity in its checkpoints."""
        return run_identity(self.trial, self.data, self._weights_hash)

    def restore(self, folder: Folder | None) -> tuple[list[EpochResult], list[str]]:
        """Resume from a folder's checkpoint; return its epochs, and one line for each refused checkpoint."""
        newest, warnings = checkpoint.load_newest(folder, self.identity) if folder is not None else (None, [])
        if newest is None:
            return [], warnings
        learner = self.learner
        checkpoint.unpack_state(newest.tensors, learner.modules, learner.optimizer)
        history = [EpochResult.from_row(row) for row in newest.history]
        last = history[-1].metrics if history else {"seconds": 0.0, STEP_SECONDS: 0.0}
        self.seconds = last["seconds"]
        self.step_seconds = last.get(STEP_SECONDS, math.nan) * len(history) * self.steps_per_epoch
        self.partial_epoch = newest.partial_epoch
        self.meter.resume(last if self.partial_epoch is None else self.partial_epoch.metrics)
        return history, warnings

    def prepare_save(
        self,
        folder: Folder,
        history: list[EpochResult],
        *,
        is_last: bool = False,
        partial_epoch: PartialEpoch | None = None,
    ) -> Callable[[], None]:
        """Copy the current state; return a function that writes it while the training continues."""
        learner = self.learner
        tensors = checkpoint.copies(checkpoint.pack_state(learner.modules, learner.optimizer))
        rows = [result.as_row() for result in history]
        state = checkpoint.Checkpoint(self.identity, len(rows), tensors, rows, partial_epoch)
        description = None
        if is_last:
            description = describe_student(self.trial, self.data, history[-1], bf16=learner.bf16)
            with learner.evaluated(len(history) * self.steps_per_epoch):
                student = checkpoint.copies(learner.student.state_dict())

        def write() -> None:
            if description is not None:
                weights = checkpoint.to_safetensors(student, description.metadata())
                folder.write(WEIGHTS, weights)
                folder.write(DESCRIPTION, description.to_json().encode())
            checkpoint.save(folder, state)

        return write

    def epoch(
        self, epoch: int, warnings: tuple[str, ...], *, read_test: bool, after_step: AfterStep = do_nothing
    ) -> EpochResult:
        """Train and evaluate an epoch, or the rest of a resumed one.

        Raises:
            DivergedError: The loss is not finite.
            EpochAbandonedError: `after_step` raised it.
        """
        start = time.monotonic() - (self.partial_epoch.seconds if self.partial_epoch else 0.0)
        student, bf16 = self.learner.student, self.learner.bf16
        with temporary_seed(dropout_seed(self.trial.seed, epoch), self.device):
            metrics = self.steps(epoch, after_step=after_step, start=start)
        self.step_seconds += time.monotonic() - start
        for module in self.learner.averaged_modules:
            parallel.average_buffers(module)
        chunk_size = evaluation_chunk_size(
            self.trial.student, self.data, self.training.batch_size, self.device
        )
        evaluate_split = partial(evaluate, student, bf16=bf16, chunk_size=chunk_size)
        test_correct = ""
        with self.learner.evaluated(epoch * self.steps_per_epoch):
            accuracy, loss = evaluate_split(self.data.validation)
            metrics |= {"validation_accuracy": accuracy, "validation_loss": loss}
            if not math.isfinite(loss):  # the last step may have spoilt the weights
                raise DivergedError(f"validation loss is {loss} in epoch {epoch}")
            if read_test and epoch == self.trial.epochs:
                tested = read_test_set(evaluate_split, self.data, self.device, self._read_test_logits)
                metrics, test_correct = metrics | tested[0], tested[1]
        metrics |= {
            "teacher_macs": self.macs.of_teacher(epoch, self.images_seen),
            "training_macs": self.macs.of_training(epoch, self.images_seen),
            "loss_macs": self.macs.of_loss(epoch),
            "teacher_bytes": float(self.teacher.stored_bytes(self.needs) if self.teacher else 0),
            **self.learner.auxiliary_size,
            STEP_SECONDS: self.step_seconds / (epoch * self.steps_per_epoch),
            "seconds": self.seconds + time.monotonic() - start,
            **self.meter.figures(),
        }
        self.seconds = metrics["seconds"]
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        notes = self.method.warnings(finite, batch_size=self.training.batch_size, classes=self.data.classes)
        if isinstance(self.step, RecordedStep) and self.step.refusal is not None:
            notes += (f"steps are launched one by one, no CUDA graph was recorded: {self.step.refusal}",)
        return EpochResult(epoch, finite, warnings + notes, test_correct)

    def steps(
        self, epoch: int, limit: int | None = None, *, after_step: AfterStep = do_nothing, start: float = 0.0
    ) -> dict[str, float]:
        """Run an epoch's steps, or `limit` of them; the host waits for the device at checks and at the end.

        Args:
            epoch: The epoch, counted from 1.
            limit: Most steps to run.
            after_step: Called after each step but the last.
            start: Start of the epoch by the monotonic clock.

        Raises:
            DivergedError: The loss is not finite.
        """
        self.learner.student.train()
        weights = self._weights(epoch)
        context = self._context(weights)
        needs = self.method.needs_of(self.needs, weights)
        steps = self.steps_per_epoch
        sums, metrics, steps_done = self._resume_partial()

        def make_partial_epoch() -> PartialEpoch:
            means = check_finite(mean_terms(sums, steps_done), epoch)
            totals = {name: value.detach().cpu().clone() for name, value in sums.items()}
            if parallel.world_size() > 1:
                totals = {
                    name: torch.tensor(mean * steps_done, dtype=torch.float64) for name, mean in means.items()
                }
            seconds = time.monotonic() - start
            spent = metrics | self.meter.figures()
            return PartialEpoch(steps_done, self.images_seen, seconds, spent, totals, generators(self.device))

        order = Order(self.trial.seed, epoch, self.training.batch_size)
        share = Share(parallel.rank(), parallel.world_size())
        batches = self.data.train.epoch(order, device=self.device, share=share, first_batch=steps_done)
        for number, batch in enumerate(islice(batches, limit)):
            rate = optimizers.rate_at(self.training, epoch - 1 + steps_done / steps, self.trial.epochs)
            optimizers.set_rate(self.learner.optimizer, rate)
            target = self.teacher.outputs(batch, needs) if self.teacher else None
            if epoch == 1 and steps_done == 0:
                metrics |= self.learner.start(batch, target, context)
            if number == 0 and isinstance(self.teacher, PrefetchingOutputs) and epoch < self.trial.epochs:
                self.teacher.fetch(self.data.train.view(replace(order, epoch=epoch + 1)))
            terms, student = self.step(batch, target, context)
            for name, term in terms.items():
                key = f"train_{name}"
                sums[key] = sums[key] + term if key in sums else term.clone()
            steps_done += 1
            self.images_seen += len(batch.labels) * parallel.world_size()
            if steps_done % LOOK_STEPS == 0:
                check_finite(mean_terms(sums, steps_done), epoch)
            if steps_done < steps:
                after_step(make_partial_epoch)
        metrics |= check_finite(mean_terms(sums, steps_done), epoch)
        with torch.no_grad():
            metrics |= self.method.diagnose(self.learner.step_of(student, batch, target, context))
        return metrics

    def _resume_partial(self) -> tuple[dict[str, Tensor], dict[str, float], int]:
        """Sums of the terms, metrics of the first step and completed steps, of a resumed or a new epoch."""
        partial_epoch, self.partial_epoch = self.partial_epoch, None
        if partial_epoch is None:
            self.images_seen = 0
            return {}, {}, 0
        self.images_seen = partial_epoch.images_seen
        restore_generators(partial_epoch.random, self.device)
        sums = {name: value.to(self.device) for name, value in partial_epoch.sums.items()}
        return sums, dict(partial_epoch.metrics), partial_epoch.step


def _identity(tensor: Tensor) -> Tensor:
    return tensor
