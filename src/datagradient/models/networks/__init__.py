"""The architectures. None has dropout or batch normalisation: a sample's loss must not depend on its batch.

Every layer supports forward-mode differentiation and is supported by `datagradient.influence.ekfac`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from datagradient.data.features import PADDING, UNKNOWN
from datagradient.errors import UserError
from datagradient.models.networks.layers import Conv2d, GroupNorm, MaxPool2


class MLP(nn.Sequential):
    """Two hidden layers for tables (n, features)."""

    def __init__(self, shape: tuple[int, ...], n_classes: int, settings: dict):
        width = int(settings["width"])
        super().__init__(
            nn.Linear(shape[0], width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, n_classes)
        )


class PooledEmbedding(nn.Module):
    """The mean of learned word vectors and one hidden layer, for token numbers (n, length); 0 is padding."""

    def __init__(self, shape: tuple[int, ...], n_classes: int, settings: dict):
        super().__init__()
        width, self.vocabulary = int(settings["width"]), int(settings["vocabulary"])
        self.embedding = nn.Embedding(self.vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.hidden, self.output = nn.Linear(width, width), nn.Linear(width, n_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (n, classes)."""
        tokens = tokens.long()
        tokens = torch.where(tokens < self.vocabulary, tokens, UNKNOWN)
        is_word = tokens != PADDING
        weights = is_word / is_word.sum(dim=1, keepdim=True).clamp(min=1)
        # The mean is one matrix product: forward-mode differentiation of a masked sum takes three times as long.
        vectors = self.embedding(tokens)
        mean = torch.bmm(weights.unsqueeze(1).to(vectors.dtype), vectors).squeeze(1)
        return self.output(torch.relu(self.hidden(mean)))


class Images(nn.Module):
    """Scales bytes (n, channels, height, width) to inputs of about unit size, and passes them to a network."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (n, classes)."""
        return self.network((images.to(next(self.parameters()).dtype) - 127.5) / 64)


def cnn(shape: tuple[int, ...], n_classes: int, settings: dict) -> nn.Module:
    """Return three convolutions, each followed by pooling and group normalisation, and a linear layer."""
    width = int(settings["width"])
    channels, height, breadth = shape
    if width % max(1, width // 8) or 2 * width % max(1, width // 4):
        raise UserError(f"neural: width {width} cannot be divided into groups of channels; give a multiple of 8")

    def block(fan_in: int, fan_out: int) -> list[nn.Module]:
        convolution = Conv2d(fan_in, fan_out, kernel_size=3, padding=1)
        return [convolution, MaxPool2(), GroupNorm(max(1, fan_out // 8), fan_out), nn.ReLU()]

    last = 2 * width * (height // 8) * (breadth // 8)
    layers = [*block(channels, width), *block(width, 2 * width), *block(2 * width, 2 * width)]
    return Images(nn.Sequential(*layers, nn.Flatten(), nn.Linear(last, n_classes)))


def resnet18(shape: tuple[int, ...], n_classes: int, settings: dict) -> nn.Module:
    """Return torchvision's ResNet-18 with group normalisation and a small stem for images of CIFAR's size."""
    from torchvision.models import resnet18 as torchvision_resnet18

    network = torchvision_resnet18(num_classes=n_classes, norm_layer=lambda channels: nn.GroupNorm(32, channels))
    network.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return Images(network)


IMAGE_NETWORKS: dict[str, Callable] = {"cnn": cnn, "resnet18": resnet18}


def build(kind: str, shape: tuple[int, ...], n_classes: int, settings: dict) -> nn.Module:
    """Return a network with new parameters, drawn from torch's global generator.

    Args:
        kind: ``"image"``, ``"text"`` or ``"table"``.
        shape: of one input: (channels, height, width), (length,) or (features,).
        n_classes: number of classes.
        settings: ``network``, ``"small"`` for the default of the kind; ``width``; ``vocabulary`` for texts.
    """
    name = settings["network"]
    if kind == "image":
        return IMAGE_NETWORKS["cnn" if name == "small" else name](shape, n_classes, settings)
    if name != "small":
        raise UserError(f"neural: network {name} takes images, and this data set holds {kind}s; use small")
    return {"text": PooledEmbedding, "table": MLP}[kind](shape, n_classes, settings)
