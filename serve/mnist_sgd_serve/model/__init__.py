"""The model file: its checks, its metadata, and inference with onnxruntime."""
