"""A few thousand mutations of everything; ``make fuzz`` does the hundred thousands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import ModelFolders
from tests.fuzz.campaign import ENVIRONMENT, Campaign
from tests.support.service import Service
from tests.support.slides import pyramid
from tests.support.store import Store


@pytest.fixture(scope="module")
def service(model_folders: ModelFolders) -> Iterator[Service]:
    with Service(ENVIRONMENT | {"PATHSERVE_MODEL": model_folders["probe"]}) as running:
        yield running.wait_healthy()
        assert "Traceback" not in running.log()


def test_mutated_requests_harm_nothing(service: Service) -> None:
    campaign = Campaign(service, seed=1)
    campaign.require_true()
    campaign.requests(1500)
    assert len(campaign.outcomes) > 8, campaign.outcomes
    assert campaign.outcomes["ok"] > 500


def test_mutated_images_harm_nothing(service: Service) -> None:
    campaign = Campaign(service, seed=2)
    campaign.images(1500)
    assert campaign.outcomes["IMAGE_ERROR"] > 300, campaign.outcomes


@pytest.mark.parametrize("coding", ["JPEG", "JPEG 2000 lossless", "planar"])
def test_a_hostile_store_harms_nothing(service: Service, coding: str) -> None:
    campaign = Campaign(service, seed=3)
    slide = pyramid(coding, [(400, 300)])
    with Store(slide) as store:
        campaign.frames(120, store, slide)
    assert campaign.outcomes["DICOM_ERROR"] > 10, campaign.outcomes
