import pytest

from tests.runs import save_case


@pytest.fixture
def case(tmp_path):
    """The path of a small network, and options that plan for it quickly."""
    model, data = save_case(tmp_path)
    return str(model), {"calib": str(data), "sensitivity": "magnitude"}
