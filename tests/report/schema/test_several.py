from onnxshallow.report.schema.several import AnalysisReports, Failed, ValidationReports


def test_the_exit_code_is_the_highest():
    failed = [Failed(path=name, error="No.", exit_code=code) for name, code in (("a", 1), ("b", 3))]
    for kind in (AnalysisReports, ValidationReports):
        assert kind(reports=[]).exit_code == 0
        assert kind(reports=[], failed=failed).model_dump()["exit_code"] == 3
