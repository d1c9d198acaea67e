import math

from onnxshallow.report.page.sheets import bench_page, sensitivity_page, validation_page
from onnxshallow.report.schema.reports import BenchModel, BenchReport, SensitivityReport, ValidationReport
from onnxshallow.report.schema.sections import PartingReport, SiteReport, Verdict
from onnxshallow.validation.compare import Fidelity
from onnxshallow.validation.parting import TensorDifference
from tests.report.pages import REPORT
from tests.report.schema.test_engine import MEASURED

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


def test_what_was_measured_of_private_inference_is_a_part_of_its_own():
    report = BenchReport(
        original=REPORT.model, optimized=REPORT.model, original_ms=2, optimized_ms=1, speedup=2,
        speedup_interval=(1.5, 2.5), batch_size=8, runs=1, threads=None, versions={},
        models=[BenchModel(path="named", sha256="abc", size_bytes=1)], engine=[MEASURED],
    )  # fmt: skip
    page = bench_page(report)
    for words in ("Private inference, measured", "named", MEASURED.title):
        assert words in page
    assert "An estimate" not in page
