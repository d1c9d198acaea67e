"""How the tests of `optimize` run it."""

from tests.runs import run


def quick(model, data, *arguments):
    """A run that takes a fraction of a second."""
    return run("optimize", model, "--calib", data, "--sensitivity", "magnitude", *arguments)
