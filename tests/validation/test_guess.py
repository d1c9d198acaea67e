"""One test for each rule of docs/decisions/what-outputs-mean.md."""

import numpy as np
import pytest

from onnxshallow.data.columns import ArrayColumn
from onnxshallow.data.samples import Samples
from onnxshallow.errors import UsageError
from onnxshallow.model.network import Network
from onnxshallow.validation.guess import find_kinds, kinds_of_arrays, labelled_outputs
from tests.graphs import parse, signed


def cut(count, axis=1):
    """Weights with which `Slice(x, st, en, ax)` takes the first elements along an axis."""
    return {"st": np.array([0]), "en": np.array([count]), "ax": np.array([axis])}


def guessed(body, outputs, *, shape="N,6", asked=None, labelled=lambda: None, **weights):
    """Kinds by name of outputs that are given as `name: sizes`."""
    listed = ", ".join(f"{'int64' if name == 'i' else 'float'}[N,{sizes}] {name}" for name, sizes in outputs.items())
    network = Network(parse(f"(float[{shape}] x) => ({listed}) {{ {body} }}", **weights))
    return {kind.name: kind for kind in find_kinds(network, asked, labelled)}


def kind_of_arrays(**outputs):
    arrays = [np.zeros((3, *sizes), np.float32) for sizes in outputs.values()]
    return {kind.name: kind.kind for kind in kinds_of_arrays(list(outputs), arrays, 3)}


def test_what_the_user_says_counts():
    kind = guessed("y = Softmax(x)", {"y": 6}, asked={"y": "embedding"})["y"]
    assert (kind.kind, kind.reason) == ("embedding", "as --output-kind says")
    sequence = guessed("y = Relu(x)", {"y": "3,6"}, shape="N,3,6", asked={"y": "classes"})["y"]
    assert (sequence.kind, sequence.axis) == ("classes", 2)
    mask = guessed("y = Relu(x)", {"y": "3,6,6"}, shape="N,3,6,6", asked={"y": "mask"})["y"]
    assert (mask.kind, mask.axis) == ("mask", 1)


def test_a_name_that_no_output_has_is_an_error():
    with pytest.raises(UsageError, match=r"--output-kind names 'z', but the model's outputs are: 'y'\. Use one"):
        guessed("y = Relu(x)", {"y": 6}, asked={"z": "classes"})


def test_a_softmax_means_classes():
    kind = guessed("y = Softmax(x)", {"y": 6})["y"]
    assert (kind.kind, kind.reason) == ("classes", "a softmax at the end")


def test_all_heads_with_a_softmax_are_classes():
    kinds = guessed("a = Softmax(x)\n n = Neg(x)\n b = Softmax(n)", {"a": 6, "b": 6})
    assert [kind.kind for kind in kinds.values()] == ["classes", "classes"]


def test_a_sequence_with_a_softmax_is_classes_for_each_position():
    kind = guessed("y = Softmax<axis=2>(x)", {"y": "5,6"}, shape="N,5,6")["y"]
    assert (kind.kind, kind.axis, kind.reason) == ("classes", 2, "a softmax at the end, for each of 5 places")


def test_heads_that_are_joined_stay_heads():
    kind = guessed("a = Softmax(x)\n b = Softmax(x)\n y = Concat<axis=1>(a, b)", {"y": 12})["y"]
    assert (kind.kind, kind.widths, kind.reason) == ("classes", (6, 6), "2 softmaxes at the end")


def test_the_anchors_of_a_detector_have_scores_and_boxes():
    body = "s = Softmax<axis=2>(x)\n f = Slice(x, st, en, ax)"
    kinds = guessed(body, {"s": "9,6", "f": "9,4"}, shape="N,9,6", **cut(4, axis=2))
    assert [kind.kind for kind in kinds.values()] == ["scores", "boxes"]


def test_a_code_is_not_as_long_as_anchors_are_many():
    kinds = {n: guessed("y = Softmax<axis=2>(x)", {"y": f"{n},6"}, shape=f"N,{n},6")["y"].kind for n in (40, 300)}
    assert kinds == {40: "classes", 300: "scores"}


def test_a_softmax_for_each_pixel_is_a_mask():
    kind = guessed("y = Softmax<axis=1>(x)", {"y": "3,8,8"}, shape="N,3,8,8")["y"]
    assert (kind.kind, kind.axis) == ("mask", 1)


def test_what_the_network_ranks_is_classes():
    kinds = guessed("y = Relu(x)\n z = Abs(x)\n i = ArgMax<axis=1>(y)", {"y": 6, "z": 6, "i": 1})
    assert [kind.kind for kind in kinds.values()] == ["classes", "regression", "classes"]
    assert kinds["y"].reason == "the network looks for its largest"


def test_whole_numbers():
    assert guessed("i = ArgMax<axis=1>(x)", {"i": 1})["i"].kind == "classes"
    assert guessed("i = ArgMax<axis=1>(x)", {"i": "1,4,4"}, shape="N,3,4,4")["i"].kind == "mask"
    assert guessed("i = Cast<to=7>(x)", {"i": 6})["i"].kind == "regression"


def test_the_largest_scores_in_their_order_are_no_classes():
    """The first is always the largest, so that none could ever change."""
    kinds = guessed("y, i = TopK(x, k)", {"y": 2, "i": 2}, k=np.array([2]))
    assert [kind.kind for kind in kinds.values()] == ["scores", "regression"]


@pytest.mark.parametrize(("body", "kind"), [("y = Relu(x)", "regression"), ("y = Sigmoid(x)", "scores")])
def test_one_number_a_sample(body, kind):
    assert guessed(body, {"y": 1}, shape="N,1")["y"].kind == kind


def test_vectors_of_length_one_are_embeddings():
    assert guessed("y = LpNormalization<axis=1>(x)", {"y": 6})["y"].kind == "embedding"


def test_a_sigmoid_over_many_things_is_scores():
    assert guessed("y = Sigmoid(x)", {"y": 6})["y"].kind == "scores"


@pytest.mark.parametrize(
    ("name", "sizes", "kind"),
    [
        ("bbox", (4,), "boxes"),
        ("box_offsets", (9, 4), "boxes"),
        ("loc", (9, 4), "boxes"),
        ("boxes", (3,), "regression"),
        ("landmarks", (10,), "regression"),
        ("pts", (4,), "regression"),
        ("seg", (3, 8, 8), "mask"),
        ("outMask", (1, 8, 8), "mask"),
        ("mask", (8, 8), "mask"),
        ("embedding", (64,), "embedding"),
        ("features", (64,), "embedding"),
        ("features", (64, 8, 8), "regression"),
        ("logits", (6,), "classes"),
        ("class_probs", (6,), "classes"),
        ("cls_score", (9, 6), "scores"),
        ("image", (3, 8, 8), "regression"),
        ("alphabet", (6,), "regression"),
    ],
)
def test_names_speak_where_shapes_allow(name, sizes, kind):
    assert kind_of_arrays(**{name: sizes, "other": (7, 2)})[name] == kind


def test_four_numbers_beside_class_scores_are_a_box_and_ten_are_points():
    body = "p = Softmax(x)\n a = Slice(x, st, en, ax)\n b = Concat<axis=1>(a, x)"
    kinds = guessed(body, {"a": 4, "b": 10, "p": 6}, **cut(4))
    assert [kind.kind for kind in kinds.values()] == ["boxes", "regression", "classes"]
    assert kinds["a"].reason == "four numbers beside class scores"


def test_a_batch_normalization_over_a_vector_is_an_embedding():
    weights = dict.fromkeys(("s", "b", "m", "v"), (6,))
    text = "(float[N,6] x) => (float[N,6] y) { y = BatchNormalization(x, s, b, m, v) }"
    assert find_kinds(Network(parse(text, **weights)))[0].kind == "embedding"


@pytest.mark.parametrize("sizes", [(2,), (10,), (10, 1, 1)])
def test_one_row_that_is_all_there_is_is_classes(sizes):
    assert kind_of_arrays(y=sizes) == {"y": "classes"}


def test_what_the_network_goes_on_from_is_no_end():
    """As features beside the classes that are made of them."""
    kinds = guessed("f = Relu(x)\n y = MatMul(f, w)", {"f": 6, "y": 9}, w=(6, 9))
    assert [(kind.kind, kind.reason) for kind in kinds.values()] == [
        ("regression", "the network goes on from it"),
        ("classes", "the only output at an end, 9 numbers a sample"),
    ]


def test_an_image_is_a_regression():
    assert kind_of_arrays(y=(3, 8, 8)) == {"y": "regression"}


def test_of_several_rows_that_say_nothing_none_is_classes():
    assert kind_of_arrays(a=(6,), b=(10,)) == {"a": "regression", "b": "regression"}


def test_labels_that_fit_say_which_row_is_classes():
    labels = np.arange(40) % 6
    outputs = [signed("a", (40, 6)), np.eye(6, dtype=np.float32)[labels], signed("c", (40, 5))]
    body = "a = Relu(x)\n b = Abs(x)\n c = Slice(x, st, en, ax)"
    kinds = guessed(body, {"a": 6, "b": 6, "c": 5}, labelled=lambda: (outputs, labels), **cut(5))
    assert [kind.kind for kind in kinds.values()] == ["regression", "classes", "regression"]
    assert kinds["b"].reason == "the labels fit it: 100 % of 40 are right"


def test_labels_are_not_asked_where_an_output_speaks_for_itself():
    def never():
        raise AssertionError("the model was run")

    assert guessed("y = Softmax(x)", {"y": 6}, labelled=never)["y"].kind == "classes"


def test_an_output_that_is_not_one_row_a_sample_is_a_regression():
    (kind,) = kinds_of_arrays(["y"], [np.zeros((5, 6), np.float32)], 3)
    assert (kind.kind, kind.reason) == ("regression", "its shape is not known")


@pytest.mark.parametrize(
    ("batch", "whole", "count"), [(8, False, 20), (64, False, 20), (8, True, 16), (64, True, None)]
)
def test_outputs_on_labelled_samples(batch, whole, count):
    model = parse("(float[N,6] x) => (float[N,6] y) { y = Neg(x) }")
    values, labels = signed("x", (20, 6)), np.arange(20)
    samples = Samples({"x": ArrayColumn(values, np.dtype(np.float32))}, "a.npz", labels)
    found = labelled_outputs(model, samples, batch, whole=whole)
    if count is None:
        assert found is None
        return
    (output,), chosen = found
    assert chosen.tolist() == list(range(count))
    np.testing.assert_array_equal(output, -values[chosen])
    assert labelled_outputs(model, samples.without_labels(), batch) is None


def test_labelled_samples_are_taken_from_all_parts_of_a_long_source():
    model = parse("(float[N,6] x) => (float[N,6] y) { y = Neg(x) }")
    values = ArrayColumn(np.zeros((1000, 6), np.float32), np.dtype(np.float32))
    _, chosen = labelled_outputs(model, Samples({"x": values}, "a.npz", np.arange(1000)), 64)
    assert (len(chosen), chosen[0], chosen[-1]) == (256, 0, 999)
