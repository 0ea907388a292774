"""A run: its networks, its epochs, its state on disk."""

import hashlib
import json
import math
import time
from collections.abc import Callable
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from lpstudy import correctness
from lpstudy.cost import cost_of
from lpstudy.data import Data
from lpstudy.data.augment import view_of
from lpstudy.distill import Needs, StepContext
from lpstudy.folder import Folder
from lpstudy.model_file import DESCRIPTION, WEIGHTS
from lpstudy.outputs import EpochResult
from lpstudy.space import RunSpec
from lpstudy.students import build, read_weights
from lpstudy.training import checkpoint, optimizers, parallel, precision
from lpstudy.training.activations import evaluation_chunk_size
from lpstudy.training.cuda_graph import RecordedStep
from lpstudy.training.evaluation import evaluate
from lpstudy.training.memory_format import set_memory_format
from lpstudy.training.partial_epoch import (
    AfterStep,
    PartialEpoch,
    do_nothing,
    generators,
    restore_generators,
    temporary_seed,
)
from lpstudy.training.saving import describe_student
from lpstudy.training.step import Learner
from lpstudy.training.teacher_outputs import Fetching, TeacherOutputs, example
from lpstudy.training.training_macs import TrainingMacs, loss_macs, teacher_macs, training_macs

LOOK_STEPS = 500
"""Steps between two looks at whether the loss is finite; each lets the host wait for the device."""


class DivergedError(ArithmeticError):
    """The loss became infinite or not a number."""


class Trainer:
    """One trial in training.

    Args:
        trial: What to train and how.
        data: On the device, where it can be held there.
        teacher: See `train`.
        device: Where the step runs.

    Raises:
        ValueError: The method needs a teacher and there is none.
    """

    def __init__(
        self, trial: RunSpec, data: Data, teacher: TeacherOutputs | None, device: torch.device
    ) -> None:
        self.trial, self.data, self.device = trial, data, device
        self.method, self.training = trial.method, trial.training
        self.needs, self.teacher = self._needs(teacher)
        weights = trial.student.weights
        self._weights_hash = None if weights is None else read_weights(weights).sha256
        self.learner, self.macs = self._learner()
        alone_on_gpu = device.type == "cuda" and parallel.world_size() == 1
        self.step = RecordedStep(self.learner) if alone_on_gpu else self.learner.step
        self.images_seen = 0
        self.part: PartialEpoch | None = None
        """Of the epoch to come, as a checkpoint had it."""
        self.seconds = 0.0
        """Of all epochs so far, by the monotonic clock, whatever process ran them."""

    def _needs(self, teacher: TeacherOutputs | None) -> tuple[Needs, TeacherOutputs | None]:
        if teacher is None:
            if self.method.reads_teacher:
                raise ValueError(f"{self.method.method} needs a teacher")
            return Needs(), None
        needs = self.method.teacher_needs(teacher.network)
        return needs, teacher if needs != Needs() else None

    @torch.no_grad()
    def _learner(self) -> tuple[Learner, TrainingMacs]:
        """Student, FitNet's regressor and the like, and what one image's training costs."""
        trial, data = self.trial, self.data
        network = build(trial.student, input_shape=data.input_shape, classes=data.classes, seed=trial.seed)
        layout = set_memory_format(network.to(self.device))
        maps = self.method.student_maps(network)
        images = torch.zeros(2, *data.input_shape, device=self.device)
        network.eval()
        student = network(images, maps)
        network.train()
        target = example(self.teacher, images, self.needs) if self.teacher else None
        auxiliary = None
        if target is not None:
            with temporary_seed(trial.seed, self.device):
                auxiliary = self.method.auxiliary(student, target)
        parameters = [*network.parameters()]
        if auxiliary is not None:
            set_memory_format(auxiliary.to(self.device))
            parameters += auxiliary.parameters()
        learner = Learner(
            student=network,
            auxiliary=auxiliary,
            method=self.method,
            maps=maps,
            optimizer=optimizers.make_optimizer(parameters, self.training, self.device),
            device=self.device,
            layout=layout,
            bf16=precision.uses_bf16(self.training.precision, self.device),
        )
        batch = torch.arange(min(self.training.batch_size, len(data.train)), device=self.device) % 2
        student, target = student.rows(batch), target.rows(batch) if target else None

        def of_loss(epoch: int) -> float:
            context = StepContext(self._weights(epoch), _identity, data.classes)
            return loss_macs(self.method, context.step(student, target, batch, batch, auxiliary))

        macs = cost_of(trial.student, input_shape=data.input_shape, classes=data.classes).macs
        of_teacher = teacher_macs(self.method, self.teacher, self.needs, trial.epochs)
        return learner, training_macs(macs, of_teacher, of_loss, epochs=trial.epochs)

    def _weights(self, epoch: int) -> dict[str, float]:
        return self.method.weights((epoch - 1) / self.trial.epochs)

    @property
    def identity(self) -> str:
        """What a checkpoint must have been made by: the trial, on this data."""
        data = self.data
        told = self.trial.model_dump(mode="json", exclude={"training": {"checkpoint_seconds"}})
        told["student"]["weights"] = self._weights_hash  # wherever the file lies
        table = json.dumps([told, data.fingerprint, data.pad, data.flip, data.views], sort_keys=True)
        return hashlib.sha256(table.encode()).hexdigest()

    def restore(self, folder: Folder | None) -> tuple[list[EpochResult], list[str]]:
        """The epochs that a folder's checkpoint holds, whose state is taken over; a line for each refused."""
        found, refused = checkpoint.load_newest(folder, self.identity) if folder is not None else (None, [])
        if found is None:
            return [], refused
        learner = self.learner
        checkpoint.unpack_state(found.tensors, learner.student, learner.auxiliary, learner.optimizer)
        history = [EpochResult.from_row(row) for row in found.history]
        self.seconds = history[-1].metrics["seconds"] if history else 0.0
        self.part = found.part
        return history, refused

    def prepare_save(
        self,
        folder: Folder,
        history: list[EpochResult],
        *,
        last: bool = False,
        part: PartialEpoch | None = None,
    ) -> Callable[[], None]:
        """Writes the state as it is now, after those epochs: the run may go on before that is done."""
        learner = self.learner
        tensors = checkpoint.pack_state(learner.student, learner.auxiliary, learner.optimizer)
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        rows = [result.as_row() for result in history]
        kept = checkpoint.Checkpoint(self.identity, len(rows), tensors, rows, part)
        about = describe_student(self.trial, self.data, history[-1], bf16=learner.bf16) if last else None

        def write() -> None:
            if about is not None:
                weights = checkpoint.to_safetensors(checkpoint.student_tensors(tensors), about.metadata())
                folder.write(WEIGHTS, weights)
                folder.write(DESCRIPTION, about.to_json().encode())
            checkpoint.save(folder, kept)

        return write

    def epoch(
        self, epoch: int, warnings: tuple[str, ...], *, read_test: bool, between: AfterStep = do_nothing
    ) -> EpochResult:
        """Train and evaluate once, or what is left of an epoch that was begun.

        Raises:
            DivergedError: The loss is not finite.
            LeftError: `between` wanted it.
        """
        began = time.monotonic() - (self.part.seconds if self.part else 0.0)
        student, bf16 = self.learner.student, self.learner.bf16
        with temporary_seed(hash((self.trial.seed, epoch)), self.device):  # dropout alone draws from it
            metrics = self.steps(epoch, between=between, began=began)
        parallel.average_buffers(student)
        chunk_size = evaluation_chunk_size(
            self.trial.student, self.data, self.training.batch_size, self.device
        )
        evaluated = partial(evaluate, student, device=self.device, bf16=bf16, chunk_size=chunk_size)
        accuracy, loss = evaluated(self.data.validation)
        metrics |= {"validation_accuracy": accuracy, "validation_loss": loss}
        if not math.isfinite(loss):  # of weights that the very last step spoilt
            raise DivergedError(f"validation loss is {loss} in epoch {epoch}")
        test_correct = ""
        if read_test and epoch == self.trial.epochs:
            correct = torch.zeros(len(self.data.test), dtype=torch.uint8, device=self.device)
            metrics["test_accuracy"], _ = evaluated(self.data.test, correct=correct)
            test_correct = correctness.pack(correct.bool().cpu().numpy())
        auxiliary = self.learner.auxiliary
        metrics |= {
            "teacher_macs": self.macs.of_teacher(epoch, self.images_seen),
            "training_macs": self.macs.of_training(epoch, self.images_seen),
            "auxiliary_parameters": float(sum(p.numel() for p in auxiliary.parameters()) if auxiliary else 0),
            "seconds": self.seconds + time.monotonic() - began,
        }
        self.seconds = metrics["seconds"]
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        said = self.method.warnings(finite, batch_size=self.training.batch_size, classes=self.data.classes)
        if isinstance(self.step, RecordedStep) and self.step.refusal is not None:
            said += (f"steps are launched one by one, no CUDA graph was recorded: {self.step.refusal}",)
        return EpochResult(epoch, finite, warnings + said, test_correct)

    def steps(
        self, epoch: int, most: int | None = None, *, between: AfterStep = do_nothing, began: float = 0.0
    ) -> dict[str, float]:
        """All steps of an epoch, or `most` of them; the host waits for the device at the end, or to look.

        Args:
            epoch: From 1.
            most: Steps.
            between: Called after each step but the last.
            began: When the epoch began, by the monotonic clock.

        Raises:
            DivergedError: The loss is not finite.
        """
        self.learner.student.train()
        weights = self._weights(epoch)
        context = StepContext(weights, parallel.gather, self.data.classes)
        needs = self.method.needs_of(self.needs, weights)
        steps = max(1, len(self.data.train) // self.training.batch_size)
        sums, metrics, done = self._resume_partial()

        def part() -> PartialEpoch:
            means = _finite(_means(sums, done), epoch)
            totals = {name: value.detach().cpu().clone() for name, value in sums.items()}
            if parallel.world_size() > 1:
                totals = {
                    name: torch.tensor(mean * done, dtype=torch.float64) for name, mean in means.items()
                }
            taken = time.monotonic() - began
            return PartialEpoch(done, self.images_seen, taken, dict(metrics), totals, generators(self.device))

        batches = self.data.train.epoch(
            batch_size=self.training.batch_size,
            seed=self.trial.seed,
            epoch=epoch,
            device=self.device,
            rank=parallel.rank(),
            workers=parallel.world_size(),
            begin=done,
        )
        for number, batch in enumerate(islice(batches, most)):
            progress = (epoch - 1 + done / steps) / self.trial.epochs
            optimizers.set_rate(self.learner.optimizer, optimizers.rate_at(self.training, progress))
            target = self.teacher.outputs(batch, needs) if self.teacher else None
            if epoch == 1 and done == 0:
                metrics |= self.learner.start(batch, target, context)
            if number == 0 and isinstance(self.teacher, Fetching) and epoch < self.trial.epochs:
                self.teacher.fetch(
                    view_of(seed=self.trial.seed, epoch=epoch + 1, count=self.data.train.views)
                )
            terms, student = self.step(batch, target, context)
            for name, term in terms.items():
                key = f"train_{name}"
                sums[key] = sums[key] + term if key in sums else term.clone()
            done += 1
            self.images_seen += len(batch.labels) * parallel.world_size()
            if done % LOOK_STEPS == 0:
                _finite(_means(sums, done), epoch)
            if done < steps:
                between(part)
        metrics |= _finite(_means(sums, done), epoch)
        with torch.no_grad():
            metrics |= self.method.diagnose(self.learner.step_of(student, batch, target, context))
        return metrics

    def _resume_partial(self) -> tuple[dict[str, Tensor], dict[str, float], int]:
        """Of the epoch to come: sums of the terms, metrics of its first step, how many steps are done."""
        part, self.part = self.part, None
        if part is None:
            self.images_seen = 0
            return {}, {}, 0
        self.images_seen = part.images_seen
        restore_generators(part.random, self.device)
        sums = {name: value.to(self.device) for name, value in part.sums.items()}
        return sums, dict(part.metrics), part.step


def _means(sums: dict[str, Tensor], steps: int) -> dict[str, float]:
    """Of each term, over the steps and the workers."""
    names = sorted(sums)  # as every worker has them: those of a checkpoint come in any order
    totals = (
        parallel.all_reduce_sum(torch.stack([sums[name].double() for name in names])) / parallel.world_size()
    )
    return dict(zip(names, (totals / steps).tolist(), strict=True))


def _finite(means: dict[str, float], epoch: int) -> dict[str, float]:
    """The same, unless the loss is none."""
    if not math.isfinite(means["train_loss"]):
        raise DivergedError(f"loss is {means['train_loss']} in epoch {epoch}")
    return means


def _identity(tensor: Tensor) -> Tensor:
    return tensor
