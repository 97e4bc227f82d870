"""MelHuBERT: Whisper's log-mel front and encoder, with letters by CTC; the face of transformers' `HubertForCTC`.

A waveform's log-mel frames (100 a second) go through two convolutions (50 a second) and a transformer whose norms stand
before its parts, exactly as in Whisper (A. Radford and others, 2022). HuBERT on log-mel frames is T. Lin and others,
2022, "MelHuBERT" (arXiv 2211.09944). A learned mean of all layers and a short convolution make the features that
`lm_head` reads letters from.
"""

from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.audio_utils import mel_filter_bank
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from hubert_llama.audio import FRAME_LENGTH, FRAME_STRIDE, SAMPLING_RATE, n_frames

N_FFT, HOP = 400, 160  # samples: Whisper's windows of 25 ms, one each 10 ms


class MelHubertConfig(PretrainedConfig):
    """The sizes of a `MelHubertForCTC`; by default Whisper base's."""

    model_type = "mel_hubert"

    def __init__(
        self,
        vocab_size: int = 32,
        hidden_size: int = 512,
        num_hidden_layers: int = 6,
        num_attention_heads: int = 8,
        intermediate_size: int = 2048,
        num_mel_bins: int = 80,
        head_kernel: int = 5,  # frames that the convolution before the letters sees
        layer_norm_eps: float = 1e-5,
        ctc_zero_infinity: bool = True,
        pad_token_id: int = 0,  # the blank too
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        **kwargs,
    ):
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
        self.num_attention_heads, self.intermediate_size = num_attention_heads, intermediate_size
        self.num_mel_bins, self.head_kernel, self.layer_norm_eps = num_mel_bins, head_kernel, layer_norm_eps
        self.ctc_zero_infinity = ctc_zero_infinity
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id, **kwargs)


# The front


@cache
def mel_filters(
    bins: int,  # 80 in Whisper base
) -> torch.Tensor:  # float32 (201, bins)
    """Whisper's triangles on the mel scale."""
    nyquist = SAMPLING_RATE / 2
    bank = mel_filter_bank(1 + N_FFT // 2, bins, 0.0, nyquist, SAMPLING_RATE, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(bank.astype(np.float32))


def log_mel(
    waveform: torch.Tensor,  # (n,) mono 16 kHz
    bins: int = 80,
) -> torch.Tensor:  # float32 (n // 160, bins)
    """Whisper's log-mel frames of one waveform, without its padding to 30 s."""
    x = waveform.float()
    stft = torch.stft(x, N_FFT, HOP, window=torch.hann_window(N_FFT, device=x.device), return_complex=True)
    power = stft[:, :-1].abs() ** 2  # (201, n // 160)
    log = (power.T @ mel_filters(bins).to(x.device)).clamp(min=1e-10).log10()
    return (log.maximum(log.max() - 8.0) + 4.0) / 4.0


@cache
def positions(
    frames: int,
    width: int,
) -> torch.Tensor:  # float32 (frames, width)
    """Whisper's sinusoids: the sines of all frequencies, then their cosines."""
    frequencies = torch.exp(-np.log(10_000.0) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(frames)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class MelFront(nn.Module):
    """Two convolutions over log-mel frames, the second of stride 2: 100 frames a second -> 50 vectors a second."""

    def __init__(self, config: MelHubertConfig):
        super().__init__()
        self.conv1 = nn.Conv1d(config.num_mel_bins, config.hidden_size, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(config.hidden_size, config.hidden_size, kernel_size=3, stride=2, padding=1)

    def forward(
        self,
        features: torch.Tensor,  # (B, F, bins)
        lengths: torch.Tensor,  # (B,) log-mel frames of each clip
    ) -> torch.Tensor:  # (B, ceil(F / 2), D)
        """The vectors; a clip's last ones see zeros after its end, whatever it is padded to."""
        x = F.gelu(self.conv1(features.transpose(1, 2).to(self.conv1.weight.dtype)))  # (B, D, F)
        if int(lengths.min()) < x.shape[-1]:
            x = x * inside(lengths, x.shape[-1])[:, None]
        return F.gelu(self.conv2(x)).transpose(1, 2)


def inside(
    lengths: torch.Tensor,  # (B,)
    longest: int,
) -> torch.Tensor:  # bool (B, longest)
    """Which places are inside each row."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


# The layers


def attend(
    q: torch.Tensor,  # (B, heads, T, D / heads), as k and v
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,  # bool, which keys may be seen
) -> torch.Tensor:  # (B, heads, T, D / heads)
    """Attention; to be learned on a CPU as plain products, which take half of the fused kernel's time there in bf16."""
    if q.is_cuda or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, heads, T, T)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) @ v


class MelHubertLayer(nn.Module):
    """Attention and two linear layers, each behind a norm and added to what comes in."""

    def __init__(self, config: MelHubertConfig):
        super().__init__()
        D = config.hidden_size
        self.heads = config.num_attention_heads
        self.attention_norm = nn.LayerNorm(D, config.layer_norm_eps)
        self.qkv_proj = nn.Linear(D, 3 * D)  # queries, keys and values in one product; a bias of keys changes nothing
        self.out_proj = nn.Linear(D, D)
        self.linear_norm = nn.LayerNorm(D, config.layer_norm_eps)
        self.intermediate_dense = nn.Linear(D, config.intermediate_size)
        self.output_dense = nn.Linear(config.intermediate_size, D)

    def forward(
        self,
        x: torch.Tensor,  # (B, T, D)
        mask: torch.Tensor | None,  # bool (B, 1, 1, T): which keys may be seen; None: all
    ) -> torch.Tensor:  # (B, T, D)
        """The next layer's input."""
        B, T, D = x.shape
        qkv = self.qkv_proj(self.attention_norm(x)).view(B, T, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        seen = attend(q, k, v, mask)
        x = x + self.out_proj(seen.transpose(1, 2).reshape(B, T, D))
        return x + self.output_dense(F.gelu(self.intermediate_dense(self.linear_norm(x))))


class LayerMixture(nn.Module):
    """A learned mean of all layers' states, each normalised, and a short convolution over time."""

    def __init__(self, config: MelHubertConfig):
        super().__init__()
        D, kernel = config.hidden_size, config.head_kernel
        self.weights = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))
        self.norm = nn.LayerNorm(D, config.layer_norm_eps)
        self.conv = nn.Conv1d(D, D, kernel, padding=kernel // 2)

    def forward(
        self,
        states: list[torch.Tensor],  # layers + 1 of (B, T, D)
        lengths: torch.Tensor,  # (B,) frames of each clip
    ) -> torch.Tensor:  # (B, T, D)
        """The features that letters are read from."""
        shares = (10 * self.weights).softmax(0)  # they learn ten times as fast as the other weights
        x = self.norm(sum(w * F.layer_norm(h, h.shape[-1:]) for w, h in zip(shares, states, strict=True)))
        if int(lengths.min()) < x.shape[1]:
            x = x * inside(lengths, x.shape[1])[..., None]
        return F.gelu(self.conv(x.transpose(1, 2))).transpose(1, 2)


# The model


class MelHubertPreTrainedModel(PreTrainedModel):
    """Loading, saving and the first random weights."""

    config_class = MelHubertConfig
    base_model_prefix = "hubert"
    main_input_name = "input_values"

    def _get_feat_extract_output_lengths(self, samples: torch.Tensor) -> torch.Tensor:
        """Frames of clips of so many samples, counted as HuBERT's are."""
        return (samples - FRAME_LENGTH) // FRAME_STRIDE + 1


class MelHubertModel(MelHubertPreTrainedModel):
    """Waveforms -> the features that letters are read from, 50 a second."""

    def __init__(self, config: MelHubertConfig):
        super().__init__(config)
        self.front = MelFront(config)
        self.layers = nn.ModuleList(MelHubertLayer(config) for _ in range(config.num_hidden_layers))
        self.layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.mixture = LayerMixture(config)
        self.post_init()

    def log_mel(
        self,
        input_values: torch.Tensor,  # (B, n) waveforms as they are, not normalised
        attention_mask: torch.Tensor | None,  # (B, n), 1 inside a clip
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded log-mel frames (B, F, bins), and how many each clip has (B,); each clip's as if it were alone."""
        B, n = input_values.shape
        samples = [n] * B if attention_mask is None else attention_mask.sum(1).tolist()
        rows = [log_mel(x[:m], self.config.num_mel_bins) for x, m in zip(input_values, samples, strict=True)]
        lengths = torch.tensor([len(row) for row in rows], device=input_values.device)
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths

    def encode(
        self,
        features: torch.Tensor,  # (B, F, bins) log-mel frames
        lengths: torch.Tensor,  # (B,) frames of each clip
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The states before, between and after all layers, the last one normalised; and the frames of each clip."""
        x = self.front(features, lengths)
        frames = (lengths + 1) // 2
        T = x.shape[1]
        mask = inside(frames, T)[:, None, None] if int(frames.min()) < T else None
        states = [x + positions(T, x.shape[-1]).to(x)]
        for layer in self.layers:
            states.append(layer(states[-1], mask))
        states[-1] = self.layer_norm(states[-1])
        return states, frames

    def forward(
        self,
        input_values: torch.Tensor,  # (B, n)
        attention_mask: torch.Tensor | None = None,  # (B, n)
        output_hidden_states: bool = False,
        **kwargs,
    ) -> BaseModelOutput:
        """Features (B, T, D) of padded waveforms, with T as HuBERT has it."""
        states, frames = self.encode(*self.log_mel(input_values, attention_mask))
        T = n_frames(input_values.shape[1])
        last = self.mixture(states, frames)[:, :T]
        return BaseModelOutput(last, tuple(h[:, :T] for h in states) if output_hidden_states else None)


class MelHubertForCTC(MelHubertPreTrainedModel):
    """MelHuBERT with letters: `HubertForCTC`'s face on Whisper's encoder."""

    def __init__(self, config: MelHubertConfig):
        super().__init__(config)
        self.hubert = MelHubertModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def forward(
        self,
        input_values: torch.Tensor,  # (B, n)
        attention_mask: torch.Tensor | None = None,  # (B, n)
        output_hidden_states: bool = False,
        **kwargs,
    ) -> CausalLMOutput:
        """Logits (B, T, V) of padded waveforms."""
        found = self.hubert(input_values, attention_mask, output_hidden_states)
        return CausalLMOutput(logits=self.lm_head(found.last_hidden_state), hidden_states=found.hidden_states)


AutoConfig.register(MelHubertConfig.model_type, MelHubertConfig, exist_ok=True)
