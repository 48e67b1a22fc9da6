"""Sealed secrets."""

from __future__ import annotations

import pytest
from pydantic import SecretBytes, SecretStr

from serving.webhooks.jobs.seals import BadKey, JobKeys, Seals, WrongKey
from tests.support.jobs import KEY

OTHER = "YW5vdGhlciBrZXkgb2YgdGhpcnR5LXR3byBieXRlcy4="
SECRET = b"a token"


def seals(*keys: str) -> Seals:
    return Seals(JobKeys.of([SecretStr(key) for key in keys]))


def test_what_is_sealed_is_opened_by_the_same_key_alone() -> None:
    mine = seals(KEY)
    sealed = mine.seal(SecretBytes(SECRET))
    assert SECRET not in sealed
    assert mine.open(sealed, mine.current).get_secret_value() == SECRET
    for other in (seals(OTHER), seals()):
        with pytest.raises(WrongKey):
            other.open(sealed, mine.current)
        with pytest.raises(WrongKey):
            other.open(sealed, other.current)


def test_a_sealed_secret_that_was_changed_is_not_opened() -> None:
    mine = seals(KEY)
    sealed = bytearray(mine.seal(SecretBytes(SECRET)))
    sealed[20] ^= 1
    with pytest.raises(WrongKey):
        mine.open(bytes(sealed), mine.current)


def test_the_first_key_seals_and_all_open() -> None:
    old, both = seals(KEY), seals(OTHER, KEY)
    assert both.open(old.seal(SecretBytes(SECRET)), old.current).get_secret_value() == SECRET
    assert both.current == seals(OTHER).current != old.current
    assert both.known == (both.current, old.current)


def test_without_a_key_each_group_makes_its_own() -> None:
    assert seals().current != seals().current
    assert not seals().outlive_crashes
    assert seals(KEY).outlive_crashes


@pytest.mark.parametrize(
    "key", ["x" * 16, KEY[:-4], KEY + "AAAA", "é" * 44, "=" * 44, "not base64 at all, is it now"]
)
def test_a_malformed_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BadKey) as caught:
        seals(key)
    assert key not in str(caught.value)
    assert "Fernet.generate_key" in str(caught.value)


def test_keys_and_their_fingerprints_do_not_print() -> None:
    keys = JobKeys.of([SecretStr(KEY)])
    assert KEY not in repr(keys)
    assert seals(KEY).current not in KEY
