"""The size of a slide's pixels, as people type it."""

from __future__ import annotations


def pixel_size(text: str) -> float:
    """Return a size of a pixel in µm, given as such or as a magnification: 20x is 10 µm / 20.

    Raises
    ------
    ValueError
        The text is the end of a sentence that says what was given.
    """
    is_power = text[-1:] in ("x", "X")
    try:
        number = float(text[:-1] if is_power else text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError("is neither µm, such as 0.5, nor a magnification, such as 20x")
    return 10 / number if is_power else number
