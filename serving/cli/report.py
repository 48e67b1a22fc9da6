"""What a command says of its slides: a line each, and a table at the end."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from serving.cli.one_slide import Written

_MOST_NAME = 40
_MOST_RESULT = 100


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a slide.

    Attributes
    ----------
    written:
        ``None`` where it failed, and then ``failure`` is a sentence.
    """

    name: str
    path: Path
    written: Written | None
    failure: str | None
    seconds: float


class Report:
    """Prints results as they come; failures go to standard error.

    Parameters
    ----------
    slides:
        How many there are to do.
    many:
        Whether there may be several, so that lines have names, and a table follows.
    """

    def __init__(self, slides: int, *, many: bool) -> None:
        self._slides, self._many = slides, many
        self._results: list[Result] = []

    @property
    def failed(self) -> bool:
        """Whether any slide has failed."""
        return any(result.failure is not None for result in self._results)

    def add(self, result: Result) -> None:
        """Print a slide's line."""
        self._results.append(result)
        prefix = f"{result.name}: " if self._many else ""
        if result.failure is not None:
            print(f"pathserve: {prefix}{result.failure}", file=sys.stderr)
        else:
            print(f"{result.path}: {_said(result)}.")
            if result.written is not None and result.written.warning:
                print(f"pathserve: {prefix}warning: {result.written.warning}", file=sys.stderr)

    def end(self) -> None:
        """Print the table, where there may be several slides."""
        if not self._many:
            return
        name = min(_MOST_NAME, max([len("slide"), *(len(result.name) for result in self._results)]))
        print(f"\n{'slide':{name}}  {'patches':>9}  {'errors':>7}  {'seconds':>8}  result")
        for result in self._results:
            count = None if result.written is None else result.written.count
            rows, errors = ("", "") if count is None else (str(count.rows), str(count.errors))
            print(
                f"{_short(result.name, name):{name}}  {rows:>9}  {errors:>7}  {result.seconds:>8.1f}  "
                f"{_short(_result(result), _MOST_RESULT)}"
            )
        failed = sum(result.failure is not None for result in self._results)
        left = self._slides - len(self._results)
        print(
            f"{len(self._results) - failed} of {self._slides} slides done, {failed} failed"
            + (f", {left} not begun." if left else ".")
        )


def _said(result: Result) -> str:
    assert result.written is not None
    written = result.written
    if written.count is None:
        return "done already"
    scale = "" if written.scale is None else f" of {written.scale}"
    patches = "patch" if written.count.rows == 1 else "patches"
    left = written.count.left_out
    left_out = f", {left} left out for their quality" if left else ""
    return f"{written.count.rows} {patches}{scale}, {written.count.errors} with an error{left_out}"


def _result(result: Result) -> str:
    if result.failure is not None:
        return f"failed: {result.failure}"
    assert result.written is not None
    return "done already" if result.written.count is None else "done"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
