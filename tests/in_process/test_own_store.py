"""A ``series_path`` of the service's own store is read from its files: the same vectors, the same rights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from serving.config.settings import load_settings
from serving.store.access.audit import Event
from serving.store.access.roles import Permission, Role
from serving.store.predict.http import context_with_store
from tests.support.app import App, AppResponse
from tests.support.asking import CORNERS, code_of, predictions
from tests.support.predicting import vectors
from tests.support.slide_store import ServedStore
from tests.support.slides import CODINGS, Slide, pyramid
from tests.support.store import Store

KEPT = sorted(name for name in CODINGS if name != "deflated")


class Own:
    """A store, the service that reads its files, and one that asks it by HTTP."""

    def __init__(self, folder: Path) -> None:
        self.store = ServedStore(folder)
        self.slides = {name: pyramid(name, [(1000, 700)]) for name in KEPT}
        profile = target_profile(IccTarget.ADOBERGB)
        self.coloured = pyramid("JPEG", [(1000, 700), (500, 350)], ICCProfile=profile)
        self.parts = Slide()
        self.parts.add_level(self.slides["JPEG"].instances[0].truth, CODINGS["JPEG"], parts=3)
        for slide in (*self.slides.values(), self.coloured, self.parts):
            self.store.add_slide(slide)

    def ask(
        self, slide: Slide, token: str | None, uids: list[str] | None = None, **extensions: Any
    ) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "dicom_path": {
                "series_path": self.store.series_path(slide),
                "instance_uids": uids or [slide.instances[0].uid],
            },
            "patch_coordinates": [
                {"x_origin": x, "y_origin": y, "width": 224, "height": 224} for x, y in CORNERS
            ],
            "extensions": extensions,
        }
        return asked if token is None else asked | {"bearer_token": token}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    own = Own(tmp_path_factory.mktemp("store"))
    with own.store:
        yield own


@pytest.fixture(scope="module")
def by_http() -> Iterator[App]:
    with App() as app:
        yield app


@pytest.fixture(scope="module")
def by_files(own: Own) -> Iterator[App]:
    settings = {
        "PATHSERVE_STORE_DIR": str(own.store.parts.folder),
        "PATHSERVE_STORE_URL": own.store.url,
        "PATHSERVE_STORE_MIN_FREE_BYTES": 0,
        "PATHSERVE_VIEW": "1",
    }
    app = App(settings)
    app.context = context_with_store(load_settings(settings, {}))
    with app:
        yield app


def embed(app: App, asked: dict[str, Any]) -> np.ndarray:
    (prediction,) = predictions(app, asked)
    assert "result" in prediction, prediction
    return vectors(prediction)


@pytest.mark.parametrize("name", KEPT)
def test_every_coding_gives_the_vectors_that_http_gives(
    own: Own, by_http: App, by_files: App, name: str
) -> None:
    asked = own.ask(own.slides[name], own.store.token())
    np.testing.assert_array_equal(embed(by_files, asked), embed(by_http, asked))


@pytest.mark.parametrize("target", ["SRGB", "NONE"])
def test_the_profile_in_the_file_is_found(own: Own, by_http: App, by_files: App, target: str) -> None:
    asked = own.ask(own.coloured, own.store.token(), transform_imaging_to_icc_profile=target)
    found = embed(by_files, asked)
    np.testing.assert_array_equal(found, embed(by_http, asked))


def test_parts_of_a_concatenation_are_one_level(own: Own, by_http: App, by_files: App) -> None:
    asked = own.ask(own.parts, own.store.token())
    np.testing.assert_array_equal(embed(by_files, asked), embed(by_http, asked))


def test_colours_differ_with_the_profile(own: Own, by_files: App) -> None:
    token = own.store.token()
    stored = embed(by_files, own.ask(own.coloured, token, transform_imaging_to_icc_profile="NONE"))
    changed = embed(by_files, own.ask(own.coloured, token, transform_imaging_to_icc_profile="SRGB"))
    assert np.abs(stored - changed).max() > 0.001


def test_a_token_that_may_not_read_is_refused_and_what_it_does_not_hold_for_is_not_there(
    own: Own, by_files: App
) -> None:
    slide, other = own.slides["JPEG"], own.slides["explicit"]
    refused = [None, "unknown", own.store.token(lasts_s=-1), own.store.token(role=Role.WRITE)]
    for token in refused:
        assert code_of(by_files, own.ask(slide, token)) == "INVALID_CREDENTIALS_ERROR"
    scoped = own.store.token(Permission(frozenset({other.study})))
    assert code_of(by_files, own.ask(slide, scoped)) == "DICOM_PATH_ERROR"
    embed(by_files, own.ask(other, scoped))
    secret, row = own.store.parts.tokens.make("test", [Role.READ])
    embed(by_files, own.ask(slide, secret.get_secret_value()))
    own.store.parts.tokens.revoke(row.id)
    assert code_of(by_files, own.ask(slide, secret.get_secret_value())) == "INVALID_CREDENTIALS_ERROR"


def test_what_the_store_does_not_have_has_the_codes_of_any_store(
    own: Own, by_http: App, by_files: App
) -> None:
    token = own.store.token()
    for asked in (
        own.ask(pyramid(), token),
        own.ask(own.slides["JPEG"], token, [own.slides["explicit"].instances[0].uid]),
    ):
        assert code_of(by_files, asked) == code_of(by_http, asked)


def test_each_reading_and_each_refusal_is_in_the_audit_trail_without_the_token(
    own: Own, by_files: App
) -> None:
    slide, token = own.slides["JPEG"], own.store.token()
    before = len(list(own.store.parts.audit.rows()))
    embed(by_files, own.ask(slide, token))
    code_of(by_files, own.ask(slide, "unknown"))
    rows = list(own.store.parts.audit.rows())[before:]
    assert [(row["uids"], row["outcome"]) for row in rows] == [
        ([slide.study, slide.series], "success"),
        ([], "refused"),
    ]
    for path in own.store.parts.audit.files():
        assert token not in path.read_text()


def listed(app: App, token: str | None) -> AppResponse:
    return app.get("/view/series", headers={} if token is None else {"X-Store-Token": token})


def test_the_page_lists_the_series_of_a_token_s_studies_and_opens_one_from_its_files(
    own: Own, by_files: App
) -> None:
    slide = own.slides["JPEG"]
    assert by_files.get("/view/slides").json()["has_store"] is True
    addresses = [one["series"] for one in listed(by_files, own.store.token()).json()["series"]]
    assert len(addresses) == len(KEPT) + 2
    token = own.store.token(Permission(frozenset({slide.study})))
    found = listed(by_files, token).json()
    assert found["remaining"] == 0
    assert [one["series"] for one in found["series"]] == [own.store.series_path(slide)]
    assert found["series"][0]["name"].endswith(slide.series)
    headers = {"X-Store-Token": token}
    opened = by_files.post("/view/open", {"series": found["series"][0]["series"]}, headers=headers)
    assert opened.json()["width"] == 1000
    tile = f"/view/slides/{opened.json()['slide']}/tiles/0/1_1.jpg"
    assert by_files.get(tile, headers=headers).headers["Content-Type"] == "image/jpeg"
    other = own.store.token(Permission(frozenset({own.slides["explicit"].study})))
    for refused in ({}, {"X-Store-Token": other}):
        assert by_files.get(tile, headers=refused).status_code == 422


def test_the_list_is_for_tokens_that_may_read_and_is_in_the_audit_trail(own: Own, by_files: App) -> None:
    before = len(list(own.store.parts.audit.rows()))
    token = own.store.token()
    listed(by_files, token)
    for refused in (None, "unknown", own.store.token(lasts_s=-1), own.store.token(role=Role.WRITE)):
        answer = listed(by_files, refused)
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "INVALID_CREDENTIALS_ERROR"
    rows = list(own.store.parts.audit.rows())[before:]
    assert [row["outcome"] for row in rows] == ["success"] + ["refused"] * 4
    assert rows[0]["event"] == Event.QUERY
    assert token not in by_files.log()


def test_without_a_store_of_its_own_there_is_nothing_to_list() -> None:
    with App({"PATHSERVE_VIEW": "1"}) as app:
        assert app.get("/view/slides").json()["has_store"] is False
        assert listed(app, "any").status_code == 404


def test_other_stores_are_still_asked_by_http(own: Own, by_files: App) -> None:
    slide = own.slides["explicit"]
    with Store(slide) as other:
        asked = own.ask(slide, None)
        asked["dicom_path"]["series_path"] = other.series_path(slide)
        embed(by_files, asked)


def test_nothing_is_asked_by_http_of_a_store_that_is_not_there_any_more(
    own: Own, by_files: App, tmp_path: Path
) -> None:
    """Last, as it takes the store's server away: its files stay."""
    asked = own.ask(own.slides["JPEG"], own.store.token())
    own.store.front.end()
    embed(by_files, asked)
