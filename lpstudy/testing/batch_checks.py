"""The checks of what a batch may hold and how it may be shared; a failed one raises AssertionError."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lpstudy.methods.batch_norm import BatchNorm
from lpstudy.outputs import NO_LABEL, Outputs, Partners
from lpstudy.testing.method_case import PROGRESS, MethodCase, example_labels, require

WORKERS = 2
EXACT = 1e-8
"""Largest relative difference of two computations of one thing in float64."""
HALF = 1e-3
"""Largest relative change of the loss where the teacher's outputs are rounded to float16, as in a bank."""


def _half(outputs: Outputs) -> Outputs:
    maps = {name: value.half().float() for name, value in outputs.maps.items()}
    return Outputs(outputs.logits.half().float(), outputs.embedding.half().float(), maps)


def check_bank(case: MethodCase) -> None:
    """The loss changes by at most a thousandth where the teacher's outputs come from a bank in float16."""
    mine, theirs = case.outputs(24)
    for progress in PROGRESS:
        totals = [
            float(case.method.loss(case.step(progress, mine, outputs, case.auxiliary())).total.detach())
            for outputs in (theirs, _half(theirs))
        ]
        change = abs(totals[1] - totals[0]) / abs(totals[0])
        require(change <= HALF, f"the teacher's outputs in float16 change the loss by {change:.2g} of it")


def check_order(case: MethodCase) -> None:
    """The loss does not depend on the order of the batch."""
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    for progress in PROGRESS:
        with case.in_float64() as make_auxiliary:
            mine, theirs = case.outputs(12, torch.float64)
            step = case.step(progress, mine, theirs, make_auxiliary())
            turned = replace(
                case.step(progress, mine.rows(order), theirs.rows(order), make_auxiliary()),
                labels=step.labels[order],
                samples=step.samples[order],
            )
            turned = case.with_images(turned, order)
            one, other = (case.method.loss(each).total.detach() for each in (step, turned))
        is_close = torch.allclose(one, other, rtol=EXACT)
        require(is_close, f"the loss is {one:g} and {other:g} for the same batch in another order")


def check_degenerate_batches(case: MethodCase) -> None:
    """Loss and gradient are finite for equal images, for images of one class and for zero features."""
    same, some = torch.zeros(8, dtype=torch.int64), torch.tensor([0, 0, 1, 2, 2, 2, 3, 4])
    labels = example_labels(8)
    batches = {
        "equal images": (same, labels, 1.0),
        "some equal images": (some, labels, 1.0),
        "one class": (torch.arange(8), torch.ones_like(labels), 1.0),
        "one image with a label": (torch.arange(8), labels.where(labels.cumsum(0) == 1, NO_LABEL), 1.0),
        "outputs that are all 0": (torch.arange(8), labels, 0.0),
        "outputs that are tiny": (torch.arange(8), labels, 1e-20),
    }
    for name, (index, classes, factor) in batches.items():
        for progress in PROGRESS:
            case.student.zero_grad(set_to_none=True)
            mine, theirs = (_scaled(outputs.rows(index), factor) for outputs in case.outputs(8))
            step = replace(case.step(progress, mine, theirs, case.auxiliary()), labels=classes)
            step = case.with_images(step, index)
            total = case.method.loss(step).total
            require(total.isfinite(), f"the loss is {total.detach()} for {name}")
            total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            gradients = [p.grad for p in case.student.parameters() if p.grad is not None]
            is_finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
            require(is_finite, f"a gradient is not finite for {name}")


def _scaled(outputs: Outputs, factor: float) -> Outputs:
    maps = {name: value * factor for name, value in outputs.maps.items()}
    return Outputs(outputs.logits * factor, outputs.embedding * factor, maps)


def check_mixed_images(case: MethodCase) -> None:
    """CE of mixed images, where the loss has it, is that of both labels by their shares."""
    labels, share = example_labels(12), 0.75
    others = labels.roll(1)
    for progress in PROGRESS:
        with case.in_float64() as make_auxiliary:
            mine, theirs = case.outputs(12, torch.float64)
            step = case.with_images(case.step(progress, mine, theirs, make_auxiliary()), torch.arange(12))
            mixture = replace(step, partners=Partners(others, torch.tensor(share)))
            parts = [case.method.loss(each).parts for each in (mixture, step, replace(step, labels=others))]
        if "ce" in parts[0]:
            found, first, second = (float(each["ce"]) for each in parts)
            expected = share * first + (1 - share) * second
            require(
                abs(found - expected) <= EXACT * expected,
                f"CE of mixed images is {found:g}, not {expected:g}: begin the loss with cross_entropy(step)",
            )


def check_workers(case: MethodCase) -> None:
    """Two workers that share the batch have, on average, the gradients of one that has all of it.

    Batch normalisation in an auxiliary module is in evaluation mode here: the statistics of a worker's own
    rows are not those of the batch.
    """
    for progress in PROGRESS:
        with case.in_float64() as make_auxiliary:
            batch = _SharedBatch(case, progress, make_auxiliary)
            whole = batch.gradients(_all, slice(0, 12))
            halves = slice(0, 6), slice(6, 12)
            sent = [_Gathering(rank) for rank in range(WORKERS)]
            for gathering, half in zip(sent, halves, strict=True):
                batch.gradients(gathering.note, half)
            shares = [
                batch.gradients(gathering.answer(sent), half)
                for gathering, half in zip(sent, halves, strict=True)
            ]
        for name, expected in whole.items():
            apart = float((sum(share[name] for share in shares) / WORKERS - expected).abs().max())
            require(
                apart <= EXACT * max(float(expected.abs().max()), 1e-3),
                f"two workers have another gradient of {name} than one, by {apart:.2g}: where the loss"
                " compares samples, step.gather gives those of all workers",
            )


def _all(rows: Tensor) -> Tensor:
    return rows


class _Gathering:
    """What a worker gathers: noted in a first pass, answered with the rows of all workers in a second."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.sent: list[Tensor] = []

    def note(self, rows: Tensor) -> Tensor:
        self.sent.append(rows.detach())
        return torch.cat([rows] * WORKERS)

    def answer(self, workers: "Sequence[_Gathering]") -> Callable[[Tensor], Tensor]:
        """A gather that has, as the real one, WORKERS times the gradient of the worker's own rows."""
        sent = iter(zip(*(worker.sent for worker in workers), strict=True))

        def gather(rows: Tensor) -> Tensor:
            parts = list(next(sent))
            parts[self.rank] = rows * WORKERS - rows.detach() * (WORKERS - 1)
            return torch.cat(parts)

        return gather


@dataclass(frozen=True)
class _SharedBatch:
    """Twelve samples in float64, of which a worker has some."""

    case: MethodCase
    progress: float
    make_auxiliary: Callable[[], nn.Module | None]

    def gradients(self, gather: Callable[[Tensor], Tensor], part: slice) -> dict[str, Tensor]:
        """The gradients of all trained parameters for some of the samples."""
        case, auxiliary = self.case, self.make_auxiliary()
        for layer in auxiliary.modules() if auxiliary is not None else ():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | BatchNorm):
                layer.eval()
        mine, theirs = case.outputs(12, torch.float64)
        samples = torch.arange(12)[part]
        context = replace(case.context(self.progress), gather=gather)
        labels = example_labels(12)[part]
        step = context.step(mine.rows(samples), theirs.rows(samples), labels, samples, auxiliary)
        total = case.method.loss(case.with_images(step, samples)).total
        parameters = {
            name: parameter for name, parameter in case.student.named_parameters() if parameter.requires_grad
        }
        if auxiliary is not None:
            parameters |= {f"auxiliary {name}": value for name, value in auxiliary.named_parameters()}
        found = torch.autograd.grad(
            total, list(parameters.values()), allow_unused=True, materialize_grads=True
        )
        return dict(zip(parameters, found, strict=True))


CHECKS: dict[str, Callable[[MethodCase], None]] = {
    "bank": check_bank,
    "order": check_order,
    "degenerate batches": check_degenerate_batches,
    "mixed images": check_mixed_images,
    "workers": check_workers,
}
"""Every check of this page by name."""
