"""How far an archive is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from serving.archive import layout
from serving.archive.plans import MOST_HEAD, SlidePlan, to_bytes
from serving.archive.status import StatusReader
from serving.archive.stores.folder import FolderStore
from tests.unit.serving.archive.test_plans import HEAD


def test_a_huge_slide_whose_plan_begins_with_a_long_line_is_counted(tmp_path: Path) -> None:
    store = FolderStore(str(tmp_path))
    bands = tuple((number,) for number in range(20_000))
    head = dataclasses.replace(HEAD, patches=7, blocks=len(bands), bands=bands)
    data = to_bytes(SlidePlan(head, ((),) * len(bands)))
    assert data.index(b"\n") > MOST_HEAD
    store.add(layout.plan_of("huge"), data)
    assert StatusReader(store).read().patches == 7
