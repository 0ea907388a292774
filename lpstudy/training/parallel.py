"""Collective operations of a trial's workers: gathering with gradient, averaging, broadcasting.

Without a process group there is one worker, and every function is the identity.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lpstudy.training.directive import Directive, Poll


def rank() -> int:
    """This worker's number, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """The number of workers of the trial."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(local: Tensor) -> Tensor:
    """Gather the rows of all workers, shape (workers * m, ...), in the order of their ranks.

    The gradient of this worker's rows is scaled by the number of workers: every worker computes the same loss
    of the gathered rows, and `average_gradients` divides by that number again.
    """
    if world_size() == 1:
        return local
    gathered: Tensor = _Gather.apply(local)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        ctx.rows = local.shape[0]
        parts = [torch.empty_like(local) for _ in range(world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        local = grads[0].narrow(0, rank() * ctx.rows, ctx.rows)
        return local * world_size()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the workers, in one all-reduce."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    begin = 0
    for gradient in gradients:
        gradient.copy_(flat[begin : begin + gradient.numel()].view_as(gradient))
        begin += gradient.numel()


def average_buffers(module: nn.Module) -> None:
    """Replace running statistics by their mean over the workers, so that all evaluate the same network."""
    if world_size() == 1:
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= world_size()


@contextmanager
def averaged_buffers(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Average running statistics within the context; restore each worker's own afterwards."""
    modules = [*modules] if world_size() > 1 else []
    local = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers()]
    for module in modules:
        average_buffers(module)
    try:
        yield
    finally:
        for buffer, before in local:
            buffer.copy_(before)


def broadcast(value: int) -> int:
    """The first worker's value, on all of them."""
    if world_size() == 1:
        return value
    result = torch.tensor(value)
    if dist.get_backend() == "nccl":
        result = result.cuda()
    dist.broadcast(result, src=0)
    return int(result)


def gather_numbers(own: list[float]) -> list[list[float]]:
    """The numbers of all workers, in the order of their ranks; as many from each."""
    if world_size() == 1:
        return [own]
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    numbers = torch.tensor(own, dtype=torch.float64, device=device)
    parts = [torch.empty_like(numbers) for _ in range(world_size())]
    dist.all_gather(parts, numbers)
    return [part.tolist() for part in parts]


def agree(poll: Poll) -> Directive:
    """The directive of the first worker's poll, on all workers."""
    return Directive(broadcast(poll() if rank() == 0 else Directive.CONTINUE))


def all_reduce_sum(values: Tensor) -> Tensor:
    """Sum values over the workers, in place."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values
