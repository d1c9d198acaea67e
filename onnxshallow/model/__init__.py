"""ONNX models: files, graphs, shapes, sessions, and edits that lose nothing."""
