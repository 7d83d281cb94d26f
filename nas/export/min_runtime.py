"""The least onnxruntime that runs an exported file; tests/nas/export/test_min_runtime.py opens them there."""

import onnx
import onnxruntime

from search_spaces.errors import InvalidInputError
from search_spaces.lowering import CONTRIB, OPSET

PLAIN = "1.20"  # the least that hwnas itself takes
PACKED = "1.23"  # before, a Cast from INT4 has no kernel
TOKENS = "1.24"  # before, static integers have no kernel in this opset
INTEGER_CACHE = "1.27"  # before, attention keeps float32 alone
TWO_BITS = "1.28"  # before, weights of 2 bits in groups have none


def min_onnxruntime(model: onnx.ModelProto) -> str:
    """Return the least version of onnxruntime that runs a model of `search_spaces.lower`, such as `1.20`."""
    own = {(a.name, a.i) for node in model.graph.node if node.domain == CONTRIB for a in node.attribute}
    if ("bits", 2) in own:
        return TWO_BITS
    if ("kv_cache_bit_width", 8) in own:
        return INTEGER_CACHE
    if max(each.version for each in model.opset_import) > OPSET:
        return TOKENS
    packed = any(tensor.data_type == onnx.TensorProto.INT4 for tensor in model.graph.initializer)
    return PACKED if packed else PLAIN


def check_runtime(model: onnx.ModelProto) -> None:
    """Raise `InvalidInputError` if the onnxruntime that is here is older than a model needs."""
    here, minimum = onnxruntime.__version__, min_onnxruntime(model)
    if _numbers(here) < _numbers(minimum):
        raise InvalidInputError(f"this model needs onnxruntime {minimum} or newer, here is {here}; install a newer one")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:2]]
