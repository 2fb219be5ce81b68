"""The prediction service: serves one bundle over HTTP with ONNX Runtime and logs every prediction."""
