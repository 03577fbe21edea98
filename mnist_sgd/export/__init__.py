"""Export a trained model for other programs: .onnx, .pt or .pt2.

All three formats hold the same graph, uint8 images in and probabilities out, with any batch size.
The same weights give the same bytes, without a path of the machine that made them. onnx,
onnxruntime and torch's exporters are imported only when an export needs them.
"""

from mnist_sgd.export.exporter import ExportReport, export_model
from mnist_sgd.export.graph import Classifier
from mnist_sgd.export.parity import ExportError
from mnist_sgd.export.versions import versions

__all__ = ["Classifier", "ExportError", "ExportReport", "export_model", "versions"]
