"""What was read, in words."""

from nas.data.dataset import Dataset
from nas.data.targets import TARGETS


def read_in_words(data: Dataset) -> list[str]:
    """Return what was read, in a line, and further lines on what is likely to be a mistake."""
    return _text_in_words(data) if data.train[data.inputs].dtype.kind in "iu" else _images_in_words(data)


def _text_in_words(data: Dataset) -> list[str]:
    n_windows, context = data.train[data.inputs].shape
    n_bytes = float(data.train["mean_bytes"][0]) * n_windows
    return [
        f"read {data.name}: {n_windows:,} training, {data.size('val'):,} validation and {data.size('test'):,} test windows "
        f"of {context} tokens, {data.facts['vocabulary']:,} different ones, {n_bytes / 1e6:.1f} MB of training text"
    ]


def _images_in_words(data: Dataset) -> list[str]:
    images = data.train[data.inputs]
    lowest, highest = images.min(axis=(0, 2, 3)), images.max(axis=(0, 2, 3))
    ranges = [f"{low:g} to {high:g}" for low, high in zip(lowest, highest, strict=True)]
    values = ranges[0] if len(set(ranges)) == 1 else f"by channel {'; '.join(ranges)}"
    channels, height, width = images.shape[1:]
    targets = TARGETS.get(data.targets).words(data.train[data.targets])
    lines = [
        f"read {data.name}: {len(images):,} training, {data.size('val'):,} validation and {data.size('test'):,} test images"
        f", {channels} channel{'' if channels == 1 else 's'}, {height}x{width}, {targets}, values {values}"
    ]
    if (images == images[0]).all():
        return [*lines, "warning: all training images are alike: nothing can be learned from them"]
    constant = [str(i) for i, (low, high) in enumerate(zip(lowest, highest, strict=True)) if low == high]
    if constant:
        lines.append(f"warning: channel {', '.join(constant)} is the same in every pixel of every image: it tells nothing")
    return lines
