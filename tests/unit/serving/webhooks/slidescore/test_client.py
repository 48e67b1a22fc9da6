"""The client against a server with real sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dicom_io.errors import ImageCode, ImageError
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from dicom_io.web.urls import parse_url
from serving.webhooks.slidescore import upload
from serving.webhooks.slidescore.client import SlideFacts, SlideScoreClient
from serving.webhooks.slidescore.servers import REQUESTS_AT_A_TIME, slide_score
from serving.webhooks.transport import Transport, Unreached
from tests.support.raw_server import RawServer, ok, says
from tests.support.slidescore import Answer, Behaviour, Request, SlideScore
from tests.support.tiled_slide import StoredSlide


@pytest.fixture
def server() -> Iterator[SlideScore]:
    with SlideScore() as server:
        yield server


def connect(origin: str, token: str, *, seconds: float = 20.0, piece_s: float = 10.0) -> SlideScoreClient:
    transport = Transport(slide_score(parse_url(origin)), piece_s)
    return SlideScoreClient(transport, BearerToken(token), 1, Cancellation(time.monotonic() + seconds))


def overriding(when: Callable[[Request], bool], answer: Answer) -> Behaviour:
    return Behaviour(override=lambda request: answer if when(request) else None)


@pytest.mark.parametrize("behaviour", [Behaviour(), Behaviour(pascal=True), Behaviour(nested=False)])
def test_metadata_is_read_in_either_case_and_nested_or_not(behaviour: Behaviour) -> None:
    with SlideScore(behaviour=behaviour) as server:
        client = connect(server.origin, server.new_token())
        assert client.facts() == SlideFacts(8000, 6000, 0.25)
        assert (client.grid().side, client.grid().overlap) == (254, 1)


@pytest.mark.parametrize("mpp", [None, 0, -0.25, float("inf"), "0.25", True])
def test_a_slide_without_the_size_of_its_pixels_is_refused(mpp: object) -> None:
    body = json.dumps(
        {"success": True, "metadata": {"level0Width": 9, "level0Height": 9, "mppX": mpp, "mppY": mpp}}
    )
    behaviour = overriding(
        lambda r: "Metadata" in r.path, (200, {}, body.encode().replace(b"Infinity", b"1e999"))
    )
    with SlideScore(behaviour=behaviour) as server, pytest.raises(ImageError):
        connect(server.origin, server.new_token()).facts()


def test_pixels_that_are_not_square_are_refused(server: SlideScore) -> None:
    facts = {"level0Width": 9, "level0Height": 9, "mppX": 0.25, "mppY": 0.5}
    server.behaviour = overriding(lambda r: True, (200, {}, json.dumps({"metadata": facts}).encode()))
    with pytest.raises(ImageError, match="not square"):
        connect(server.origin, server.new_token()).facts()


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"[]", b'{"success": false, "log": "no"}', b'{"metadata": {}}', b'{"metadata": 3}'],
)
def test_metadata_that_is_none_is_an_error_with_a_sentence(server: SlideScore, answer: bytes) -> None:
    server.behaviour = overriding(lambda r: True, (200, {}, answer))
    with pytest.raises(ImageError, match="Slide Score"):
        connect(server.origin, server.new_token()).facts()


def test_the_token_goes_in_its_header_and_tiles_get_only_the_cookie(server: SlideScore) -> None:
    token = server.new_token()
    client = connect(server.origin, token)
    client.facts()
    client.tile(13, 0, 0)
    assert all(token not in request.path and token not in str(request.fields) for request in server.requests)
    (tile,) = server.tile_requests()
    assert tile.token is None
    assert tile.headers["cookie"].startswith("t=")


@pytest.mark.parametrize("status", [503, 401])
def test_a_cookie_that_has_expired_is_renewed_once_for_all_threads(status: int) -> None:
    with SlideScore(behaviour=Behaviour(cookie_uses=10, expired=status)) as server:
        client = connect(server.origin, server.new_token())
        places = [(column, row) for row in range(5) for column in range(5)]
        with ThreadPoolExecutor(4) as pool:
            tiles = list(pool.map(lambda place: client.tile(13, *place), places))
        assert all(tiles)
        renewals = sum(request.path.endswith("GetTileServer") for request in server.requests)
        assert 3 <= renewals <= 6


@pytest.mark.parametrize("status", [503, 401])
def test_a_tile_that_is_refused_with_a_new_cookie_too_is_an_error(server: SlideScore, status: int) -> None:
    server.behaviour = overriding(lambda r: r.is_tile, (status, {}, b""))
    with pytest.raises(ImageError, match=str(status)):
        connect(server.origin, server.new_token()).tile(13, 0, 0)
    assert len(server.tile_requests()) == 2


def test_an_empty_tile_is_an_error(server: SlideScore) -> None:
    server.behaviour = overriding(lambda r: r.is_tile, (200, {}, b""))
    with pytest.raises(ImageError, match="empty tile"):
        connect(server.origin, server.new_token()).tile(13, 0, 0)


def test_a_busy_server_is_asked_again(server: SlideScore) -> None:
    answers: list[Answer] = [(429, {}, b""), (502, {}, b"")]
    server.behaviour = Behaviour(override=lambda r: answers.pop() if r.is_tile and answers else None)
    assert connect(server.origin, server.new_token()).tile(13, 0, 0)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(server: SlideScore, status: int) -> None:
    with SlideScore() as elsewhere:
        there = {"Location": f"{elsewhere.origin}/Api/GetImageMetadata?imageid=1"}
        server.behaviour = overriding(lambda r: True, (status, there, b""))
        with pytest.raises(ImageError, match=str(status)):
            connect(server.origin, server.new_token()).facts()
        assert elsewhere.requests == []


def test_more_than_the_bound_is_not_read(server: SlideScore) -> None:
    server.behaviour = overriding(lambda r: True, (200, {}, b" " * (2 << 20)))
    with pytest.raises(ImageError, match="more than"):
        connect(server.origin, server.new_token()).facts()


def test_an_answer_that_never_ends_is_given_up_at_the_deadline() -> None:
    with RawServer(says(b"")) as server:
        server.answer = server.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" ")
        with pytest.raises(ImageError, match="in time"):
            connect(server.origin, "token", seconds=1.0).facts()


def test_the_end_of_a_job_ends_what_it_waits_for() -> None:
    with RawServer(says(b"")) as server:
        server.answer = server.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" ")
        waits = Cancellation(time.monotonic() + 100)
        client = SlideScoreClient(
            Transport(slide_score(parse_url(server.origin)), 50), BearerToken("token"), 1, waits
        )
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(client.facts)
            while not server.requests:
                time.sleep(0.01)
            waits.cancel()
            with pytest.raises(ImageError):
                asked.result(30)


def test_no_more_than_six_requests_at_a_time_are_sent(server: SlideScore) -> None:
    transport = Transport(slide_score(parse_url(server.origin)), 10)
    waits = Cancellation(time.monotonic() + 60)
    clients = [SlideScoreClient(transport, BearerToken(server.new_token()), 1, waits) for _ in range(3)]
    with ThreadPoolExecutor(24) as pool:
        places = [(c, column, row) for c in clients for column in range(6) for row in range(5)]
        assert all(pool.map(lambda place: place[0].tile(13, place[1], place[2]), places))
    assert 1 < server.most_at_a_time <= REQUESTS_AT_A_TIME


def test_an_upload_arrives_whole(server: SlideScore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "UPLOAD_PIECE", 1000)
    data = bytes(range(256)) * 17
    uuid = connect(server.origin, server.new_token()).upload_anno2(data)
    assert server.anno2 == {uuid: data}


@pytest.mark.parametrize(
    ("part", "answer"),
    [
        ("CreateOrphanAnno2", (500, {}, b"")),
        ("CreateOrphanAnno2", (200, {}, b'{"success": false}')),
        ("CreateOrphanAnno2", (200, {}, b"{}")),
        ("/files/", (201, {}, b"")),
        ("/files/", (201, {"Location": "https://elsewhere.example/files/1"}, b"")),
        ("/files/", (201, {"Location": "/Api/GiveUpToken/../../x"}, b"")),
        ("/files/", (201, {"Location": "//elsewhere.example/files/1"}, b"")),
        ("/files/", (413, {}, b"")),
        ("FinishUpload", (200, {}, b'"no"')),
    ],
)
def test_an_upload_that_is_not_taken_is_an_error(server: SlideScore, part: str, answer: Answer) -> None:
    server.behaviour = overriding(lambda r: part in r.path and r.method == "POST", answer)
    with pytest.raises(ImageError, match="Slide Score"):
        connect(server.origin, server.new_token()).upload_anno2(b"data")
    assert server.anno2 == {}


def test_an_upload_that_is_cut_short_is_an_error(server: SlideScore) -> None:
    cut = (204, {"Upload-Offset": "2"}, b"")
    server.behaviour = overriding(lambda r: r.method == "PATCH", cut)
    with pytest.raises(ImageError, match="a part"):
        connect(server.origin, server.new_token()).upload_anno2(b"data")


def test_a_token_is_given_up_once_and_does_not_work_then(server: SlideScore) -> None:
    token = server.new_token()
    client = connect(server.origin, token)
    assert client.token_works()
    client.give_up_token(time.monotonic() + 10)
    assert server.given_up == {token: 1}
    assert not client.token_works()


@pytest.mark.parametrize("status", [200, 400, 404])
def test_a_token_works_also_where_there_is_no_such_slide(status: int) -> None:
    answer: Answer = (status, {}, b'{"success": false}')
    with SlideScore(behaviour=overriding(lambda r: "Metadata" in r.path, answer)) as server:
        assert connect(server.origin, server.new_token()).token_works()


def test_whether_a_token_works_is_not_guessed_from_a_server_in_trouble() -> None:
    behaviour = overriding(lambda r: "Metadata" in r.path, (500, {}, b""))
    with SlideScore(behaviour=behaviour) as server, pytest.raises(ImageError):
        connect(server.origin, server.new_token()).token_works()


def test_giving_up_is_not_repeated_when_its_answer_is_lost() -> None:
    with RawServer(lambda sock, _: sock.close()) as server:
        with pytest.raises(ImageError):
            connect(server.origin, "token").give_up_token(time.monotonic() + 5)
        assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_an_error_of_its_own() -> None:
    with RawServer(says(ok(b""))) as server:
        origin = server.origin
    with pytest.raises(Unreached, match="could not be reached"):
        connect(origin, "token", seconds=1.0).facts()


@pytest.mark.parametrize("part", ["../x", "a/../b", "", "a b", "a\r\nX: y", "a?b", 3])
def test_a_place_of_tiles_that_leads_elsewhere_is_refused(server: SlideScore, part: object) -> None:
    answer = json.dumps({"urlPart": part, "cookiePart": "c"}).encode()
    server.behaviour = overriding(lambda r: "GetTileServer" in r.path, (200, {}, answer))
    with pytest.raises(ImageError, match="where its tiles are"):
        connect(server.origin, server.new_token()).tile(13, 0, 0)


@pytest.mark.parametrize("cookie", ["", "a;b", "a\r\nb", "a b", None])
def test_a_cookie_that_would_be_more_than_one_is_refused(server: SlideScore, cookie: object) -> None:
    answer = json.dumps({"urlPart": "p", "cookiePart": cookie}).encode()
    server.behaviour = overriding(lambda r: "GetTileServer" in r.path, (200, {}, answer))
    with pytest.raises(ImageError, match="cookie"):
        connect(server.origin, server.new_token()).tile(13, 0, 0)


def test_a_token_does_not_print(server: SlideScore) -> None:
    token = server.new_token()
    client = connect(server.origin, token)
    server.tokens.clear()
    with pytest.raises(ImageError) as caught:
        client.facts()
    assert caught.value.code is ImageCode.INVALID_CREDENTIALS_ERROR
    assert token not in repr(caught.value) + repr(client) + repr(vars(client)) + str(caught.value.fault)


def test_the_stand_in_gives_tiles_of_a_slide_of_any_size() -> None:
    slide = StoredSlide(200_000, 100_000)
    assert slide.tile(slide.highest, 787, 393)
    assert slide.tile(slide.highest, 788, 0) is None
    assert slide.tile(0, 0, 0)
