from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.store.deidentify.key import Key, UnusableSecrets
from serving.store.deidentify.mapping import KEY_NAME, MAPPING_NAME, MappingFile, Pair, open_secrets

KEY = Key(bytes(32))
PAIRS = [Pair("uid", f"1.2.{number}", KEY.uid(f"1.2.{number}")) for number in range(20)]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_pairs_lead_back_and_are_kept_once(tmp_path: Path) -> None:
    mapping = MappingFile.create(tmp_path / MAPPING_NAME, KEY)
    for _ in range(3):
        mapping.record(PAIRS)
    again = MappingFile.create(tmp_path / MAPPING_NAME, KEY)
    assert again.reverse(PAIRS[7].pseudonym) == (PAIRS[7],)
    assert again.reverse("2.25.1") == ()
    assert sorted(again.everything(), key=lambda pair: pair.original) == sorted(
        PAIRS, key=lambda pair: pair.original
    )


def test_a_pseudonym_of_two_kinds_leads_back_to_both(tmp_path: Path) -> None:
    mapping = MappingFile.create(tmp_path / MAPPING_NAME, KEY)
    pairs = (Pair("container", "A", "X"), Pair("patient", "B", "X"))
    mapping.record(pairs)
    assert mapping.reverse("X") == pairs


def test_the_mapping_and_its_journals_are_their_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        mapping = MappingFile.create(tmp_path / MAPPING_NAME, KEY)
        mapping.record(PAIRS)
    finally:
        os.umask(old)
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}


def test_originals_do_not_print() -> None:
    assert "KOWALSKI" not in repr(Pair("patient", "KOWALSKI", "ABC"))


def test_many_threads_and_processes_write_at_once(tmp_path: Path) -> None:
    mapping = MappingFile.create(tmp_path / MAPPING_NAME, KEY)
    code = (
        "import sys; from pathlib import Path; from serving.store.deidentify.mapping import *;"
        "key = Key(bytes(32)); mapping = MappingFile.create(Path(sys.argv[1]), key);"
        "[mapping.record([Pair('uid', f'1.2.{n}', key.uid(f'1.2.{n}'))]) for n in range(100)]"
    )
    command = [sys.executable, "-c", code, str(tmp_path / MAPPING_NAME)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pair: mapping.record([pair]), PAIRS * 10))
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(list(mapping.everything())) == 100


@pytest.mark.parametrize("lost", [KEY_NAME, MAPPING_NAME])
def test_a_store_that_holds_slides_does_not_start_without_its_secrets(lost: str, tmp_path: Path) -> None:
    open_secrets(tmp_path, may_create=True)
    open_secrets(tmp_path, may_create=False)
    (tmp_path / lost).unlink()
    with pytest.raises(UnusableSecrets, match="backup"):
        open_secrets(tmp_path, may_create=False)
    assert not (tmp_path / lost).exists()


def test_a_lost_key_is_not_made_anew_while_there_is_a_mapping(tmp_path: Path) -> None:
    open_secrets(tmp_path, may_create=True)
    (tmp_path / KEY_NAME).unlink()
    with pytest.raises(UnusableSecrets, match=KEY_NAME):
        open_secrets(tmp_path, may_create=True)


def test_a_start_that_was_interrupted_between_the_two_goes_on(tmp_path: Path) -> None:
    key, _ = open_secrets(tmp_path, may_create=True)
    (tmp_path / MAPPING_NAME).unlink()
    assert open_secrets(tmp_path, may_create=True)[0] == key


def test_a_key_and_a_mapping_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    open_secrets(tmp_path, may_create=True)
    (tmp_path / KEY_NAME).write_text("0" * 64)
    with pytest.raises(UnusableSecrets, match="another key"):
        open_secrets(tmp_path, may_create=False)


@pytest.mark.parametrize("name", [KEY_NAME, MAPPING_NAME])
def test_secrets_that_others_may_read_are_refused(name: str, tmp_path: Path) -> None:
    open_secrets(tmp_path, may_create=True)
    (tmp_path / name).chmod(0o644)
    with pytest.raises(UnusableSecrets, match="chmod 600"):
        open_secrets(tmp_path, may_create=False)


@pytest.mark.parametrize("content", [b"no database at all, but longer than a header of one" * 30])
def test_a_damaged_mapping_is_refused(content: bytes, tmp_path: Path) -> None:
    open_secrets(tmp_path, may_create=True)
    (tmp_path / MAPPING_NAME).write_bytes(content)
    with pytest.raises(UnusableSecrets, match="backup"):
        open_secrets(tmp_path, may_create=False)


def test_a_mapping_that_cannot_be_written_fails_as_the_system_does(tmp_path: Path) -> None:
    mapping = MappingFile.create(tmp_path / MAPPING_NAME, KEY)
    (tmp_path / MAPPING_NAME).write_bytes(b"no database any more, and longer than its header" * 99)
    with pytest.raises(OSError, match="mapping of pseudonyms"):
        mapping.record(PAIRS)


def test_a_mapping_that_is_a_link_is_refused(tmp_path: Path) -> None:
    open_secrets(tmp_path, may_create=True)
    (tmp_path / MAPPING_NAME).rename(tmp_path / "elsewhere")
    (tmp_path / MAPPING_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnusableSecrets):
        open_secrets(tmp_path, may_create=False)
