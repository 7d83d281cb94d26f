"""From a trained subnet to a verified ONNX file."""
