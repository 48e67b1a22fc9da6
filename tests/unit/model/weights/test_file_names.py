"""Which names of objects may be a model's files."""

from __future__ import annotations

import pytest
from google.cloud import storage

from model.encoder import ModelError
from model.weights.file_names import MAX_FILES, require_file_names
from model.weights.locate import fetch_model

MODEL = ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]


def test_a_models_files_pass() -> None:
    require_file_names([*MODEL, "assets/Zellen \u00fc.txt", "keras_metadata.pb"], "gs://b/m")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a\0b", "not a valid file name"),
        ("a\nb", "not a valid file name"),
        ("a\udcffb", "not a valid file name"),
        ("variables\\x", "not a valid file name"),
        ("../x", "dot segment"),
        ("variables/./x", "dot segment"),
        ("variables//x", "empty or a dot segment"),
        ("/etc/passwd", "empty or a dot segment"),
        ("variables/", "empty or a dot segment"),
        ("", "empty or a dot segment"),
        ("x" * 256, "too long"),
        ("/".join(["\u00fc" * 100] * 6), "too long"),
        ("SAVED_model.pb", "upper and lower case"),
        ("saved_model.pb/x", "as a file and as a folder"),
        ("Variables", "as a file and as a folder"),
    ],
)
def test_a_name_that_is_no_files_is_said_to_be_none(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        require_file_names([*MODEL, name], "gs://b/m")
    assert str(caught.value).isprintable()


def test_what_is_no_model_is_said_to_be_none() -> None:
    with pytest.raises(ModelError, match=r"no saved_model\.pb"):
        require_file_names(["model/saved_model.pb"], "gs://b")
    with pytest.raises(ModelError, match=f"more than {MAX_FILES} files"):
        require_file_names([*MODEL, *map(str, range(MAX_FILES))], "gs://b")


@pytest.mark.parametrize(
    "spec",
    [
        "gs://b\0/m",
        "gs://bucket/m\udcff",
        "gs://bucket/m\n",
        "gs://bucket/../m",
        "gs://bucket//m",
        "gs://bucket/a//b",
        "gs:///m",
        "gs://UP/m",
        "hf://org/name@re vision",
        "hf://org/name/../other",
        "file:///model",
        "x" * 300,
        "a\0b",
        "\udcff",
    ],
)
def test_an_address_that_is_none_is_refused_with_one_sentence(spec: str) -> None:
    def connect() -> storage.Client:
        raise AssertionError("nobody is asked about it")

    with pytest.raises(ModelError, match=r"address|folder|cannot be read") as caught:
        fetch_model(spec, None, connect)
    assert "\n" not in str(caught.value)


def test_without_a_client_models_in_cloud_storage_are_refused() -> None:
    with pytest.raises(ModelError, match="no client for Cloud Storage"):
        fetch_model("gs://bucket/model", None)
