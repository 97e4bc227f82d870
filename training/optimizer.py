"""What both trainings step with, and how several batches are learned at a time.

Muon steps the layers' matrices, AdamW all else. Muon (K. Jordan and others, 2024) makes each matrix's update
orthogonal; scaled to AdamW's size (J. Liu and others, 2025, "Muon is scalable for LLM training") it takes AdamW's
learning rates.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TypeVar

import torch
from torch import nn

from hubert_llama.models.device import cpu_multiplies_bf16

Batch = TypeVar("Batch")


class MuonAdamW:
    """Two optimizers as one, with one learning rate."""

    def __init__(
        self,
        model: nn.Module,
        layers: Iterable[nn.Module],  # modules whose matrices Muon steps
        weight_decay: float,  # of matrices and kernels; vectors do not decay
        pool: ThreadPoolExecutor | None = None,
        hands: int = 1,  # threads of the pool that Muon's matrices are dealt out to
        matrix_lr: float = 1.0,  # times the learning rate, for Muon's matrices
    ) -> None:
        """Deal the parameters out to Muon and AdamW."""
        matrices = [p for layer in layers for p in layer.parameters() if p.ndim == 2]
        own = {id(p) for p in matrices}
        rest = [p for p in model.parameters() if id(p) not in own]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        muon = [
            torch.optim.Muon(matrices[i::hands], weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
            for i in range(hands)
        ]
        self.parts = [*muon, torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)]
        self.pool, self.matrix_lr = pool, matrix_lr

    def step(self, lr: float) -> None:
        """Step with a learning rate, and forget the gradients."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr * (self.matrix_lr if isinstance(part, torch.optim.Muon) else 1)
        list((self.pool.map if self.pool else map)(lambda part: part.step(), self.parts))
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict:
        """The moments of all parts."""
        return {str(i): part.state_dict() for i, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict) -> None:
        """Take up the moments of all parts."""
        if len(state) != len(self.parts):
            raise SystemExit(
                f"The checkpoint was made by {len(state) - 1} hands, this optimizer has {len(self.parts) - 1}: "
                "go on with as many batches in a step (--together) as before."
            )
        for i, part in enumerate(self.parts):
            part.load_state_dict(state[str(i)])


def half_precision(device: torch.device) -> AbstractContextManager:
    """Matrix products in bf16 where the device multiplies it in hardware.

    Nothing is kept between products: threads share the weights.
    """
    if device.type == "cuda" or cpu_multiplies_bf16():
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
    return nullcontext()


def gradients(
    loss: Callable[[Batch], torch.Tensor], parameters: Sequence[nn.Parameter], batch: Batch
) -> tuple[float, list[torch.Tensor]]:
    """The loss of a batch and its gradients; several threads may ask at once."""
    with half_precision(parameters[0].device):
        found = loss(batch)
    return found.item(), list(torch.autograd.grad(found, parameters, allow_unused=True, materialize_grads=True))


def learn(
    loss: Callable[[Batch], torch.Tensor], model: nn.Module, batches: Sequence[Batch], pool: ThreadPoolExecutor
) -> float:
    """Leave the mean gradients of batches in the model's parameters; returns the mean loss.

    Each batch is read by a thread of the pool.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    learned = list(pool.map(partial(gradients, loss, parameters), batches))
    for p, *parts in zip(parameters, *(found for _, found in learned), strict=True):
        # the fused step of AdamW takes memory as it lies, whatever the strides of a gradient say
        p.grad = (sum(parts[1:], parts[0]) / len(parts)).contiguous()
    return sum(found for found, _ in learned) / len(learned)
