from dataclasses import dataclass

import pytest

import onnxshallow
from onnxshallow.errors import TargetError, UsageError
from onnxshallow.options.python import in_python, speaking_python
from tests.runs import net


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("give --calib or --validate.", "give calib or validate."),
        ("Say: --target-relus 0.58, or --max-drop 0.01.", "Say: target_relus=0.58, or max_drop=0.01."),
        ("--budget 10m, --steps 500, --epochs 3.", 'finetune="10m", finetune="500steps", finetune="3epochs".'),
        ("--target-relus 320k allows", 'target_relus="320k" allows'),
        ("--input-shape gives 3 sizes", "input_shape gives 3 sizes"),
        ("the nearest is 'target-relus', not 'a-b'", "the nearest is 'target_relus', not 'a-b'"),
        ("write `onnxshallow optimize --plan-out PATH`.", "write `onnxshallow optimize --plan-out PATH`."),
        ("leave --no-correction out", "leave correction=False out"),
        ("a--b and -- and x --", "a--b and -- and x --"),
    ],
)  # fmt: skip
def test_flags_become_arguments(said, meant):
    assert in_python(said) == meant


def test_an_error_names_the_argument_and_its_neighbour():
    with pytest.raises(UsageError, match=r"^target_relu is not an option; the nearest is 'target_relus'\.$"):
        onnxshallow.optimize(net(), target_relu=0.5)
    with pytest.raises(UsageError, match=r"target_relus=0\.58"):
        onnxshallow.plan(net())


@dataclass(frozen=True)
class Outcome:
    error: TargetError | None


def test_an_error_that_a_result_holds_speaks_likewise():
    function = speaking_python(lambda error: Outcome(error))
    assert str(function(TargetError("Raise --target-relus.")).error) == "Raise target_relus."
    assert function(None).error is None


def test_a_function_stays_the_same_function():
    assert onnxshallow.optimize is onnxshallow.optimize
    assert onnxshallow.optimize.__doc__.startswith("Make a model shallower;")
