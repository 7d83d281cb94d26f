"""Runtimes that a table can be measured on, one a file."""

from latency_tables.backends.backend import BACKENDS, Backend, Runner
from latency_tables.backends.onnxruntime import OnnxRuntime

__all__ = ["BACKENDS", "Backend", "OnnxRuntime", "Runner"]
