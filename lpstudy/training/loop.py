"""train(): one run from its first step to its last, an `EpochResult` after each epoch."""

import hashlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from lpstudy.cost import cost_of
from lpstudy.data import Data
from lpstudy.distill import Needs, Step
from lpstudy.outputs import Batch, EpochResult, Network, Outputs
from lpstudy.space import Trial
from lpstudy.students import build
from lpstudy.training import checkpoint, optimizers, parallel
from lpstudy.training.evaluation import evaluate
from lpstudy.training.work import Work, loss_macs, work


class DivergedError(ArithmeticError):
    """The loss became infinite or not a number."""


class Targets(Protocol):
    """Where a run has its teacher's outputs from: the network at each step, or a bank filled before."""

    @property
    def network(self) -> Network:
        """The teacher."""
        ...

    @property
    def macs(self) -> int:
        """Multiply-accumulates that one image's outputs cost."""
        ...

    def outputs(self, batch: Batch, needs: Needs) -> Outputs:
        """What the method needs for a batch, without a gradient."""
        ...


def train(
    trial: Trial,
    data: Data,
    teacher: Targets | None,
    *,
    device: torch.device,
    folder: Path | None = None,
    read_test: bool = False,
) -> Iterator[EpochResult]:
    """Run a trial and give its result epoch by epoch.

    Args:
        trial: What to train and how.
        data: Its training and validation splits are used; the test split only at the very end of a final.
        teacher: Source of the teacher's outputs; may be None for methods that need none.
        device: Where the step runs.
        folder: Checkpoints; where it holds one, the epochs so far are given again as they were, and training
            goes on after them. At the end it holds the student as `weights.safetensors`.
        read_test: Whether this is a final: the last epoch then has `test_accuracy`.

    Raises:
        DivergedError: The loss is not finite.
        ValueError: The method needs a teacher and there is none.
    """
    run = _Run(trial, data, teacher, device)
    history, warnings = run.restore(folder)
    yield from history
    saved = time.monotonic()
    for epoch in range(len(history) + 1, trial.epochs + 1):
        result = run.epoch(epoch, tuple(warnings), read_test=read_test)
        warnings = []
        history.append(result)
        last = epoch == trial.epochs
        if folder is not None and (last or time.monotonic() - saved >= trial.training.checkpoint_seconds):
            if parallel.rank() == 0:
                run.save(folder, epoch, history, last=last)
            saved = time.monotonic()
        yield result


def seconds_per_step(
    trial: Trial, data: Data, teacher: Targets | None, *, device: torch.device, steps: int = 3
) -> float:
    """Wall seconds of one training step, the mean of a few after one that is not counted."""
    run = _Run(trial, data, teacher, device)
    run.steps(1, 1)
    began = time.monotonic()
    run.steps(1, steps)
    return (time.monotonic() - began) / min(steps, max(1, len(data.train) // trial.training.batch_size))


class _Run:
    def __init__(self, trial: Trial, data: Data, teacher: Targets | None, device: torch.device) -> None:
        self.trial, self.data, self.device = trial, data, device
        self.method, self.training = trial.method, trial.training
        self.student = build(
            trial.student, input_shape=data.input_shape, classes=data.classes, seed=trial.seed
        ).to(device)
        self.maps = self.method.student_maps(self.student)
        self.needs, self.teacher = self._needs(teacher)
        self.auxiliary, self.work = self._auxiliary()
        self.parameters = [*self.student.parameters()]
        self.auxiliary_parameters = 0
        if self.auxiliary is not None:
            self.parameters += self.auxiliary.parameters()
            self.auxiliary_parameters = sum(p.numel() for p in self.auxiliary.parameters())
        self.optimizer = optimizers.make(self.parameters, self.training)
        self.seen = 0
        self.seconds = 0.0
        """Of all epochs so far, by the monotonic clock, whatever process ran them."""

    def _needs(self, teacher: Targets | None) -> tuple[Needs, Targets | None]:
        if teacher is None:
            if self.method.method != "bp":
                raise ValueError(f"{self.method.method} needs a teacher")
            return Needs(logits=False, embedding=False, maps=frozenset()), None
        needs = self.method.teacher_needs(teacher.network)
        wanted = needs.logits or needs.embedding or bool(needs.maps)
        return needs, teacher if wanted else None

    @torch.no_grad()
    def _auxiliary(self) -> tuple[nn.Module | None, Work]:
        """FitNet's regressor and the like, and what one image's training costs."""
        trial, data = self.trial, self.data
        macs = cost_of(trial.student, input_shape=data.input_shape, classes=data.classes).macs
        images = torch.zeros(2, *data.input_shape, device=self.device)
        self.student.eval()
        student = self.student(images, self.maps)
        self.student.train()
        target = self.teacher.network(images, self.needs.maps) if self.teacher else None
        auxiliary = None
        if target is not None:
            with self._seeded(trial.seed):
                auxiliary = self.method.auxiliary(student, target)
        if auxiliary is not None:
            auxiliary.to(self.device)
        batch = torch.arange(min(self.training.batch_size, len(data.train)), device=self.device) % 2
        student, target = student.rows(batch), target.rows(batch) if target else None

        def of_loss(epoch: int) -> float:
            step = Step((epoch - 1) / trial.epochs, _itself, data.classes)
            return loss_macs(self.method, student, target, step, auxiliary)

        taught = self.teacher.macs if self.teacher else 0
        return auxiliary, work(macs, taught, of_loss, epochs=trial.epochs)

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """A seed for what draws from the global generators, which are left as they were."""
        devices = [self.device.index or 0] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            yield

    @property
    def identity(self) -> str:
        """What a checkpoint must have been made by: the trial, on this data."""
        data = self.data
        told = self.trial.model_dump(mode="json", exclude={"training": {"checkpoint_seconds"}})
        table = json.dumps([told, data.fingerprint, data.pad, data.flip], sort_keys=True)
        return hashlib.sha256(table.encode()).hexdigest()

    def restore(self, folder: Path | None) -> tuple[list[EpochResult], list[str]]:
        found, refused = checkpoint.load(folder, self.identity) if folder is not None else (None, [])
        if found is None:
            return [], refused
        checkpoint.unpack(found.tensors, self.student, self.auxiliary, self.optimizer)
        history = [EpochResult(h["epoch"], h["metrics"], tuple(h["warnings"])) for h in found.history]
        self.seconds = history[-1].metrics["seconds"]
        return history, refused

    def save(self, folder: Path, epoch: int, history: list[EpochResult], *, last: bool) -> None:
        if last:
            weights = checkpoint.to_safetensors(self.student.state_dict())
            checkpoint.write_atomically(folder / "weights.safetensors", weights)
        tensors = checkpoint.pack(self.student, self.auxiliary, self.optimizer)
        rows = [asdict(result) for result in history]
        checkpoint.save(folder, checkpoint.Checkpoint(self.identity, epoch, tensors, rows))

    def epoch(self, epoch: int, warnings: tuple[str, ...], *, read_test: bool) -> EpochResult:
        began = time.monotonic()
        with self._seeded(hash((self.trial.seed, epoch))):  # dropout alone draws from it
            metrics = self.steps(epoch)
        parallel.average_buffers(self.student)
        accuracy, loss = evaluate(self.student, self.data.validation, device=self.device)
        metrics |= {"validation_accuracy": accuracy, "validation_loss": loss}
        if not math.isfinite(loss):  # of weights that the very last step spoilt
            raise DivergedError(f"validation loss is {loss} in epoch {epoch}")
        if read_test and epoch == self.trial.epochs:
            metrics["test_accuracy"], _ = evaluate(self.student, self.data.test, device=self.device)
        metrics |= {
            "teacher_macs": self.work.of_teacher(epoch, self.seen),
            "training_macs": self.work.of_training(epoch, self.seen),
            "auxiliary_parameters": float(self.auxiliary_parameters),
            "seconds": self.seconds + time.monotonic() - began,
        }
        self.seconds = metrics["seconds"]
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        said = self.method.warnings(finite, batch_size=self.training.batch_size, classes=self.data.classes)
        return EpochResult(epoch, finite, warnings + said)

    def steps(self, epoch: int, most: int | None = None) -> dict[str, float]:
        """All steps of an epoch, or `most` of them; the host waits for the device only at the end."""
        self.student.train()
        step = Step((epoch - 1) / self.trial.epochs, parallel.gather, self.data.classes)
        steps = max(1, len(self.data.train) // self.training.batch_size)
        sums: dict[str, Tensor] = {}
        metrics: dict[str, float] = {}
        self.seen = done = 0
        batches = self.data.train.epoch(
            batch_size=self.training.batch_size,
            seed=self.trial.seed,
            epoch=epoch,
            device=self.device,
            rank=parallel.rank(),
            workers=parallel.count(),
        )
        for batch in islice(batches, most):
            progress = (epoch - 1 + done / steps) / self.trial.epochs
            optimizers.set_rate(self.optimizer, optimizers.rate_at(self.training, progress))
            target = self.teacher.outputs(batch, self.needs) if self.teacher else None
            student = self.student(batch.images, self.maps)
            if epoch == 1 and done == 0:
                metrics |= self.method.start(student, target, batch.labels, step)
            loss = self.method.loss(student, target, batch.labels, step, self.auxiliary)
            self.optimizer.zero_grad(set_to_none=True)
            loss.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            parallel.average_gradients(self.parameters)
            self.optimizer.step()
            for name, part in (("loss", loss.total.detach()), *loss.parts.items()):
                sums[f"train_{name}"] = sums.get(f"train_{name}", torch.zeros_like(part)) + part
            done += 1
            self.seen += len(batch.labels) * parallel.count()
        totals = parallel.total(torch.stack([value.double() for value in sums.values()])) / parallel.count()
        metrics |= dict(zip(sums, (totals / done).tolist(), strict=True))
        if not math.isfinite(metrics["train_loss"]):
            raise DivergedError(f"loss is {metrics['train_loss']} in epoch {epoch}")
        with torch.no_grad():
            metrics |= self.method.diagnose(student.detach(), target, batch.labels, self.data.classes)
        return metrics


def _itself(tensor: Tensor) -> Tensor:
    return tensor
