"""Closed-form fits of layers to calibration activations."""
