import math

from onnxshallow.report.page.sheets import sensitivity_page, validation_page
from onnxshallow.report.schema.reports import SensitivityReport, ValidationReport
from onnxshallow.report.schema.sections import PartingReport, SiteReport, Verdict
from onnxshallow.validation.compare import Fidelity
from onnxshallow.validation.parting import TensorDifference
from tests.report.pages import REPORT

VERDICT = Verdict(status="met", exit_code=0, validated=True, reasons=[], line="Goal met.")


def test_a_network_without_measured_sites_has_no_chart():
    site = SiteReport(
        name="r0", kind="relu", size=4, depth=1, removable=False, fusable=False, reason="it has to stay"
    )
    report = SensitivityReport(
        model=REPORT.model, totals=REPORT.original, sites=[site], measure="kl", samples=8, source="a.npz",
        versions={}, seed=0,
    )  # fmt: skip
    page = sensitivity_page(report)
    assert "0 of 1 sites can go." in page
    assert "it stays" in page
    assert "<svg xmlns" not in page


def parting(*errors):
    tensors = tuple(TensorDifference(f"t{place}", "Conv", f"n{place}", error) for place, error in enumerate(errors))
    report = ValidationReport(
        original=REPORT.model, optimized=REPORT.model, original_accuracy=None, optimized_accuracy=None,
        fidelity=Fidelity(samples=8, agreement=None, kl=None, relative_error={}), verdict=VERDICT,
        parting=PartingReport(samples=8, tolerance=1e-3, tensors=tensors, first=None),
    )  # fmt: skip
    return validation_page(report)


def test_errors_that_are_no_numbers_are_left_out_of_the_chart():
    assert "power of ten" in parting(0.0, 0.1, math.inf)
    assert "power of ten" not in parting(math.inf)
    assert "power of ten" not in parting()
