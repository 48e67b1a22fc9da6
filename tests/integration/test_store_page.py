"""The slide store's page in a real browser: by hand, by keyboard, read aloud, dark, on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.store.access.roles import Role
from tests.support.browser import Chromium, OpenPage
from tests.support.slide_store import ServedStore
from tests.support.slides import pyramid
from tests.support.store_service import shareable

VIEW = "https://embed.example.org/view"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedStore]:
    """A store with two slides, one of whose texts is hostile."""
    with ServedStore(tmp_path_factory.mktemp("store"), {"PATHSERVE_STORE_VIEW_URL": VIEW}) as store:
        store.add_slide(shareable(sizes=((700, 500), (350, 250))))
        store.add_slide(pyramid("JPEG", [(300, 200)], Manufacturer=HOSTILE, PatientID="ANOTHER"))
        yield store


def entered(chromium: Chromium, store: ServedStore, role: Role = Role.ADMIN, **options: object) -> OpenPage:
    """Open the page, and enter a token as people without a mouse do."""
    page = chromium.look(store.url.replace("/dicomweb", "/store"), **options)  # type: ignore[arg-type]
    page.page.fill("#token", store.token(role=role))
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#places a")
    return page


def go(page: OpenPage, place: str, title: str) -> None:
    page.page.click(f"#places a[href='#/{place}']")
    page.page.wait_for_selector(f"h2:text-is('{title}')")


def close(page: OpenPage) -> None:
    complaints = page.seen.complaints
    page.close()
    assert complaints == []


def test_from_a_study_to_the_attributes_of_a_level_and_back(chromium: Chromium, store: ServedStore) -> None:
    page = entered(chromium, store)
    page.page.wait_for_selector("canvas[data-drawn]")
    page.page.click("td a")
    page.page.wait_for_selector("h2:text-is('Series of the study')")
    link = page.page.get_attribute("td a[target]", "href") or ""
    assert link.startswith(f"{VIEW}#series=http")
    page.page.click("td a")
    page.page.wait_for_selector("h2:text-is('Levels of the slide')")
    assert page.page.locator("tbody tr").count() == 2
    assert page.text("tbody tr td:nth-child(4)").split()[::2] == ["700", "500"]
    page.page.click("td a")
    page.page.wait_for_selector("h2:text-is('Attributes of the instance')")
    page.page.fill("#filter-attributes", "total pixel matrix columns")
    assert page.page.locator("tbody tr").count() == 1
    assert "700" in page.text("tbody")
    page.page.click("text=All studies")
    page.page.wait_for_selector("h2:text-is('Studies')")
    close(page)


def test_tables_are_filtered_as_you_type_and_sorted_by_their_heads(
    chromium: Chromium, store: ServedStore
) -> None:
    page = entered(chromium, store)
    page.page.wait_for_selector("tbody tr")
    page.page.type("#filter-studies", "another")
    assert page.page.locator("tbody tr").count() == 1
    page.page.fill("#filter-studies", "")

    def instances() -> list[str]:
        return page.page.locator("tbody tr td:last-child").all_inner_texts()

    head = page.page.locator("th", has_text="Instances")
    head.locator("button").focus()
    page.page.keyboard.press("Enter")
    assert (instances(), head.get_attribute("aria-sort")) == (["1", "2"], "ascending")
    page.page.keyboard.press("Enter")
    assert (instances(), head.get_attribute("aria-sort")) == (["2", "1"], "descending")
    close(page)


def test_what_a_slide_says_is_text_and_the_token_is_kept_nowhere(
    chromium: Chromium, store: ServedStore
) -> None:
    page = entered(chromium, store)
    go(page, "list", "All series")
    assert HOSTILE in page.text("tbody")
    assert page.page.locator("tbody img").count() == 0
    kept = page.page.evaluate("() => [localStorage.length, sessionStorage.length, document.cookie]")
    assert kept == [0, 0, ""]
    assert all("pss_" not in request.url for request in page.seen.requests)
    origin = store.url.removesuffix("/dicomweb")
    assert all(request.url.startswith(origin) for request in page.seen.requests)
    page.page.reload()
    assert page.page.locator("#enter").is_visible()
    close(page)


def test_files_are_stored_and_what_is_refused_is_said(
    chromium: Chromium, store: ServedStore, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.dcm", tmp_path / "bad.dcm"
    good.write_bytes(shareable(sizes=((64, 48),)).instances[0].file())
    bad.write_bytes(pyramid("JPEG", [(64, 48)]).instances[0].file())  # does not say that nothing is burned in
    page = entered(chromium, store)
    go(page, "upload", "Upload")
    page.page.set_input_files("#files", [good, bad])
    page.page.click("#place form button")
    page.wait(lambda: page.page.locator("#place li").count() == 2, "both files")
    refused, stored = page.page.locator("#place li").all_inner_texts()
    assert stored.endswith(": stored")
    assert ": refused: " in refused
    go(page, "imports", "Import log")
    assert page.page.locator("tbody tr").count() >= 2
    page.seen.complaints.clear()  # of the refusal's status, 409
    close(page)


def test_a_share_is_made_used_and_ended(chromium: Chromium, store: ServedStore) -> None:
    page = entered(chromium, store)
    page.page.wait_for_selector("td a")
    page.page.click("td a")
    page.page.click("text=Share this study")
    page.page.fill("#share-name", HOSTILE)
    page.page.click("#place form button")
    page.page.wait_for_selector("#shared-token")
    guest = chromium.look(store.url.replace("/dicomweb", "/store"))
    guest.page.fill("#token", page.text("#shared-token"))
    guest.page.keyboard.press("Enter")
    guest.page.wait_for_selector("tbody tr")
    assert guest.page.locator("tbody tr").count() == 1
    assert guest.page.locator("#places a").all_inner_texts() == ["Slides", "Flat list", "Leave"]
    page.page.click("text=End >> visible=true >> nth=-1")
    page.wait(lambda: "revoked" in page.text("tbody"), "the end of the share")
    guest.page.click("td a")
    guest.page.wait_for_selector("#fault:visible")
    assert "API_KEY_ERROR" in guest.text("#fault")
    guest.close()
    close(page)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_and_nothing_is_cut_off_in_any_place(
    chromium: Chromium, store: ServedStore, scheme: str, width: int
) -> None:
    page = entered(chromium, store, color_scheme=scheme, width=width, reduced_motion="reduce")
    for place, title in (
        ("studies", "Studies"),
        ("list", "All series"),
        ("upload", "Upload"),
        ("shares", "Shares"),
        ("imports", "Import log"),
        ("peers", "Peers"),
        ("storage", "Storage"),
    ):
        go(page, place, title)
        assert page.violations() == [], place
        assert page.page.evaluate("() => document.documentElement.scrollWidth") <= width
        page.picture(f"store-{place}-{width}")
    close(page)
