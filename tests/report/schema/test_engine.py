from onnxshallow.report.schema.engine import EngineReport

MEASURED = EngineReport(
    model=0, engine="spu", protocol="semi2k", title="SEMI2K", weights="secret", rtt=0.04, bandwidth=1e8,
    bytes=2_000_000, sent_bytes=[1_000_000, 1_000_000], messages=100, seconds=3.5, work_seconds=0.5,
    bytes_estimated=1_900_000, messages_estimated=101, seconds_estimated=3.25, samples=16, agreed=15,
    largest_error=0.0125, largest_output=30.5, synthetic=True,
)  # fmt: skip


def test_figures_are_called_measured():
    assert EngineReport.model_validate_json(MEASURED.model_dump_json()) == MEASURED
    assert MEASURED.kind == "measured"
