import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from onnxshallow.fitting.products import cross_product, gram, predict
from onnxshallow.fitting.threads import computing, in_order
from tests.networks import signed


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads):
    with computing(threads):
        assert list(in_order(lambda number: number**2, range(12))) == [number**2 for number in range(12)]
        assert list(in_order(str, [])) == []


def test_as_many_threads_work_as_were_asked_for_and_as_results_fit():
    both = threading.Barrier(2, timeout=1200)
    with computing(2):
        assert list(in_order(lambda _: both.wait() >= 0, range(4))) == [True] * 4
        names = set(in_order(lambda _: threading.current_thread().name, range(4), bytes_each=1 << 40))
    assert names == {threading.main_thread().name}


def test_every_blas_has_one_thread_inside_and_what_it_had_outside():
    import scipy.linalg  # noqa: F401  so that its BLAS is there to be looked at

    with threadpool_limits(limits=2, user_api="blas"):
        assert blas_threads() == {2}
        with computing(3):
            assert blas_threads() == {1}
        assert blas_threads() == {2}


def test_errors_of_the_work_are_raised():
    def refuse(number):
        raise ValueError(number)

    with computing(2), pytest.raises(ValueError, match="0"):
        list(in_order(refuse, range(3)))


@pytest.mark.parametrize("shape", [(1, 50_000, 70), (3, 30_000, 9), (2, 20_000, 65)])
def test_products_are_the_same_bit_for_bit_with_any_number_of_threads(shape):
    x, y = signed(shape), signed((*shape[:2], 4), seed=1)
    weight, bias = signed((shape[0], 4, shape[2]), seed=2).astype(np.float64), np.zeros((shape[0], 4))
    results = []
    for threads in (1, 2, 3, 8):
        with computing(threads):
            results.append([gram(x), cross_product(x, y), predict(x, weight, bias)])
    for others in results[1:]:
        for other, first in zip(others, results[0], strict=True):
            np.testing.assert_array_equal(other, first)
