"""Layers of a CNN with an explicit forward-mode derivative; their values and gradients are those of torch.

Torch computes the tangent of a convolution from up to two convolutions (for the first layer, one of them of zeros)
and a sum, that of group normalisation in about twenty passes over memory, and that of pooling by pooling a second
time. With torch's layers, a forward-mode pass over a small CNN costs as much as 4.5 plain passes. Outside the context
of `datagradient.influence.tangents`, i.e. in training and for gradients and second derivatives, torch's own layers are
used.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from datagradient.influence.tangents import is_written_out


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` without bias, dilation and groups, padded with zeros."""

    def __init__(self, fan_in: int, fan_out: int, kernel_size: int, stride: int = 1, padding: int = 0):
        super().__init__(fan_in, fan_out, kernel_size, stride, padding, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of images (n, fan_in, height, width)."""
        if not is_written_out():
            return super().forward(x)
        return _Convolution.apply(x, self.weight, self.stride, self.padding)


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm` for images."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images."""
        if not is_written_out():
            return super().forward(x)
        return _GroupNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps)[0]


class MaxPool2(nn.Module):
    """The maximum of each 2 × 2 pixels; an odd height or width loses its last line."""

    def forward(self, x: Tensor) -> Tensor:
        """Return images of half the height and width."""
        return _MaxPool2.apply(x)[0] if is_written_out() else functional.max_pool2d(x, 2)


class _Convolution(Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, stride: tuple, padding: tuple) -> Tensor:
        return functional.conv2d(x, weight, None, stride, padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, weight, ctx.stride, ctx.padding = inputs
        ctx.save_for_forward(x, weight)
        ctx.set_materialize_grads(False)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dw: Tensor | None, *_: None) -> Tensor:
        x, weight = ctx.saved_tensors
        if dx is None or dw is None:
            pair = (x, dw) if dx is None else (dx, weight)
            return functional.conv2d(*pair, None, ctx.stride, ctx.padding)
        # dW∗x + W∗dx: a sum over channels, so one convolution.
        both, weights = torch.cat([x, dx], dim=1), torch.cat([dw, weight], dim=1)
        return functional.conv2d(both, weights, None, ctx.stride, ctx.padding)


class _GroupNorm(Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        n, channels, height, width = x.shape
        x = x if x.is_cpu else x.contiguous()  # on a GPU channels-last images are refused; torch's own layer copies too
        return torch.native_group_norm(x, weight, bias, n, channels, height * width, groups, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        x, weight, _, ctx.groups, _ = inputs
        _, mean, scale = output
        ctx.mark_non_differentiable(mean, scale)
        ctx.save_for_forward(x, weight, mean, scale)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, dw: Tensor, db: Tensor, *_: None) -> tuple[Tensor, None, None]:
        # With x̂ = s (x − μ): dx̂ = s (dx − dμ) − s³ cov(x, dx) (x − μ), so that the tangent of w x̂ + b
        # is linear in dx and x with coefficients that are the same for all pixels of a channel.
        x, weight, mean, scale = ctx.saved_tensors
        n, channels = x.shape[:2]
        size = channels // ctx.groups
        dmean = _group_mean(dx, ctx.groups)
        covariance = _group_mean(x * dx, ctx.groups) - mean * dmean
        s, shift, dmean, bend = (
            values.repeat_interleave(size, dim=1) for values in (scale, mean, dmean, scale**3 * covariance)
        )
        of_dx, of_x = s * weight, s * dw - bend * weight
        constant = db - of_dx * dmean - of_x * shift
        of_dx, of_x, constant = (values.view(n, channels, 1, 1) for values in (of_dx, of_x, constant))
        return torch.addcmul(torch.addcmul(constant, of_x, x), of_dx, dx), None, None


class _MaxPool2(Function):
    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        return functional.max_pool2d(x, 2, return_indices=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        _, indices = output
        ctx.mark_non_differentiable(indices)
        ctx.save_for_forward(indices)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor) -> tuple[Tensor, None]:
        (indices,) = ctx.saved_tensors
        # Channels last, so that values adjacent in memory are gathered together.
        pixels, chosen = (values.permute(0, 2, 3, 1).flatten(1, 2) for values in (dx, indices))
        tangent = pixels.gather(1, chosen).unflatten(1, indices.shape[2:])
        return tangent.permute(0, 3, 1, 2), None


def _group_mean(x: Tensor, groups: int) -> Tensor:
    """Return the means over the pixels and channels of each group: (n, groups)."""
    by_channel = x.mean(dim=(2, 3))
    return by_channel.view(len(x), groups, -1).mean(dim=2)
