"""The faults of the vendor's example endpoint, by name: none of them has a counterpart here."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.webhooks.analyses.heatmap import HeatMap, heat_map
from serving.webhooks.analyses.patches import Patches
from serving.webhooks.analyses.regions import rectangle
from serving.webhooks.slidescore.results import Builder, InvalidResult
from tests.support.slidescore import Answer, Behaviour, Request, SlideScore, clicked, rect
from tests.support.slidescore_app import SECRET, Analyses
from tests.support.webhook_app import BODY_LIMIT

ROI = rect(1000, 1000, 1500, 1500)
EXEMPLAR = rect(1000, 1000, 448, 448)


@pytest.fixture
def analyses(tmp_path: Path) -> Iterator[Analyses]:
    with Analyses(tmp_path) as analyses:
        yield analyses


def test_1_a_body_that_is_too_large_gets_one_response_and_is_not_processed(analyses: Analyses) -> None:
    body = json.dumps(clicked(analyses.server, SECRET, {"ROI": ROI}, casename="x" * BODY_LIMIT)).encode()
    head = f"POST /slidescore/cluster HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    port = int(analyses.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.settimeout(10)
        sock.sendall(head + body[:1000])
        received = b""
        while data := sock.recv(65536):
            received += data
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith(b"HTTP/1.1 413 ")
    assert analyses.engine.rows() == []
    assert analyses.server.requests == []


def test_2_nothing_is_answered_before_uploads_are_done(analyses: Analyses) -> None:
    seen: list[str] = []

    def ask(request: Request) -> Answer | None:
        if request.method == "PATCH":
            (row,) = analyses.engine.rows()
            seen.append(str(analyses.status(row.id).json()))
        return None

    analyses.server.behaviour = Behaviour(override=ask)
    output = analyses.output("similar", {"ROI": ROI, "Exemplar": EXEMPLAR})
    assert any(result["type"] == "anno2" for result in output)
    assert seen
    assert not any("output" in status for status in seen)


def test_3_a_failure_does_not_print_the_token(analyses: Analyses, capfd: pytest.CaptureFixture[str]) -> None:
    token = analyses.server.new_token()
    analyses.server.behaviour = Behaviour(override=lambda r: (500, {}, token.encode()) if r.is_tile else None)
    answer = analyses.ended(analyses.click("cluster", {"ROI": ROI}, apitoken=token))
    assert answer["status"] == "error"
    printed = capfd.readouterr()
    assert token not in printed.out + printed.err + analyses.log() + json.dumps(answer)


def test_4_the_token_is_given_up_after_a_failure_too(analyses: Analyses) -> None:
    token = analyses.server.new_token()
    analyses.server.behaviour = Behaviour(override=lambda r: (500, {}, b"") if r.is_tile else None)
    analyses.ended(analyses.click("cluster", {"ROI": ROI}, apitoken=token))
    assert analyses.server.given_up == {token: 1}


def test_5_the_token_is_not_sent_to_whatever_host_a_body_names(analyses: Analyses) -> None:
    with SlideScore() as elsewhere:
        answer = analyses.click("cluster", {"ROI": ROI}, host=elsewhere.origin)
        assert answer.status_code == 403
        assert elsewhere.requests == []


def test_6_a_cell_of_a_heat_map_is_as_large_as_a_patch_and_an_empty_one_does_not_crash() -> None:
    patches = Patches(np.array([[128 + 16 * x, 32 + 16 * y] for y in range(4) for x in range(4)]), 16)
    heat = heat_map(patches, np.linspace(0, 1, 16, dtype=np.float32))
    assert (heat.x, heat.y, heat.height) == (128, 32, 64)
    builder = Builder(rectangle(0, 0, 1000, 1000))
    assert builder.checked(heat).size == 16 == round(heat.height / len(heat.values))
    for shape in ((0, 0), (0, 4), (4, 0)):
        with pytest.raises(InvalidResult, match="empty"):
            builder.checked(HeatMap(0, 0, 16, np.zeros(shape, np.uint8)))


def test_7_the_image_is_asked_for_by_its_own_number_and_the_case_is_not_kept(analyses: Analyses) -> None:
    analyses.output("cluster", {"ROI": ROI}, caseid=987654)
    asked = {r.fields["imageid"] for r in analyses.server.requests if "imageid" in r.fields}
    assert asked == {"1"}
    assert all(b"987654" not in row.payload for row in analyses.engine.rows())
