"""Runtimes that a table can be measured on, one a file."""

from latency_tables.runtimes import onnxruntime, onnxruntime_web, openvino, tvm  # noqa: F401 - each registers itself
from latency_tables.runtimes.runtime import RUNTIMES, Runner, Runtime

__all__ = ["RUNTIMES", "Runner", "Runtime"]
