"""Settings for all tests."""

from hypothesis import settings

# Every machine draws the same examples, and a slow one does not fail for being slow.
settings.register_profile("onnxshallow", derandomize=True, deadline=None)
settings.load_profile("onnxshallow")
