"""BEATs iter3+ (Chen et al., BEATs: Audio Pre-Training with Acoustic Tokenizers, ICML 2023), as VideoLLaMA2 has it.

Post-norm layers with deep-norm residuals, a gated relative position bias that layer 0 owns and all layers share, and
gradients that shrink from layer to layer. Module names are those of the published weights.

# B batch, R filter-bank rows, M mel bins, T tokens, D width, H heads, K width of a head
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from evqa.models.videollama2.dims import BeatsDims

FBANK_MEAN, FBANK_STD = 15.41663, 6.55582  # of AudioSet; the original divides by twice the deviation


class ScaleGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by a constant."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, value: Tensor, scale: float) -> Tensor:
        """Return the value unchanged."""
        ctx.scale = scale  # type: ignore[attr-defined]
        return value.view_as(value)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        """Scale the gradient."""
        return gradient * ctx.scale, None  # type: ignore[attr-defined]


def scale_gradient(value: Tensor, scale: float) -> Tensor:
    """Return the value itself; its gradient is multiplied by `scale` on the way back."""
    scaled: Tensor = ScaleGradient.apply(value, scale)
    return scaled


class PositionConv(nn.Module):
    """Grouped convolution over tokens with weight norm over its last dimension, the original's rewrite.

    The weight is `g * v * rsqrt(sum(v^2 over dims 0, 1) + 1e-6)` in float32; torch's weight norm has no epsilon.
    """

    def __init__(self, width: int, *, kernel: int, groups: int) -> None:
        super().__init__()
        self.kernel, self.groups = kernel, groups
        self.weight_g = nn.Parameter(torch.empty(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.empty(width, width // groups, kernel))
        self.bias = nn.Parameter(torch.empty(width))

    def weight(self) -> Tensor:
        """Return the effective weight, float32."""
        direction = self.weight_v.float()
        norm = direction.square().sum((0, 1), keepdim=True).add(1e-6).rsqrt()
        return self.weight_g.float() * direction * norm

    def forward(self, hidden_BDT: Tensor) -> Tensor:
        """Convolve; an even kernel yields one position too many, which is dropped."""
        weight = self.weight().to(self.weight_v.dtype)
        convolved = functional.conv1d(hidden_BDT, weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        return convolved[..., : hidden_BDT.shape[-1]]


def position_buckets(num_tokens: int, *, num_buckets: int, max_distance: int) -> Tensor:
    """Number the distances between tokens as T5 does (both signs; exact when small, logarithmic up to the maximum).

    Returns int64 [2T-1]: the bucket of key minus query = -(T-1) ... T-1. Made on the CPU, because a logarithm that is
    one bit off would move a distance to the next bucket.
    """
    distance = torch.arange(-(num_tokens - 1), num_tokens, device="cpu")
    half = num_buckets // 2
    exact = half // 2
    far = torch.log(distance.abs().clamp_min(1).float() / exact) / math.log(max_distance / exact) * (half - exact)
    large = (exact + far.long()).clamp_max(half - 1)
    return (distance > 0).long() * half + torch.where(distance.abs() < exact, distance.abs(), large)


class Attention(nn.Module):
    """Self-attention whose position bias is gated by the query."""

    def __init__(self, dims: BeatsDims, *, eager: bool, owns_bias: bool) -> None:
        super().__init__()
        width = dims.encoder_embed_dim
        self.num_heads, self.eager = dims.encoder_attention_heads, eager
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.grep_linear = nn.Linear(width // self.num_heads, 8)
        self.grep_a = nn.Parameter(torch.empty(1, self.num_heads, 1, 1))
        if owns_bias:
            self.relative_attention_bias = nn.Embedding(dims.num_buckets, self.num_heads)

    def gate(self, query_BHTK: Tensor) -> Tensor:
        """Return the factor of the position bias for every query, [B, H, T, 1]."""
        two = self.grep_linear(query_BHTK).unflatten(-1, (2, 4)).sum(-1).sigmoid()
        first, second = two.chunk(2, dim=-1)
        gate: Tensor = first * (second * self.grep_a - 1.0) + 2.0
        return gate

    def forward(self, hidden_BTD: Tensor, bias_HTT: Tensor, key_mask_B11T: Tensor | None) -> Tensor:
        """Attend to all tokens, or to those that are true in the mask."""
        query, key, value = (
            layer(hidden_BTD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        bias_BHTT = (self.gate(query) * bias_HTT).to(query.dtype)
        if key_mask_B11T is not None:
            bias_BHTT = bias_BHTT.masked_fill(~key_mask_B11T, -torch.inf)
        attend = attend_eager if self.eager else functional.scaled_dot_product_attention
        attended = attend(query, key, value, bias_BHTT)
        mixed_BTD: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return mixed_BTD


def attend_eager(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attend step by step as the original does: logits are kept small by 32 until the row's maximum is gone."""
    logits = (query * (query.shape[-1] ** -0.5 / 32)) @ key.transpose(-1, -2)
    logits = (logits - logits.amax(-1, keepdim=True)) * 32 + bias
    attended: Tensor = logits.softmax(-1) @ value
    return attended


class Layer(nn.Module):
    """Attention and MLP, each followed by a norm over `alpha * input + output` (deep norm)."""

    def __init__(self, dims: BeatsDims, *, eager: bool, owns_bias: bool) -> None:
        super().__init__()
        width = dims.encoder_embed_dim
        self.alpha = math.pow(2 * dims.encoder_layers, 0.25)
        self.self_attn = Attention(dims, eager=eager, owns_bias=owns_bias)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, dims.encoder_ffn_embed_dim)
        self.fc2 = nn.Linear(dims.encoder_ffn_embed_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, hidden_BTD: Tensor, bias_HTT: Tensor, key_mask_B11T: Tensor | None) -> Tensor:
        """Run the layer."""
        attended = self.self_attn(hidden_BTD, bias_HTT, key_mask_B11T)
        hidden_BTD = self.self_attn_layer_norm(hidden_BTD * self.alpha + attended)
        expanded = self.fc2(functional.gelu(self.fc1(hidden_BTD)))  # computed in float32, as the original asks
        output_BTD: Tensor = self.final_layer_norm(hidden_BTD * self.alpha + expanded)
        return output_BTD


class Encoder(nn.Module):
    """Position convolution and layers. `gradient_checkpointing` recomputes layers in the backward pass."""

    def __init__(self, dims: BeatsDims, *, eager: bool) -> None:
        super().__init__()
        self.dims, self.gradient_checkpointing = dims, False
        width = dims.encoder_embed_dim
        self.pos_conv = nn.Sequential(PositionConv(width, kernel=dims.conv_pos, groups=dims.conv_pos_groups), nn.GELU())
        self.layer_norm = nn.LayerNorm(width)
        layers = (Layer(dims, eager=eager, owns_bias=index == 0) for index in range(dims.encoder_layers))
        self.layers = nn.ModuleList(layers)

    def position_bias(self, num_tokens: int) -> Tensor:
        """Look up the bias of every pair of tokens, [H, T, T]."""
        embedding = self.get_submodule("layers.0.self_attn.relative_attention_bias")
        assert isinstance(embedding, nn.Embedding)
        device = embedding.weight.device
        buckets = position_buckets(
            num_tokens, num_buckets=self.dims.num_buckets, max_distance=self.dims.max_distance
        ).to(device, non_blocking=True)
        position = torch.arange(num_tokens, device=device)
        distance_TT = position[None, :] - position[:, None] + num_tokens - 1
        bias_HTT: Tensor = embedding(buckets[distance_TT]).permute(2, 0, 1)
        return bias_HTT

    def forward(self, hidden_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Encode tokens; those that are false in the mask change nothing for the others."""
        if mask_BT is not None:
            hidden_BTD = hidden_BTD * mask_BT.unsqueeze(-1).to(hidden_BTD.dtype)
        hidden_BTD = hidden_BTD + self.pos_conv(hidden_BTD.transpose(1, 2)).transpose(1, 2)
        hidden_BTD = self.layer_norm(hidden_BTD)
        bias_HTT = self.position_bias(hidden_BTD.shape[1])
        key_mask = None if mask_BT is None else mask_BT[:, None, None, :]
        for layer in self.layers:
            hidden_BTD = scale_gradient(hidden_BTD, self.dims.layer_wise_gradient_decay_ratio)
            hidden_BTD = self._dropped(layer, hidden_BTD, bias_HTT, key_mask)
        return hidden_BTD

    def _dropped(self, layer: nn.Module, hidden_BTD: Tensor, *others: Tensor | None) -> Tensor:
        """Run a layer, or in training, by chance, pass it over.

        The original draws from NumPy's global generator, in evaluation too; here torch's is used. A layer that is
        passed over is still computed, because in distributed training every process has to visit the same parameters.
        A tower that learns nothing loses no layer: what it gives would only be noisier.
        """
        run: Callable[..., Tensor] = layer
        if self.training and self.gradient_checkpointing and torch.is_grad_enabled():
            output_BTD: Tensor = checkpoint(run, hidden_BTD, *others, use_reentrant=False)
        else:
            output_BTD = run(hidden_BTD, *others)
        learns = any(weight.requires_grad for weight in layer.parameters())
        if not (self.training and learns and self.dims.encoder_layerdrop):
            return output_BTD
        keep = torch.rand((), device="cpu") > self.dims.encoder_layerdrop
        return torch.where(keep.to(hidden_BTD.device, non_blocking=True), output_BTD, hidden_BTD.to(output_BTD.dtype))


class Beats(nn.Module):
    """Log-mel filter bank -> tokens, eight (one a band of 16 mel bins) for every 16 rows (0.16 s).

    The 527-class predictor of the published weights is not built.
    """

    def __init__(self, dims: BeatsDims, *, eager: bool = False) -> None:
        super().__init__()
        self.dims = dims
        patch = dims.input_patch_size
        self.patch_embedding = nn.Conv2d(1, dims.embed_dim, patch, stride=patch, bias=dims.conv_bias)
        self.layer_norm = nn.LayerNorm(dims.embed_dim)
        different = dims.embed_dim != dims.encoder_embed_dim
        self.post_extract_proj = nn.Linear(dims.embed_dim, dims.encoder_embed_dim) if different else nn.Identity()
        self.encoder = Encoder(dims, eager=eager)

    def forward(self, fbank_BRM: Tensor, num_steps_B: Tensor | None = None) -> Tensor:
        """Encode filter banks [B, R, M]; returns [B, T, D] with T = (R // patch) * (M // patch).

        num_steps_B: how many steps of `patch` rows are real in each sample; the rest is padding, whose tokens mean
        nothing and which changes no other token. None: everything is real, as in the original.
        """
        # The subtraction is done in float32: bfloat16 would lose what remains near the mean.
        normed = (fbank_BRM.float() - FBANK_MEAN) / (2 * FBANK_STD)
        patches_BCSF = self.patch_embedding(normed.to(self.patch_embedding.weight.dtype).unsqueeze(1))
        tokens_BTC = self.layer_norm(patches_BCSF.flatten(2).transpose(1, 2))
        mask_BT = None
        if num_steps_B is not None:
            step_T = torch.arange(tokens_BTC.shape[1], device=tokens_BTC.device) // patches_BCSF.shape[-1]
            mask_BT = step_T < num_steps_B.unsqueeze(1)
        encoded_BTD: Tensor = self.encoder(self.post_extract_proj(tokens_BTC), mask_BT)
        return encoded_BTD
