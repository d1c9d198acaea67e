import ast
import sys
from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.model.session import Session
from onnxshallow.private.engine import run
from onnxshallow.private.engine.lowering import lower, with_batch
from onnxshallow.private.engine.program import Program
from onnxshallow.private.engine.run import run_program
from tests.private.engine.cases import CASES, everything, network
from tests.private.engine.interpreter import OPERATORS
from tests.private.engine.spu import PYTHON, needs_spu

TREE = ast.parse(run._PARTY.read_text(encoding="utf-8"))


def test_the_engines_process_needs_nothing_but_spu():
    for node in ast.walk(TREE):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert {name.split(".")[0] for name in names} <= {"jax", "numpy", "spu", *sys.stdlib_module_names}


def test_it_knows_the_operators_that_are_tested_with_numpy():
    (table,) = (
        node.value
        for node in TREE.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OPERATORS"
    )
    assert {key.value for key in table.keys} == set(OPERATORS)


def joined(programs):
    """Programs of one input as one, which starts the engine once for all of them."""

    def named(case, name):
        return name if name == "x" else f"public {case} {name}" if name.startswith("public ") else f"{case}: {name}"

    def arrays(kind):
        return {
            named(case, key): array for case, each in programs.items() for key, array in getattr(each, kind).items()
        }

    steps = tuple(
        replace(step, inputs=tuple(named(case, name) for name in step.inputs), output=named(case, step.output))
        for case, program in programs.items()
        for step in program.steps
    )
    outputs = tuple(named(case, program.outputs[0]) for case, program in programs.items())
    return Program(("x",), outputs, steps, arrays("weights"), arrays("public"))


@needs_spu
def test_every_operator_under_spu():
    x = np.random.default_rng(4).standard_normal((2, 4, 6, 6)).astype(np.float32)
    program = joined({name: lower(with_batch(network(name), 2)) for name in CASES})
    (made,) = run_program(PYTHON, program, [{"x": x}], "semi2k")
    for name, output in zip(CASES, made.outputs, strict=True):
        expected = Session(network(name)).run({"x": x})[0]
        np.testing.assert_allclose(output, expected, atol=0.01, err_msg=name)


@needs_spu
@pytest.mark.parametrize("protocol", ["semi2k", "aby3", "cheetah"])
@pytest.mark.parametrize("weights", ["secret", "public"])
def test_a_network_under_every_protocol(protocol, weights):
    model = everything()
    x = np.random.default_rng(5).standard_normal((2, 4, 6, 6)).astype(np.float32)
    (made,) = run_program(PYTHON, lower(with_batch(model, 2)), [{"x": x}], protocol, weights)
    np.testing.assert_allclose(made.outputs[0], Session(model).run({"x": x})[0], atol=0.01)
    assert made.bytes == sum(made.sent) > 0
