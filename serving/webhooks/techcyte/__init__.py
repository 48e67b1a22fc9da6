"""Techcyte: what is reported to it. ``reports`` stands alone and may be used with other people's models."""
