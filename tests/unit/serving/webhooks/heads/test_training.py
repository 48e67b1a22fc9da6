from __future__ import annotations

import numpy as np
import pytest

from serving.heads.head import HeadError
from serving.webhooks.heads.evaluation import calibration_error, held_out
from serving.webhooks.heads.training import LabelledVectors, Origin, train
from tests.support.lattice import embeddings_of

ORIGIN = Origin("sha256:1", 0.5, untrained=False)


def labelled(labels: np.ndarray, slides: np.ndarray | int = 0, noise: float = 0.2) -> LabelledVectors:
    classes = tuple("abcdef"[: labels.max() + 1])
    vectors = embeddings_of(labels, noise=noise) * 7 + 3
    return LabelledVectors(vectors, labels, np.broadcast_to(slides, labels.shape).astype(np.int64), classes)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_kinds_that_differ_are_learnt_and_probabilities_are_good(classes: int) -> None:
    data = labelled(np.arange(120) % classes, np.arange(120) // 30)
    head, report = train(data, ORIGIN, "kinds", {"b": "#123456"})
    assert (head.probabilities(data.vectors).argmax(axis=1) == data.labels).all()
    assert head.weights.shape == (classes, 16)
    assert head.weights.dtype == head.bias.dtype == np.float32
    assert head.colours[1] == "#123456"
    assert len(set(head.colours)) == classes
    assert report.accuracy == report.auc == 1
    assert report.confusion.tolist() == np.diag(np.bincount(data.labels)).tolist()
    assert report.split == "4 folds, split by slide"
    assert report.remarks == ()


def test_two_classes_have_the_probabilities_of_plain_logistic_regression() -> None:
    data = labelled(np.arange(60) % 2, noise=1.5)
    head, _ = train(data, ORIGIN, "two", {})
    assert np.allclose(head.weights[0], -head.weights[1])
    logits = (data.vectors @ (head.weights[1] - head.weights[0])) + head.bias[1] - head.bias[0]
    assert np.allclose(head.probabilities(data.vectors)[:, 1], 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_the_same_seed_gives_the_same_head_and_the_same_figures() -> None:
    data = labelled(np.arange(90) % 3, np.arange(90) % 7, noise=1.5)
    (one, first), (other, second) = (train(data, ORIGIN, "h", {}, seed=3) for _ in range(2))
    assert (one.weights == other.weights).all()
    assert first.as_json() == second.as_json()


def test_what_only_tells_slides_apart_is_not_taken_for_knowledge() -> None:
    # Each slide has a stain of its own and, nearly, one class: within slides nothing tells classes apart.
    slides = np.repeat(np.arange(10), 20)
    labels = slides % 2
    labels[::20] = 1 - labels[::20]
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(10, 16))[slides] * 5 + random.normal(size=(200, 16))).astype(np.float32)
    data = LabelledVectors(vectors, labels, slides, ("a", "b"))
    _, by_slide = train(data, ORIGIN, "h", {})
    _, by_patch = train(
        LabelledVectors(vectors, labels, np.zeros(200, np.int64), ("a", "b")), ORIGIN, "h", {}
    )
    assert "split by slide" in by_slide.split
    assert by_patch.accuracy > 0.9
    assert by_slide.accuracy < 0.75


@pytest.mark.parametrize(
    ("slides", "why"),
    [(np.zeros(40), "All patches are of one slide"), (np.arange(40) % 2, "A class is labelled")],
)
def test_a_split_that_cannot_be_by_slide_says_so(slides: np.ndarray, why: str) -> None:
    _, report = train(labelled(np.arange(40) % 2, slides), ORIGIN, "h", {})
    assert report.split == "5 folds, split by patch"
    (remark,) = report.remarks
    assert remark.startswith(why)


def test_a_fold_that_trains_on_one_class_only_is_counted_and_not_a_crash() -> None:
    labels, slides = np.array([0, 1, 0, 0, 0, 1]), np.array([0, 0, 1, 1, 2, 2])
    _, report = train(labelled(labels, slides), ORIGIN, "h", {})
    assert report.confusion.sum() == 6
    assert np.isfinite([report.accuracy, report.auc, report.ece]).all()


def test_a_feature_that_never_changes_is_no_obstacle() -> None:
    data = labelled(np.arange(40) % 2)
    data.vectors[:, 4] = 1.0
    head, report = train(data, ORIGIN, "h", {})
    assert np.isfinite(head.weights).all()
    assert report.accuracy == 1


@pytest.mark.parametrize(
    ("labels", "says"),
    [(np.zeros(9, np.int64), "1 class only"), (np.array([0, 0, 0, 1]), 'class "b" has one labelled patch')],
)
def test_too_few_labels_are_an_error_in_words(labels: np.ndarray, says: str) -> None:
    with pytest.raises(HeadError, match=says):
        train(labelled(labels), ORIGIN, "h", {})


def test_the_calibration_error_is_the_gap_between_confidence_and_truth() -> None:
    probabilities = np.array([[0.85, 0.15]] * 100)
    labels = np.array([0] * 60 + [1] * 40)
    assert calibration_error(labels, probabilities) == pytest.approx(0.25)
    assert calibration_error(np.zeros(3, np.int64), np.array([[1.0, 0.0]] * 3)) == 0


def test_a_report_is_read_by_a_person() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    report = held_out(
        np.array([0, 1, 1, 1]), probabilities, ("tumour", "a"), "2 folds, split by slide", ("Note.",)
    )
    assert report.text().splitlines() == [
        "On 4 held-out patches (2 folds, split by slide):",
        "  accuracy 0.750, balanced 0.833; AUC 1.000; calibration error 0.300",
        "  patches by their class (rows) and the predicted one (columns):",
        "            tumour       a",
        "  tumour         1       0",
        "  a              1       2",
        "Note.",
    ]
