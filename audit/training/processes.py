"""Several processes that train one model (``torchrun``): who they are, and what they exchange."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import distributed

from audit.training.feeds.batches import ALONE, Share


def started_by_torchrun() -> bool:
    """Whether this process is one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Share, torch.device]]:
    """This process's share of the work and its device; joins the others, and leaves them."""
    if not started_by_torchrun():
        yield ALONE, device
        return
    gpu = device.type == "cuda"
    if gpu:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if gpu else "gloo")
    try:
        yield Share(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()


class _Gather(torch.autograd.Function):
    """Rows of all processes along one dimension, with the gradient of this one's.

    All processes compute one loss of all rows, and so each has the whole gradient. ``average``
    divides by their number afterwards, which is why it is multiplied here.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows: torch.Tensor, share: Share,
                dim: int) -> torch.Tensor:  # fmt: skip
        ctx.share, ctx.dim, ctx.length = share, dim, rows.shape[dim]  # type: ignore[attr-defined]
        parts = [torch.empty_like(rows) for _ in range(share.world)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts, dim=dim)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, None, None]:
        share, dim, length = ctx.share, ctx.dim, ctx.length  # type: ignore[attr-defined]
        own = gradient.narrow(dim, share.rank * length, length)
        return share.world * own, None, None


def gathered(rows: torch.Tensor, share: Share, dim: int = 0) -> torch.Tensor:
    """Rows of all processes in order, as if one had made them all; gradients flow back."""
    if share.world == 1:
        return rows
    found: torch.Tensor = _Gather.apply(rows, share, dim)  # type: ignore[no-untyped-call]
    return found


@torch.no_grad()
def average(tensors: Sequence[torch.Tensor], share: Share) -> None:
    """Replace each tensor by its mean over the processes."""
    if share.world == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    flat /= share.world
    at = 0
    for tensor in tensors:
        tensor.copy_(flat[at : at + tensor.numel()].view_as(tensor))
        at += tensor.numel()


def union(numbers: set[int], share: Share) -> set[int]:
    """The numbers that any process has; every process has to ask at the same time."""
    if share.world == 1:
        return numbers
    found: list[set[int]] = [set() for _ in range(share.world)]
    distributed.all_gather_object(found, numbers)
    return set().union(*found)


@contextmanager
def first_alone(share: Share) -> Iterator[None]:
    """What is in the block is done by the first process, then by the others."""
    if share.rank > 0:
        distributed.barrier()
    yield
    if share.world > 1 and share.rank == 0:
        distributed.barrier()
