"""What makes a HuBERT learn faster on a CPU: the same sums, laid out otherwise in memory.

Convolutions want frames as columns ("channels first"), normalisation wants them as rows ("channels last"). Moving
between the two, and gradients of what lies across memory, cost more than the sums themselves.
"""

import torch
from torch import nn
from torch.nn.functional import conv1d, dropout, layer_norm
from transformers import HubertForCTC
from transformers.models.hubert.modeling_hubert import HubertFeatureEncoder, HubertPositionalConvEmbedding


class StridedConvolution(torch.autograd.Function):
    """A 1-D convolution without padding whose frames are rows.

    It is a product of matrices for each clip, over windows that overlap in memory; one clip's at a time are copied.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int) -> torch.Tensor:
        """x (B, T, C), weight (O, C, k), bias (O,) -> (B, T', O), all of one dtype; stride <= k <= T."""
        out, channels, k = weight.shape
        if x.shape[1] < k:
            raise ValueError(f"{x.shape[1]} frames are fewer than the {k} of a window.")
        weight = weight.transpose(1, 2).reshape(out, k * channels)
        y = x.new_empty(len(x), (x.shape[1] - k) // stride + 1, out)
        for rows, windows in zip(y, windows_of(x.contiguous(), k, stride), strict=True):
            torch.addmm(bias, windows, weight.t(), out=rows)
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return y

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients by input, weight and bias."""
        x, weight = ctx.saved_tensors
        gradient, channels, stride = gradient.contiguous(), x.shape[2], ctx.stride
        k = weight.shape[1] // channels
        by_weight = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
        for rows, windows in zip(gradient, windows_of(x.contiguous(), k, stride), strict=True):
            by_weight += rows.t() @ windows
        by_input = None
        if ctx.needs_input_grad[0]:
            by_window = (gradient @ weight).unflatten(2, (k, channels))  # (B, T', k, C)
            by_input = summed(by_window, x.shape[1], stride)
        return by_input, by_weight.unflatten(1, (k, channels)).transpose(1, 2), gradient.sum((0, 1)), None


def summed(by_window: torch.Tensor, frames: int, stride: int) -> torch.Tensor:
    """The gradient by each frame, of those by the windows that it is in: (B, T', k, C) -> (B, T, C)."""
    batch, windows, k, channels = by_window.shape
    by_frame = by_window.new_zeros(batch, frames, channels)
    strides = (frames * channels, stride * channels, channels, 1)
    for first in range(0, k, stride):  # so many of each window's frames that no two windows share one
        n = min(stride, k - first)
        own = by_frame.as_strided((batch, windows, n, channels), strides, first * channels)
        own.add_(by_window[:, :, first : first + n])
    return by_frame


def windows_of(x: torch.Tensor, k: int, stride: int) -> torch.Tensor:
    """Every window of k frames, (B, T, C) contiguous -> (B, T', k C), a view."""
    batch, frames, channels = x.shape
    return x.as_strided((batch, (frames - k) // stride + 1, k * channels), (frames * channels, stride * channels, 1))


class GroupedConvolution(torch.autograd.Function):
    """A grouped 1-D convolution of stride 1 whose gradient by its input is a convolution too.

    On a CPU it is faster than PyTorch's.
    """

    @staticmethod
    def forward(
        ctx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, padding: int, groups: int
    ) -> torch.Tensor:
        """x (B, C, T), weight (C, C / groups, k) -> (B, C, T + 2 padding - k + 1); the padding is less than k."""
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.groups = padding, groups
        return conv1d(x, weight, bias, padding=padding, groups=groups)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients by input, weight and bias."""
        x, weight = ctx.saved_tensors
        channels, own, k = weight.shape
        gradient = gradient.contiguous()
        of_group = channels // ctx.groups
        turned = weight.view(ctx.groups, of_group, own, k).transpose(1, 2).reshape(-1, of_group, k).flip(-1)
        by_input = conv1d(gradient, turned, padding=k - 1 - ctx.padding, groups=ctx.groups)
        _, by_weight, by_bias = torch.ops.aten.convolution_backward(
            gradient, x, weight, [channels], [1], [ctx.padding], [1], False, [0], ctx.groups, [False, True, True]
        )
        return by_input, by_weight, by_bias, None, None


class Dropout(nn.Module):
    """Dropout whose masks are pieces, from random places, of one mask drawn beforehand.

    Drawing a mask for each layer took a twentieth of a step.
    """

    def __init__(self, p: float, masks: torch.Tensor):
        super().__init__()
        self.p, self.masks = p, masks  # float32 (n,), 0 or 1 / (1 - p)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x, in training without a share p of its numbers."""
        n = x.numel()
        if not self.training or n > len(self.masks):
            return dropout(x, self.p, self.training)
        at = int(torch.randint(len(self.masks) - n + 1, ()))
        return x * self.masks[at : at + n].view(x.shape).to(x.dtype)


def dtype_of(x: torch.Tensor) -> torch.dtype:
    """What products of x are computed in: bf16 where that is asked for."""
    return torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype


class RowsEncoder(HubertFeatureEncoder):
    """The feature encoder with frames as rows throughout, over the layers of another."""

    def __init__(self, encoder: HubertFeatureEncoder):
        nn.Module.__init__(self)  # HubertFeatureEncoder's own would make layers anew
        self.conv_layers = encoder.conv_layers
        self._requires_grad = encoder._requires_grad
        self.train(encoder.training)

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """(B, n) -> (B, C, T)."""
        x, kind = waveforms[:, :, None], dtype_of(waveforms)  # (B, n, 1)
        with torch.autocast(x.device.type, enabled=False):
            for layer in self.conv_layers:
                conv, norm = layer.conv, layer.layer_norm
                x = StridedConvolution.apply(x.to(kind), conv.weight.to(kind), conv.bias.to(kind), conv.stride[0])
                x = layer_norm(x, norm.normalized_shape, norm.weight.to(kind), norm.bias.to(kind), norm.eps)
                x = layer.activation(x)
        return x.transpose(1, 2)


class QuickPosition(nn.Module):
    """The convolutional position embedding with the gradients of `GroupedConvolution`, over the parts of another."""

    def __init__(self, embedding: HubertPositionalConvEmbedding):
        super().__init__()
        self.conv, self.padding, self.activation = embedding.conv, embedding.padding, embedding.activation
        self.train(embedding.training)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, T, C) -> (B, T, C), in bf16 where that is asked for."""
        x, kind = hidden_states.transpose(1, 2), dtype_of(hidden_states)
        conv = self.conv
        x = GroupedConvolution.apply(x.to(kind), conv.weight.to(kind), conv.bias.to(kind), conv.padding[0], conv.groups)
        return self.activation(self.padding(x)).transpose(1, 2)


def quicken(model: HubertForCTC) -> None:
    """Let a model of hubert-large's make ("layer" normalisation, biases in the convolutions) learn faster on a CPU.

    It computes the same, but under autocast the convolutions' normalisation in bf16, too.
    """
    model.hubert.feature_extractor = RowsEncoder(model.hubert.feature_extractor)
    model.hubert.encoder.pos_conv_embed = QuickPosition(model.hubert.encoder.pos_conv_embed)
    masks: dict[float, torch.Tensor] = {}
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout) and child.p > 0:
                masks.setdefault(child.p, dropout(torch.ones(1 << 23), child.p))
                setattr(module, name, Dropout(child.p, masks[child.p]).train(child.training))
