"""Tokens: who is let in, who not, and what remains of a token."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from serving.errors import Code, ServiceError
from serving.store.access.roles import Permission, Role, with_included
from serving.store.access.token_file import BadTokenFile, TokenFile
from serving.store.access.token_table import TokenTable, UnusableTokens
from serving.store.access.tokens import COMMAND, PREFIX, Tokens


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(TokenTable(tmp_path / "tokens.sqlite"))


def bearer(tokens: Tokens, *roles: Role, **options: object) -> str:
    made, _ = tokens.make("tests", roles, **options)  # type: ignore[arg-type]
    return f"Bearer {made.get_secret_value()}"


def refused(tokens: Tokens, header: str | None, needed: Role | None = Role.READ) -> Code:
    with pytest.raises(ServiceError) as caught:
        tokens.authorise(header, needed)
    return caught.value.code


@pytest.mark.parametrize("needed", list(Role))
@pytest.mark.parametrize("held", list(Role))
def test_a_role_opens_what_it_includes_and_nothing_else(tokens: Tokens, held: Role, needed: Role) -> None:
    includes = {Role.READ: {Role.READ}, Role.WRITE: {Role.WRITE}, Role.SHARE: {Role.READ, Role.SHARE}}
    header = bearer(tokens, held)
    if needed in includes.get(held, set(Role)):
        assert tokens.authorise(header, needed).roles == with_included([held])
    else:
        assert refused(tokens, header, needed) is Code.FORBIDDEN_ERROR


def test_a_token_is_random_long_and_found_by_its_prefix(tokens: Tokens) -> None:
    made = {tokens.make("x", [Role.READ])[0].get_secret_value() for _ in range(50)}
    assert len(made) == 50
    assert all(token.startswith(PREFIX) and len(token) == len(PREFIX) + 43 for token in made)


def test_a_token_does_not_print(tokens: Tokens) -> None:
    made, row = tokens.make("x", [Role.READ])
    assert made.get_secret_value() not in f"{made} {made!r} {row!r}"


def test_what_is_kept_of_a_token_is_its_digest(tokens: Tokens, tmp_path: Path) -> None:
    made, row = tokens.make("x", [Role.READ])
    token = made.get_secret_value().encode()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token not in kept
    assert hashlib.sha256(token).digest() == row.digest
    assert row.digest in kept


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {}x", "Bearer x{}", "bearer  ",
        "Bearer {} {}", "Bearer \udcff", "Bearer " + "x" * 100_000, "Bearer %00", "Bearer pss_",
    ],
)  # fmt: skip
def test_who_sends_no_token_that_is_known_is_not_let_in(tokens: Tokens, header: str | None) -> None:
    token = bearer(tokens, Role.ADMIN).partition(" ")[2]
    given = None if header is None else header.replace("{}", token)
    assert refused(tokens, given) is Code.API_KEY_ERROR
    assert refused(tokens, given, None) is Code.API_KEY_ERROR


def test_an_expired_a_revoked_and_an_unknown_token_are_told_the_same(tokens: Tokens) -> None:
    expired = bearer(tokens, Role.READ, lasts_s=-1.0)
    made, row = tokens.make("x", [Role.READ])
    assert tokens.revoke(row.id)
    assert not tokens.revoke(row.id)
    told = set()
    for header in (expired, f"Bearer {made.get_secret_value()}", "Bearer pss_unknown"):
        with pytest.raises(ServiceError) as caught:
            tokens.authorise(header, Role.READ)
        told.add((caught.value.code, caught.value.description))
    assert len(told) == 1


def test_a_token_that_is_revoked_by_one_process_opens_nothing_in_another(tmp_path: Path) -> None:
    here, elsewhere = (Tokens(TokenTable(tmp_path / "tokens.sqlite")) for _ in range(2))
    made, row = here.make("x", [Role.READ])
    header = f"Bearer {made.get_secret_value()}"
    elsewhere.authorise(header, Role.READ)
    here.revoke(row.id)
    assert refused(elsewhere, header) is Code.API_KEY_ERROR


def test_many_threads_make_and_use_tokens_at_once(tokens: Tokens) -> None:
    failed: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(20):
                tokens.authorise(bearer(tokens, Role.WRITE), Role.WRITE)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed
    assert len(tokens.all()) == 160


def test_a_share_opens_nothing_once_who_made_it_could_not_make_it_now(tokens: Tokens) -> None:
    one, two = Permission(frozenset({"1"})), Permission(frozenset({"1", "2"}))
    for maker_roles, maker_permission, lasts_s, opens in (
        ([Role.SHARE], one, None, True),
        ([Role.ADMIN], Permission(), None, True),
        ([Role.READ], one, None, False),
        ([Role.SHARE], one, -1.0, False),
        ([Role.SHARE], Permission(frozenset({"2"})), None, False),
    ):
        _, maker = tokens.make("maker", maker_roles, maker_permission, lasts_s=lasts_s)
        share = bearer(tokens, Role.READ, permission=one, made_by=maker.id, is_share=True)
        wider = bearer(tokens, Role.READ, permission=two, made_by=maker.id, is_share=True)
        if opens:
            assert tokens.authorise(share, Role.READ).permission == one
        else:
            assert refused(tokens, share) is Code.API_KEY_ERROR
        if maker_permission.studies is not None:
            assert refused(tokens, wider) is Code.API_KEY_ERROR
    assert refused(tokens, bearer(tokens, Role.READ, made_by="gone", is_share=True)) is Code.API_KEY_ERROR


def test_a_table_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "tokens.sqlite"
    TokenTable(path)
    os.chmod(path, 0o644)
    with pytest.raises(UnusableTokens, match="chmod 600"):
        TokenTable(path)


def test_a_table_of_a_later_release_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tokens.sqlite"
    TokenTable(path)
    with closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version = 2")
        with pytest.raises(UnusableTokens, match="version 2 of its schema"):
            TokenTable(path)
        assert later.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_file_that_is_no_table_of_tokens_is_said(tmp_path: Path) -> None:
    path = tmp_path / "tokens.sqlite"
    path.write_bytes(b"something else " * 1000)
    path.chmod(0o600)
    with pytest.raises(UnusableTokens, match="NOTADB"):
        TokenTable(path)


@pytest.mark.parametrize("given", [COMMAND, "", "file", "unknown", "%"])
def test_an_id_that_is_no_tokens_ends_nothing(tokens: Tokens, given: str) -> None:
    header = bearer(tokens, Role.ADMIN)  # made by a command, as most are
    assert not tokens.revoke(given)
    assert tokens.authorise(header, Role.ADMIN)


def test_a_permission_covers_no_more_than_it_has() -> None:
    everything, one, two = Permission(), Permission(frozenset("1")), Permission(frozenset("12"))
    assert everything.covers(one)
    assert two.covers(one)
    assert not one.covers(two)
    assert not two.covers(everything)
    assert one.allows("1")
    assert not one.allows("2")


def entry(token: str, /, **keys: str) -> str:
    given = {"name": '"a scanner"', "sha256": f'"{hashlib.sha256(token.encode()).hexdigest()}"'}
    lines = (given | {"roles": '["write"]'} | keys).items()
    return "[[token]]\n" + "\n".join(f"{key} = {value}" for key, value in lines if value) + "\n"


def test_tokens_of_a_file_open_what_it_says_and_it_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(
        entry("first", studies='["1.2"]', roles='["share"]')
        + entry("second", expires="2001-01-01")
        + entry("other")
    )
    tokens = Tokens(TokenTable(tmp_path / "t.sqlite"), TokenFile(path))
    asks = tokens.authorise("Bearer first", Role.SHARE)
    made, _ = tokens.make("x", [Role.READ], asks.permission, made_by=asks.token_id, is_share=True)
    share = f"Bearer {made.get_secret_value()}"
    assert tokens.authorise(share, Role.READ).permission == asks.permission
    assert asks.permission == Permission(frozenset({"1.2"}))
    assert asks.token_id.startswith("file:")
    assert refused(tokens, "Bearer second", Role.WRITE) is Code.API_KEY_ERROR
    path.write_text(entry("third"))
    assert refused(tokens, "Bearer first") is Code.API_KEY_ERROR
    assert refused(tokens, share) is Code.API_KEY_ERROR
    assert tokens.authorise("Bearer third", Role.WRITE).permission == Permission()
    path.write_text("[[token")
    assert refused(tokens, "Bearer third", Role.WRITE) is Code.API_KEY_ERROR


def test_a_file_of_tokens_that_comes_back_as_it_was_opens_what_it_did(tmp_path: Path) -> None:
    path, aside = tmp_path / "tokens.toml", tmp_path / "aside.toml"
    path.write_text(entry("third"))
    tokens = Tokens(TokenTable(tmp_path / "t.sqlite"), TokenFile(path))
    path.rename(aside)
    assert refused(tokens, "Bearer third", Role.WRITE) is Code.API_KEY_ERROR
    aside.rename(path)  # the same file, of the same time
    assert tokens.authorise("Bearer third", Role.WRITE)
    path.unlink()
    assert refused(tokens, "Bearer third", Role.WRITE) is Code.API_KEY_ERROR


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[token", "no TOML|not TOML"),
        ("x = 1", "nothing but"),
        ("token = 3", "nothing but"),
        (entry("a", sha256='"abc"'), "64 hexadecimal"),
        (entry("a", roles='["root"]'), "roles must be"),
        (entry("a", roles=""), "roles must be"),
        (entry("a", name='""'), "name must say"),
        (entry("a", studies='["1.2"]'), "only read and share"),
        (entry("a", studies='["../x"]'), "studies must be"),
        (entry("a", studies='"1.2"'), "studies must be"),
        (entry("a", expires='"soon"'), "expires must be"),
        (entry("a", token='"in the clear"'), "unknown key token"),
    ],
)
def test_a_file_of_tokens_that_cannot_be_used_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(BadTokenFile, match=said):
        TokenFile(path)
