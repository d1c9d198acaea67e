from onnxshallow.report.schema.reports import (
    BenchMeasurement,
    BenchModel,
    BenchReport,
    FixedPointReport,
    PrivateReport,
)
from onnxshallow.report.terminal.bench import print_bench
from onnxshallow.validation.fixed_point import SiteRange, WeightRange
from tests.report.schema.test_engine import MEASURED
from tests.report.schema.test_reports import FILE


def test_a_bench(capsys):
    print_bench(
        BenchReport(
            original=FILE.model_copy(update={"path": "[a]b.onnx"}), optimized=FILE, original_ms=2, optimized_ms=1,
            speedup=2,            speedup_interval=(1.5, 2.5), batch_size=4, runs=9, threads=None, versions={},
        )
    )  # fmt: skip
    text = capsys.readouterr().out
    assert "[a]b.onnx" in text
    assert "2.000 times as fast (95 % interval 1.500 to 2.500), batch 4, 9 runs each, in turns." in text


def test_a_bench_of_several_models_with_an_estimate(capsys):
    models = [BenchModel(path=name, sha256="abc", size_bytes=size) for name, size in (("a.onnx", 2000000), ("b", 1))]
    rows = [
        BenchMeasurement(
            model=n, batch_size=8, threads=None, runs=9, median_ms=2 - n, median_interval=(0.5, 2.5),
            samples_per_second=4000.4, speedup=1 + n, speedup_interval=(0.9, 2.25), peak_memory_bytes=memory,
        )
        for n, memory in ((0, 3500000), (1, None))
    ]  # fmt: skip
    private = [
        PrivateReport(
            model=n, protocol="p", title="P", rtt=0.01, bandwidth=1e8, comparisons=1234, comparison_bytes=2e6,
            linear_bytes=None, bytes=2e6, offline_bytes=None, messages=None, seconds=0.5, offline_seconds=None,
            seconds_ratio=1 + n, counted=("c",), not_counted=missing, sources=("a paper",),
        )
        for n, missing in ((0, ("rounds",)), (1, ("rounds", "[red] nodes (1)")))
    ]  # fmt: skip
    print_bench(
        BenchReport(
            original=FILE, optimized=FILE, original_ms=2, optimized_ms=1, speedup=2, speedup_interval=(1.5, 2.5),
            batch_size=8, runs=1, threads=None, versions={}, models=models, measurements=rows, private=private,
            notes=["Something."],
        )
    )  # fmt: skip
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "a.onnx 8 all 2.000 0.500 to 2.500 4 000 1.000 3.5 2.000",
        "b 8 all 1.000 0.500 to 2.500 4 000 2.000 0.900 to 2.250 - 0.000",
        "Estimate, not a measurement: private inference by P, one sample, secret weights, 10 ms round trip, "
        "100 Mbit/s.",
        "a.onnx 1 234 2.000 - - 0.5000 - 1.000",
        "Not counted for a.onnx: rounds.",
        "Not counted for b: rounds; [red] nodes (1).",
        "Sources: a paper.",
        "Note: Something.",
    ):
        assert line in lines


def test_measurements_stand_beside_their_estimates(capsys):
    models = [BenchModel(path="a[b].onnx", sha256="abc", size_bytes=1)]
    print_bench(
        BenchReport(
            original=FILE, optimized=FILE, original_ms=2, optimized_ms=1, speedup=2, speedup_interval=(1.5, 2.5),
            batch_size=8, runs=1, threads=None, versions={}, models=models, engine=[MEASURED],
        )
    )  # fmt: skip
    text = capsys.readouterr().out
    assert "Measured with SPU: private inference by SEMI2K, one sample, secret weights, 40 ms round trip" in text
    row = next(line for line in text.splitlines() if "a[b].onnx" in line)
    assert all(word in row for word in ("2.000", "0.950", "100", "1.010", "3.500", "15 of 16", "0.0125", "30.5"))
    assert "made up" in text


def test_fixed_point_of_several_models(capsys):
    site, weight = SiteRange("r", 30.0, 6), WeightRange("c", 1.5e-4, 2.0)
    found = [
        FixedPointReport(
            model=n, samples=32, fraction_bits=18, field_bits=64, agreement=agreement, error=0.0123,
            largest_output=31.5, sites=sites, weights=weights, finding=finding,
        )
        for n, agreement, sites, weights, finding in (
            (0, 0.96875, (site,), (weight,), "It is lost."), (1, None, (), (), None)
        )
    ]  # fmt: skip
    models = [BenchModel(path=name, sha256="abc", size_bytes=1) for name in ("[a].onnx", "b")]
    print_bench(
        BenchReport(
            original=FILE, optimized=FILE, original_ms=2, optimized_ms=1, speedup=2, speedup_interval=(1.5, 2.5),
            batch_size=8, runs=1, threads=None, versions={}, models=models, fixed_point=found,
        )
    )  # fmt: skip
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "[a].onnx 96.88 0.0123 31.5 6 0.00015",
        "b - 0.0123 31.5 - 0",
        "[a].onnx: It is lost.",
    ):
        assert line in lines
    assert any(line.startswith("Simulated: fixed point with 18 bits after the point, 32 made-up") for line in lines)
