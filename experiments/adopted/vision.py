"""Plain torch networks as their papers have them, with random weights: what users bring."""

import itertools

import torch
from torch import Tensor, nn


def conv_bn(
    n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1, act: nn.Module | None = None
) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out), *([act] if act else []))


class BasicBlock(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv_bn(n_in, n_out, 3, stride, act=nn.ReLU(inplace=True))
        self.conv2 = conv_bn(n_out, n_out, 3)
        self.downsample = conv_bn(n_in, n_out, 1, stride) if stride > 1 or n_in != n_out else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv2(self.conv1(x)) + self.downsample(x))


class ResNet18(nn.Module):
    """He et al. 2015, arXiv:1512.03385."""

    def __init__(self, n_classes: int = 1000) -> None:
        super().__init__()
        self.stem = conv_bn(3, 64, 7, 2, act=nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        blocks, n_in = [], 64
        for n_out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks += [BasicBlock(n_in, n_out, stride), BasicBlock(n_out, n_out, 1)]
            n_in = n_out
        self.layers = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.avgpool(self.layers(self.maxpool(self.stem(x)))), 1))


class InvertedResidual(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = n_in * expand
        expanded = [conv_bn(n_in, hidden, 1, act=nn.ReLU6())] if expand > 1 else []
        self.conv = nn.Sequential(
            *expanded, conv_bn(hidden, hidden, 3, stride, hidden, nn.ReLU6()), conv_bn(hidden, n_out, 1)
        )
        self.has_skip = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.has_skip else self.conv(x)


class MobileNetV2(nn.Module):
    """Sandler et al. 2018, arXiv:1801.04381."""

    def __init__(self, n_classes: int = 1000) -> None:
        super().__init__()
        stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
        layers: list[nn.Module] = [conv_bn(3, 32, 3, 2, act=nn.ReLU6())]
        n_in = 32
        for expand, n_out, n, stride in stages:
            for i in range(n):
                layers.append(InvertedResidual(n_in, n_out, stride if i == 0 else 1, expand))
                n_in = n_out
        self.features = nn.Sequential(*layers, conv_bn(n_in, 1280, 1, act=nn.ReLU6()))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean([2, 3]))


class UNet(nn.Module):
    """Ronneberger et al. 2015, arXiv:1505.04597: one level transposed, one resized."""

    def __init__(self, n_classes: int = 2, width: int = 16) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(4)]
        self.down = nn.ModuleList(self._double(a, b) for a, b in zip([3, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(widths[i + 1], widths[i], 2, 2) for i in (2, 1))
        self.reduce = nn.Conv2d(widths[1], widths[0], 1)
        self.merge = nn.ModuleList(self._double(2 * widths[i], widths[i]) for i in (2, 1, 0))
        self.head = nn.Conv2d(width, n_classes, 1)

    @staticmethod
    def _double(n_in: int, n_out: int) -> nn.Sequential:
        return nn.Sequential(conv_bn(n_in, n_out, 3, act=nn.ReLU()), conv_bn(n_out, n_out, 3, act=nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for i, level in enumerate(self.down):
            x = level(x if i == 0 else nn.functional.max_pool2d(x, 2))
            kept.append(x)
        x = kept.pop()
        for up, merge in zip(self.up, self.merge, strict=False):
            x = merge(torch.cat([kept.pop(), up(x)], 1))
        x = self.reduce(nn.functional.interpolate(x, scale_factor=2, mode="nearest"))
        return self.head(self.merge[2](torch.cat([kept.pop(), x], 1)))


class CSP(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.left, self.right = conv_bn(n, n // 2, 1, act=nn.SiLU()), conv_bn(n, n // 2, 1, act=nn.SiLU())
        self.inner = nn.Sequential(conv_bn(n // 2, n // 2, 3, act=nn.SiLU()), conv_bn(n // 2, n // 2, 3, act=nn.SiLU()))
        self.join = conv_bn(n, n, 1, act=nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        left = self.left(x)
        return self.join(torch.cat([left + self.inner(left), self.right(x)], 1))


class Detector(nn.Module):
    """As YOLOv5 is made, small: SiLU, concatenation, pooling in a row, three outputs."""

    def __init__(self, n_outputs: int = 18, width: int = 16) -> None:
        super().__init__()
        w = [width, 2 * width, 4 * width, 8 * width]
        self.stem = conv_bn(3, w[0], 6 // 2, 2, act=nn.SiLU())
        self.stages = nn.ModuleList(
            nn.Sequential(conv_bn(a, b, 3, 2, act=nn.SiLU()), CSP(b)) for a, b in itertools.pairwise(w)
        )
        self.squeeze, self.widen = conv_bn(w[3], w[2], 1, act=nn.SiLU()), conv_bn(4 * w[2], w[3], 1, act=nn.SiLU())
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.lateral = nn.ModuleList([conv_bn(w[3], w[2], 1, act=nn.SiLU()), conv_bn(w[2], w[1], 1, act=nn.SiLU())])
        self.merge = nn.ModuleList(nn.Sequential(conv_bn(2 * n, n, 1, act=nn.SiLU()), CSP(n)) for n in (w[2], w[1]))
        self.heads = nn.ModuleList(nn.Conv2d(n, n_outputs, 1) for n in (w[1], w[2], w[3]))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        kept = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            kept.append(x)
        small, middle, deep = kept
        pooled = [self.squeeze(deep)]
        for _ in range(3):
            pooled.append(self.pool(pooled[-1]))
        deep = self.widen(torch.cat(pooled, 1))
        up = nn.functional.interpolate(self.lateral[0](deep), scale_factor=2, mode="nearest")
        middle = self.merge[0](torch.cat([up, middle], 1))
        up = nn.functional.interpolate(self.lateral[1](middle), scale_factor=2, mode="nearest")
        small = self.merge[1](torch.cat([up, small], 1))
        return tuple(head(level) for head, level in zip(self.heads, (small, middle, deep), strict=True))
