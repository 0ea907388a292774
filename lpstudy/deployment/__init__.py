"""A trained network outside of lpstudy: its ONNX and torch.export files, latency, and classifier."""
