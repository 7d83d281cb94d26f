"""A trained network in ONNX becomes nodes and weights of ours."""
