"""Runtimes that a table can be measured on, one a file."""

from latency_tables.backends import onnxruntime, onnxruntime_web, openvino, tvm  # noqa: F401 - each registers itself
from latency_tables.backends.backend import BACKENDS, Backend, Runner

__all__ = ["BACKENDS", "Backend", "Runner"]
