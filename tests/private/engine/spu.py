"""Whether SPU can be run here, for tests that need it."""

import pytest

from onnxshallow.private.engine.environment import ENVIRONMENT, SetupError, engine_python

try:
    PYTHON = engine_python()
    REASON = ""
except SetupError:
    PYTHON = None
    REASON = f"SPU is not here: run `onnxshallow private-setup`, or say where it is in {ENVIRONMENT}"

needs_spu = pytest.mark.skipif(PYTHON is None, reason=REASON)
