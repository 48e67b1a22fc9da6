"""Colours of a legend."""

from __future__ import annotations
