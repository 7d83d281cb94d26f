"""Super-resolution: a larger picture of a picture."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from nas.tasks.metric import Metric, declare
from nas.tasks.task import TASKS, Arrays, Samples
from search_spaces.errors import InvalidInputError
from search_spaces.graph.tensor import TensorSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor

PSNR = declare(
    Metric(
        name="psnr_db",
        title="PSNR",
        unit="dB",
        direction="max",
        digits=2,
        of_data=True,
        noise=0.005,
        tolerance=0.02,
    )
)
SSIM = declare(Metric(name="ssim", title="SSIM", direction="max", of_data=True, noise=0.0002, tolerance=0.001))

PEAK = 255.0
SSIM_MARGIN = 5  # pixels that the windows of SSIM need around one
MIN_AGREEMENT_DB = 50.0  # of a file's picture against the supernet's
LUMINANCE = np.array([65.481, 128.553, 24.966]) / 255  # ITU-R BT.601, of 8-bit RGB, above 16


@TASKS.register("super_resolution")
@dataclass(frozen=True, kw_only=True)
class SuperResolution:
    """A picture made larger; metrics are PSNR and SSIM of its luminance without a border as wide as the scale.

    Attributes:
        shape: Channels, height and width of the small pictures at which time is measured; networks take any size.
        scale: How often the large pictures are as high and wide.
        std: Standard deviation of the training pixels, by which losses are told.
    """

    shape: tuple[int, ...]
    scale: int
    std: float = 1.0

    name: ClassVar[str] = "super_resolution"
    metric: ClassVar[Metric] = PSNR
    sample: ClassVar[str] = "picture"
    targets: ClassVar[str] = "pictures"
    answers: ClassVar[str] = (
        "from PIL import Image\n"
        "for i, planes in enumerate(outputs.clip(0, 255).round().astype(np.uint8)):\n"
        '    Image.fromarray(planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)).save(f"large{i}.png")\n'
        '    print(f"large{i}.png")'
    )

    @classmethod
    def of(cls, data: Samples) -> "SuperResolution":
        """See `Task`."""
        images, pictures = data.train["images"], data.train["pictures"]
        scale = pictures.shape[-1] // images.shape[-1]
        if tuple(scale * length for length in images.shape[2:]) != pictures.shape[2:]:
            raise InvalidInputError(f"pictures of {pictures.shape[2:]} are no enlargement of {images.shape[2:]}")
        if images.shape[1] != pictures.shape[1] or images.shape[1] not in (1, 3):
            raise InvalidInputError(
                "pictures must have one channel or three, small and large alike; "
                f"got {images.shape[1]} and {pictures.shape[1]}"
            )
        if min(pictures.shape[2:]) <= 2 * (scale + SSIM_MARGIN):
            raise InvalidInputError(
                f"large pictures must have more than {2 * (scale + SSIM_MARGIN)} pixels a side to be judged, got "
                f"{min(pictures.shape[2:])}"
            )
        size = data.facts.get("size", images.shape[2:])
        return cls(shape=(images.shape[1], *size), scale=scale, std=max(float(images.std()), 1e-6))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """See `Task`."""
        return (PSNR, SSIM)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Raw pixels, 0 to 255."""
        return (TensorSpec("images", self.shape),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Raw pixels, not yet rounded."""
        channels, *size = self.shape
        return (TensorSpec("pictures", (channels, *(self.scale * length for length in size))),)

    @property
    def chance(self) -> float:
        """Of a picture that is grey throughout."""
        return 20 * math.log10(PEAK / self.std)

    def loss(self, output: "Tensor", batch: "Mapping[str, Tensor]", *, smoothing: float = 0.0) -> "Tensor":  # noqa: ARG002
        """Return the mean absolute difference in standard deviations, see `Task`."""
        return (output - batch["pictures"]).abs().mean() / self.std

    def distillation_loss(self, output: "Tensor", teacher: "Tensor") -> "Tensor":
        """Return the mean absolute difference from the teacher's picture, see `Task`."""
        return (output - teacher).abs().mean() / self.std

    def augment(self, batch: "Mapping[str, Tensor]", amount: int, generator: "Generator") -> "dict[str, Tensor]":
        """Turn and mirror the pairs at random unless `amount` is 0, see `Task`."""
        import torch

        if amount == 0:
            return dict(batch)
        n = len(batch["images"])
        mirrored = torch.rand((3, n), generator=generator) < 0.5
        found = dict(batch)
        for name in ("images", "pictures"):
            pixels = batch[name]
            for axes, chosen in zip(((2,), (3,), None), mirrored, strict=True):
                other = pixels.flip(axes) if axes else pixels.transpose(2, 3)
                if other.shape == pixels.shape:  # oblong ones are not turned
                    pixels = torch.where(chosen[:, None, None, None], other, pixels)
            found[name] = pixels
        return found

    def scores(self, output: NDArray[Any], samples: Arrays) -> dict[str, NDArray[Any]]:
        """Return PSNR and SSIM of each picture, rounded to whole numbers as a file holds it, see `Task`."""
        found, wanted = (self._inner_luminance(pixels) for pixels in (np.rint(output.clip(0, PEAK)), samples["pictures"]))
        return {"psnr_db": psnr(found, wanted), "ssim": np.array([ssim(a, b) for a, b in zip(found, wanted, strict=True)])}

    def _inner_luminance(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Return the luminance without its border, shape `(n, height, width)`."""
        inner = pixels.astype(np.float64)[:, :, self.scale : -self.scale, self.scale : -self.scale]
        return inner[:, 0] if inner.shape[1] == 1 else 16 + np.tensordot(inner, LUMINANCE, axes=(1, 0))

    def agreement(self, found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where both pictures are as alike as 50 dB, see `Task`."""
        alike: NDArray[np.bool_] = psnr(found, expected) >= MIN_AGREEMENT_DB
        return alike

    def order(self, samples: Arrays) -> NDArray[np.intp]:
        """Return the pictures as they come."""
        return np.arange(len(samples["images"]))

    def describe(self) -> dict[str, Any]:
        """See `Task`."""
        values = "raw pixels, 0 to 255"
        return {"inputs": {"values": values}, "outputs": {"values": f"{values}, not rounded", "scale": self.scale}}

    def words(self) -> tuple[str, str]:
        """See `Task`."""
        return "raw pixels", f"a picture {self.scale} times as high and wide"


def psnr(found: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.float64]:
    """Return the peak signal-to-noise ratio of each picture in dB, 100 at most; shape `(n,)`, NaN where pixels are none."""
    difference = (found.astype(np.float64) - wanted).reshape(len(found), -1)
    noise: NDArray[np.float64] = np.maximum((difference**2).mean(axis=1), PEAK**2 / 1e10)
    return 10 * np.log10(PEAK**2 / noise)


def ssim(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Return the structural similarity of two planes.

    Source:
        Wang et al. 2004, IEEE Transactions on Image Processing 13:600, section III.C: windows of a Gaussian of 1.5 pixels.
    """
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    smooth = [gaussian_filter(x, 1.5, truncate=3.5) for x in (found, wanted, found**2, wanted**2, found * wanted)]
    a, b, aa, bb, ab = (x[SSIM_MARGIN:-SSIM_MARGIN, SSIM_MARGIN:-SSIM_MARGIN] for x in smooth)
    alike = (2 * a * b + c1) * (2 * (ab - a * b) + c2) / ((a**2 + b**2 + c1) * (aa - a**2 + bb - b**2 + c2))
    return float(alike.mean())
