"""What the tests of the traps do with a model: find, rewrite, compare by both engines."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import Candidate, FindOptions
from onnxshallow.actions.fuse import Fuse
from onnxshallow.actions.linearize import Linearize
from onnxshallow.analysis import analyze
from onnxshallow.model.document import load_document
from onnxshallow.workflows.optimize import optimize
from onnxshallow.workflows.result import Result
from tests.graphs import ENGINES, assert_same_function
from tests.networks import some_statistics, with_affine
from tests.runs import made


def mergers(model: onnx.ModelProto) -> tuple[Candidate, ...]:
    """The exact mergers of a model."""
    return Fuse().find(analyze(model), FindOptions("exact")).candidates


def removals(model: onnx.ModelProto) -> tuple[Candidate, ...]:
    """The sites that can be removed."""
    return Linearize().find(analyze(model), FindOptions()).candidates


def refusals(model: onnx.ModelProto) -> Mapping[str, str]:
    """For each site that no merger covers, the reason."""
    return Fuse().find(analyze(model), FindOptions("exact")).refusals


def assert_rewritten(
    model: onnx.ModelProto,
    candidates: Sequence[Candidate],
    *,
    original_by: Sequence[str] = tuple(ENGINES),
    rewritten_by: Sequence[str] = tuple(ENGINES),
    sizes: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """Apply candidates, and fail unless that is the same function as the model with its sites as Mul and Add.

    Returns:
        The rewritten model.
    """
    statistics = some_statistics(analyze(model))
    rewritten = apply_candidates(analyze(model), candidates, statistics).model
    wanted = with_affine(model, {name: statistics[name] for c in candidates for name in c.sites})
    assert_same_function(rewritten, wanted, sizes=sizes, original_by=original_by, rewritten_by=rewritten_by)
    return rewritten


def assert_melts(
    model: onnx.ModelProto, *, original_by: Sequence[str] = tuple(ENGINES), sizes: Mapping[str, int] | None = None
) -> onnx.ModelProto:
    """Fail unless the model's sites go into one exact merger that is the same function; the merged model."""
    (candidate,) = mergers(model)
    assert set(candidate.sites) == {site.name for site in analyze(model).sites}
    merged = assert_rewritten(model, [candidate], original_by=original_by, sizes=sizes)
    assert analyze(merged).sites == ()
    return merged


def optimized(folder: Path, model: onnx.ModelProto, **options: object) -> Result:
    """The result of `optimize` on synthetic data, in a quick way, which made a model."""
    path = folder / "net.onnx"
    onnx.save(model, path)
    before = path.read_bytes()
    given = {"target_relus": 0.7, "calib_samples": 40, "sensitivity": "magnitude", **options}
    result = optimize(path, cache=False, **given)
    result = made(result)
    assert path.read_bytes() == before
    result.save(folder / "small.onnx")
    assert load_document(folder / "small.onnx").model == result.model
    return result
