import subprocess
import sys

from onnxshallow.report.schema.doctor import DoctorReport
from onnxshallow.workflows.doctor import examine


def test_what_is_written_can_be_read_again():
    report = examine()
    assert DoctorReport.model_validate_json(report.model_dump_json()) == report


def test_reading_it_needs_none_of_the_packages_that_may_be_missing():
    heavy = "{'onnxruntime', 'onnx', 'onnx_graphsurgeon', 'numpy', 'scipy', 'PIL', 'jinja2'}"
    code = f"import onnxshallow.report.schema.doctor, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
