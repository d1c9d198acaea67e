"""All checks of one seed."""

import logging
import random
import tempfile
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

import onnx

from tests.properties.cases import Counts, open_case
from tests.properties.checks import check_candidates, check_normalized, check_round_trip, check_sites
from tests.properties.features import features
from tests.properties.generator import random_model
from tests.properties.plans import check_fits, check_plan
from tests.properties.spellings import check_spelled
from tests.short_runs import shorten

__all__ = ["Outcome", "check_model", "check_seed", "outcome", "prepare"]


@dataclass(frozen=True)
class Outcome:
    """What became of one seed.

    Attributes:
        seed: the seed.
        counts: what was seen and done.
        wrong: what a check said; empty where all held.
        crash: the traceback of any other exception; empty where there was none.
    """

    seed: int
    counts: Counts
    wrong: str = ""
    crash: str = ""


def prepare() -> None:
    """Keep runs short, let numpy's warnings in the package be errors, and be silent about the rest."""
    shorten()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("error", category=RuntimeWarning, module="onnxshallow")


def outcome(seed: int) -> Outcome:
    """Check one seed, whatever happens."""
    try:
        return Outcome(seed, check_seed(seed))
    except AssertionError as error:
        return Outcome(seed, Counts(), wrong=str(error) or traceback.format_exc())
    except Exception:
        return Outcome(seed, Counts(), crash=traceback.format_exc())


def check_seed(seed: int, *, whole: bool = True) -> Counts:
    """Check the model that a seed names; what was seen and done.

    Raises:
        AssertionError: a check failed.
    """
    return check_model(random_model(random.Random(seed)), random.Random(seed), whole=whole)


def check_model(model: onnx.ModelProto, random: random.Random, *, whole: bool = True) -> Counts:
    """Check one model.

    Args:
        model: the model.
        random: draws which of many candidates are checked, and the options of the run.
        whole: also make it shallower by a whole run, which takes most of the time.
    """
    counts = Counts({"graphs": 1})
    counts.update(features(model))
    case = open_case(model, counts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        check_round_trip(case, folder)
        check_normalized(case)
        check_sites(case, counts)
        check_spelled(case, random, counts)
        check_candidates(case, random, counts)
        if "onnxruntime" in case.engines:
            check_fits(case, random, counts)
        if whole:
            check_plan(case, random, folder, counts)
    return counts
