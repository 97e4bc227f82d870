"""What both trainings step with: Muon for the layers' matrices, AdamW for all else.

Muon (K. Jordan and others, 2024) makes each matrix's update orthogonal; scaled to AdamW's size (J. Liu and others, 2025,
"Muon is scalable for LLM training") it takes AdamW's learning rates.
"""

from collections.abc import Iterable

import torch
from torch import nn


class MuonAdamW:
    """Two optimizers as one, with one learning rate."""

    def __init__(self, model: nn.Module, layers: Iterable[nn.Module], weight_decay: float) -> None:
        """`layers`: modules whose matrices Muon steps; AdamW steps the rest, and decays no vectors."""
        matrices = [p for layer in layers for p in layer.parameters() if p.ndim == 2]
        own = {id(p) for p in matrices}
        rest = [p for p in model.parameters() if id(p) not in own]
        groups = [{"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay}, {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0}]
        self.parts = [torch.optim.Muon(matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"), torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)]

    def step(self, lr: float) -> None:
        """Step with a learning rate, and forget the gradients."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict:
        """The moments of both."""
        return {str(i): part.state_dict() for i, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict) -> None:
        """Take up the moments of both."""
        for i, part in enumerate(self.parts):
            part.load_state_dict(state[str(i)])
