"""A network of code of one's own, whose classifier is not its last linear layer by position."""

from torch import Tensor, nn


class Net(nn.Module):
    def __init__(
        self, input_shape: tuple[int, int, int], classes: int, depth: int = 2, width: int = 4
    ) -> None:
        super().__init__()
        self.head = nn.Linear(width * 2 ** (depth - 1), classes)
        channels, layers = input_shape[0], []
        for layer in range(depth):
            outputs = width * 2**layer
            conv = nn.Conv2d(channels, outputs, 3, stride=1 if layer == 0 else 2, padding=1)
            layers.append(nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)))
            channels = outputs
        self.body = nn.Sequential(*layers)
        self.gate = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())
        self.last = nn.Conv2d(channels, channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        gated = self.last(features * self.gate(features.mean(dim=(2, 3)))[:, :, None, None])
        logits: Tensor = self.head(gated.mean(dim=(2, 3)))
        return logits
