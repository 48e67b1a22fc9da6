"""A worker's tokens: fetched when needed, renewed once, told to nobody."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.archive.job import Asked, Credentials, Job
from serving.archive.records import Refused
from serving.archive.tokens import FetchedTokens, tokens_of
from serving.config.settings import load_settings


def job(*command: str) -> Job:
    return Job("out", Asked(), credentials=Credentials.COMMAND, token_command=command)


def test_a_token_is_what_the_command_prints_and_is_kept(tmp_path: Path) -> None:
    count = tmp_path / "count"
    code = f"open({str(count)!r}, 'a').write('.'); print('a-token')"
    tokens = tokens_of(job(sys.executable, "-c", code), load_settings(environment={}))
    first = tokens.current()
    assert first is not None
    assert first.reveal() == "a-token"
    assert tokens.current() is first
    assert count.read_text() == "."


def test_many_threads_that_were_refused_a_token_fetch_the_next_once() -> None:
    fetched = iter(f"token-{number}" for number in range(10))
    tokens = FetchedTokens(lambda: (next(fetched), 600.0))
    refused = tokens.current()
    with ThreadPoolExecutor(8) as threads:
        renewed = list(threads.map(lambda _: tokens.renew(refused), range(8)))
    assert {token.reveal() for token in renewed if token} == {"token-1"}


def test_the_same_token_again_is_no_other() -> None:
    tokens = FetchedTokens(lambda: ("a-token", 600.0))
    assert tokens.renew(tokens.current()) is None


def test_a_token_whose_time_is_over_is_fetched_again() -> None:
    fetched = iter(("token-1", "token-2"))
    tokens = FetchedTokens(lambda: (next(fetched), 0.0))
    assert [tokens.current().reveal() for _ in range(2)] == ["token-1", "token-2"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((sys.executable, "-c", "print('sec'+'ret'); raise SystemExit(3)"), "ended with status 3"),
        ((sys.executable, "-c", ""), "ended with status 0 and no token"),
        ((sys.executable, "-c", "import os; os.write(1, b'secret' + bytes([255]))"), "did not run: Unicode"),
        (("/no/such/command",), "did not run: FileNotFoundError"),
    ],
)
def test_a_command_that_fails_is_named_and_what_it_printed_is_not(
    command: tuple[str, ...], said: str
) -> None:
    with pytest.raises(Refused, match=said) as refused:
        tokens_of(job(*command), load_settings(environment={})).current()
    assert "secret" not in str(refused.value)


def test_the_token_of_the_environment_is_used_and_cannot_be_renewed() -> None:
    settings = load_settings(environment={"PATHSERVE_STORE_TOKEN": "of-the-environment"})
    tokens = tokens_of(Job("out", Asked()), settings)
    token = tokens.current()
    assert token is not None
    assert token.reveal() == "of-the-environment"
    assert tokens.renew(token) is None
    assert tokens_of(Job("out", Asked()), load_settings(environment={})).current() is None
