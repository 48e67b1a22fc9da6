"""What Techcyte posts when a user asks for an analysis, and what of it a job is given.

The fields are those of "Building an API Bridge" in Techcyte's devkit. Presigned addresses and the task's
token are credentials: they are sealed with the job, and their types do not print.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn, Self
from urllib.parse import unquote, urlsplit

import orjson
from pydantic import SecretBytes

from dicom_io.json_size import unfolds_beyond
from dicom_io.web.credentials import BearerToken
from dicom_io.web.urls import StoreUrl, UrlError, parse_url
from serving.api.fields import JsonObject, bad, is_object, kind
from serving.webhooks.techcyte.tokens import decoded, usable_token

MAX_SCANS = 100
MAX_FILES = 2000
"""Of all scans of a task."""

_MAX_URL_LENGTH = 8192
_MAX_VALUES = 20_000
_TASK = re.compile(r"[0-9]{1,19}")
_KEYED = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}:([0-9]{1,19})")
_SCAN = re.compile(r"[\x21-\x7e]{1,200}")
_ENDING = re.compile(r"\.[a-z][a-z0-9]{1,7}")


class AnalysisName(StrEnum):
    """The analyses, as the routes name them."""

    SIMILAR = "similar"
    CLUSTER = "cluster"
    CLASSIFY = "classify"
    QC = "qc"


class PresignedUrl:
    """An address that carries its own right to be read: it does not print and is not serialised.

    Attributes
    ----------
    origin:
        Scheme, host and port, which may be shown.

    Raises
    ------
    UrlError
        For anything that two parsers could read differently, or that is neither https nor http.
    """

    __slots__ = ("_text", "origin")

    def __init__(self, text: str) -> None:
        if not text.isascii() or not text.isprintable() or set(text) & set(' \\"<>^`{|}'):
            raise UrlError("it must have no spaces, backslashes, control or non-ASCII characters")
        if len(text) > _MAX_URL_LENGTH:
            raise UrlError(f"it is longer than {_MAX_URL_LENGTH} characters")
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise UrlError("it is not a URL") from error
        if not text.startswith(f"{parts.scheme}://") or "#" in text:
            raise UrlError("it must begin with https:// and have no fragment")
        self.origin: StoreUrl = parse_url(f"{parts.scheme}://{parts.netloc}")
        self._text = text

    def reveal(self) -> str:
        """Return the address as it was given: another spelling would not fit its signature."""
        return self._text

    @property
    def ending(self) -> str:
        """The ending of the file's name, such as ``.svs``, where there is one that could be a format's."""
        name = unquote(urlsplit(self._text).path).rpartition("/")[2].lower()
        _, dot, ending = name.rpartition(".")
        return f".{ending}" if dot and _ENDING.fullmatch(f".{ending}") else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PresignedUrl) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"PresignedUrl({self.origin}/…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a presigned address is not serialised")


@dataclass(frozen=True, slots=True)
class ScanFile:
    """One file of a scan.

    Attributes
    ----------
    file_name:
        A plain name to store it by, unique in the scan: a number, and the ending that the address has. Names
        that others give to slides can be a patient's.
    """

    url: PresignedUrl
    file_name: str


@dataclass(frozen=True, slots=True)
class Scan:
    """One slide of a task.

    Attributes
    ----------
    scan_id:
        As Techcyte names it, and wants it in results: printable ASCII.
    name:
        A plain name for its folder, unique in the task.
    urls:
        Its files: several for a DICOM series, else one.
    """

    scan_id: str
    name: str
    urls: tuple[ScanFile, ...]


@dataclass(frozen=True, slots=True)
class Trigger:
    """A task, as a job does it.

    Attributes
    ----------
    task_id:
        Its number in decimal digits, however it was spelled.
    run_marker:
        Says in the results that they are of this run: drawn once for a task, kept through crashes.
    case_id:
        Techcyte's identifier of the case, as given, for who looks it up; may be empty.
    token:
        The task's own token; ``None`` where it sent none that can be used.
    """

    analysis: AnalysisName
    task_id: str
    run_marker: str
    case_id: str
    scans: tuple[Scan, ...]
    token: BearerToken | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """What is the same for two triggers of one task, whatever else they say."""
        return f"techcyte:{self.task_id}"

    def payload(self) -> bytes:
        """Return what may be stored as it is, as JSON."""
        fields = {name: getattr(self, name) for name in ("analysis", "task_id", "run_marker", "case_id")}
        return orjson.dumps(fields)

    def secret(self) -> SecretBytes:
        """Return what must be sealed: the token and the addresses."""
        scans = {scan.scan_id: [file.url.reveal() for file in scan.urls] for scan in self.scans}
        token = None if self.token is None else self.token.reveal()
        return SecretBytes(orjson.dumps({"token": token, "scans": scans}))

    @classmethod
    def of_job(cls, payload: bytes, secret: SecretBytes) -> Self:
        """Return what ``payload`` and ``secret`` have written."""
        fields, sealed = orjson.loads(payload), orjson.loads(secret.get_secret_value())
        fields["analysis"] = AnalysisName(fields["analysis"])
        token = sealed["token"]
        return cls(
            **fields, scans=_scans(sealed["scans"]), token=None if token is None else BearerToken(token)
        )


def parse_trigger(data: bytes | bytearray, analysis: AnalysisName) -> Trigger:
    """Parse a posted body.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR with what is wrong; no value is quoted.
    """
    if unfolds_beyond(data, _MAX_VALUES):
        raise bad("The body unfolds to too many values.")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise bad("The body is not JSON.") from error
    if not is_object(body):
        raise bad(f"The body must be a JSON object, not {kind(body)}.")
    return Trigger(
        analysis,
        task_number(body.get("task_id")),
        secrets.token_hex(16),
        _case(body.get("case_id")),
        _scans(_addresses(body)),
        usable_token(body.get("jwt_token")),
    )


def task_number(value: object) -> str:
    """Return a task's number: given as such, in digits, or as the base64 of ``task:185714``.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR
    """
    if value is None or value == "":
        raise bad("task_id is missing.")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        text = value.strip()
        if not _TASK.fullmatch(text):
            found = _KEYED.fullmatch(decoded(text[:200]).decode("ascii", "replace"))
            text = found.group(1) if found else ""
        if text and int(text) > 0:
            return str(int(text))
    raise bad("task_id must be a number, or the base64 of `task:` and a number.")


def _case(value: object) -> str:
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    return text if _SCAN.fullmatch(text) else ""


def _addresses(body: JsonObject) -> Mapping[str, list[str]]:
    """Return the addresses of each scan: ``scan_urls`` has all of them, ``scans`` the first of each."""
    found: dict[str, list[str]] = {}
    for name in ("scans", "scan_urls"):
        given = body.get(name)
        if given is None:
            continue
        if not is_object(given):
            raise bad(f"{name} must be an object, not {kind(given)}.")
        for scan_id, value in given.items():
            urls = [value] if name == "scans" else value
            if not isinstance(urls, list) or not all(isinstance(url, str) and url for url in urls):
                raise bad(f"{name} must map each scan to {'an address' if name == 'scans' else 'addresses'}.")
            if urls:
                found[scan_id] = urls
    if not found:
        raise bad("The task has no scans: neither scans nor scan_urls names one with an address.")
    return found


def _scans(addresses: Mapping[str, Sequence[str]]) -> tuple[Scan, ...]:
    if len(addresses) > MAX_SCANS or sum(map(len, addresses.values())) > MAX_FILES:
        raise bad(f"A task may have at most {MAX_SCANS} scans and {MAX_FILES} files.")
    return tuple(_scan(number, *item) for number, item in enumerate(addresses.items(), 1))


def _scan(number: int, scan_id: str, addresses: Sequence[str]) -> Scan:
    if not _SCAN.fullmatch(scan_id):
        raise bad("A scan's id must have 1 to 200 printable ASCII characters and no spaces.")
    files = []
    for place, text in enumerate(addresses, 1):
        try:
            url = PresignedUrl(text)
        except UrlError as error:
            raise bad(f"The address of file {place} of scan {scan_id} cannot be used: {error}.") from error
        files.append(ScanFile(url, f"{place:04d}{url.ending}"))
    return Scan(scan_id, f"scan-{number}", tuple(files))
