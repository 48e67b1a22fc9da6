from __future__ import annotations

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dicom_io.web.series_path import is_uid
from serving.store.deidentify.key import Key, UnusableSecrets, create_key, load_key

KEY, OTHER = Key(bytes(32)), Key(b"x" * 32)


def test_a_key_is_made_readable_by_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        key = create_key(tmp_path / "deid.key")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "deid.key").stat().st_mode) == 0o600
    assert load_key(tmp_path / "deid.key") == key
    assert os.listdir(tmp_path) == ["deid.key"]


def test_of_many_that_make_a_key_at_once_one_does(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: create_key(tmp_path / "deid.key"), range(32)))
    assert len({key.fingerprint for key in keys}) == 1
    assert os.listdir(tmp_path) == ["deid.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    create_key(tmp_path / "deid.key")
    (tmp_path / "deid.key").chmod(mode)
    with pytest.raises(UnusableSecrets, match="chmod 600"):
        load_key(tmp_path / "deid.key")


@pytest.mark.parametrize("text", ["", "secret" * 9, "0" * 63, "0" * 66, "g" * 64, "0" * 64 + "\n\n"])
def test_a_damaged_key_is_refused_without_showing_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "deid.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UnusableSecrets) as raised:
        load_key(path)
    assert not text.strip() or text.strip() not in str(raised.value)


def test_a_key_that_is_missing_or_is_no_file_is_refused(tmp_path: Path) -> None:
    create_key(tmp_path / "deid.key")
    (tmp_path / "link").symlink_to(tmp_path / "deid.key")
    for name in ("missing", "link", "."):
        with pytest.raises(UnusableSecrets):
            load_key(tmp_path / name)


def test_keys_do_not_print() -> None:
    key = Key(b"PHIKOWALSKI-of-thirty-two-bytes!")
    assert "KOWALSKI" not in f"{key!r} {key}"


def test_pseudonyms_depend_on_the_key_the_kind_and_the_original_alone() -> None:
    assert KEY.uid("1.2.3") == Key(bytes(32)).uid("1.2.3")
    assert len({KEY.uid("1.2.3"), KEY.uid("1.2.4"), OTHER.uid("1.2.3")}) == 3
    names = {KEY.identifier(kind, original) for kind in ("patient", "specimen") for original in (b"1", b"2")}
    assert len(names) == 4
    assert all(re.fullmatch("[A-Z2-7]{16}", name) for name in names)


def test_new_uids_are_uids_of_the_root_of_uuids() -> None:
    for number in range(1000):
        uid = KEY.uid(f"1.2.{number}")
        assert is_uid(uid)
        assert uid.startswith("2.25.")
        assert int(uid.removeprefix("2.25.")) < 1 << 128
        assert str(int(uid.removeprefix("2.25."))) == uid.removeprefix("2.25.")


def test_fingerprints_tell_keys_apart_and_nothing_else() -> None:
    assert KEY.fingerprint != OTHER.fingerprint
    assert len(KEY.fingerprint) == 16
