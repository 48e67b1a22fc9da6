"""What is mistyped on the command line of ``pathserve embed``."""

from __future__ import annotations

import argparse

import pytest

from serving.cli.embed_arguments import add_embed


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--stride", "0", "'0' is not a whole number of at least 1"),
        ("--stride", "wide", "'wide' is not a whole number of at least 1"),
        ("--min-tissue", "5", "'5' is not a share, from 0 to 1"),
        ("--min-tissue", "nan", "'nan' is not a share, from 0 to 1"),
        ("--mpp", "0", "'0' is neither µm, such as 0.5, nor a magnification, such as 20x"),
        ("--slide-mpp", "x", "'x' is neither µm, such as 0.5, nor a magnification, such as 20x"),
        ("--format", "csv", "'csv' is not a format; there are parquet"),
    ],
)
def test_a_value_that_cannot_be_says_what_may_be(
    capsys: pytest.CaptureFixture[str], option: str, text: str, said: str
) -> None:
    parser = argparse.ArgumentParser()
    add_embed(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["embed", "a.svs", "--out", "a.parquet", option, text])
    assert said in capsys.readouterr().err
