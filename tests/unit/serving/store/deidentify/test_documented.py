from __future__ import annotations

import re
from pathlib import Path

from pydicom.datadict import keyword_for_tag

from serving.store.deidentify.elements import MAX_DEPTH
from serving.store.deidentify.keeping.given import GIVEN
from serving.store.deidentify.keeping.keep_list import KEEP_LIST

PAGE = (Path(__file__).parents[5] / "docs/deidentification.md").read_text(encoding="utf-8")


def test_the_page_names_each_attribute_that_may_stay_and_no_other() -> None:
    table = PAGE[PAGE.index("| may stay |") : PAGE.index("**Codes**")]
    rows = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    named = [name for row in rows for name in re.findall(r"\w+", row)]
    assert sorted(named) == sorted(keyword_for_tag(tag) for tag in KEEP_LIST)


def test_the_page_names_the_codes_that_are_claimed_and_the_depth() -> None:
    (method,) = (written for tag, written in GIVEN if tag == 0x00120064)
    codes = re.findall(rb"1131[0-9]{2}", method)
    assert ", ".join(code.decode() for code in codes) in PAGE
    assert f"more than {MAX_DEPTH} deep" in PAGE
