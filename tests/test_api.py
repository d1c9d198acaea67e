import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import onnxshallow
from onnxshallow import analyze, measure_sensitivity, optimize, pareto
from onnxshallow.errors import ModelError, UsageError
from tests.networks import smooth
from tests.runs import net, save_case


@pytest.fixture
def case(tmp_path):
    model, data = save_case(tmp_path)
    return str(model), {"calib": str(data), "sensitivity": "magnitude"}


def test_the_public_names_are_there():
    assert all(getattr(onnxshallow, name) is not None for name in onnxshallow.__all__)
    with pytest.raises(AttributeError, match="shrink"):
        onnxshallow.shrink  # noqa: B018
    assert set(onnxshallow.__all__) <= set(dir(onnxshallow))
    assert onnxshallow.__version__.count(".") == 2


def test_no_module_takes_the_place_of_a_function():
    folder = Path(onnxshallow.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} | {path.name for path in folder.iterdir() if path.is_dir()}
    assert not modules & set(onnxshallow.__all__)


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'onnxruntime', 'torch', 'scipy', 'onnx', 'numpy', 'pydantic', 'rich', 'typer'}"
    code = f"import onnxshallow, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_model_in_memory_has_no_folder_for_its_data():
    given = net()
    onnx.external_data_helper.set_external_data(given.graph.initializer[0], "weights.data")
    given.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(ModelError, match=r"'w0' .* lies in a data file.*give the model's path"):
        optimize(given, target_relus=0.7)
    with pytest.raises(ModelError, match="holds no graph"):
        analyze(onnx.ModelProto())


def test_every_stage_takes_a_model_in_memory():
    data, options = smooth(40, 3, 6), {"sensitivity": "magnitude", "cache": None}
    report = measure_sensitivity(net(), data, **options)
    assert [site.name for site in report.sites] == ["r0", "r1", "r2"]
    points = pareto(net(), data, targets=[0.7], **options).points
    assert points[0].optimized.relus <= 0.7 * 432
    assert analyze(net()).cost.relus == 432


def test_providers_are_an_option(case):
    model, options = case
    plain = optimize(model, target_relus=0.7, **options)
    assert optimize(model, target_relus=0.7, providers="cpu", **options).model == plain.model
    with pytest.raises(UsageError, match="no execution provider 'abacus'"):
        optimize(model, target_relus=0.7, providers=["abacus"], **options)


def test_an_unknown_provider_is_told_where_models_are_compared(tmp_path):
    model = net()
    for run in (
        lambda **o: onnxshallow.validate(model, model, smooth(4, 3, 6), **o),
        lambda **o: onnxshallow.bench(model, model, **o),
    ):
        with pytest.raises(UsageError, match="no execution provider 'abacus'"):
            run(providers="abacus")
