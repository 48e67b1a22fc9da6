"""Imports TensorFlow for the other files here: without Keras, and without what it prints."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType
from typing import cast

__all__ = ["convert_variables_to_constants_v2", "tf"]


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Let an import of Keras fail, unless it has been imported already.

    TensorFlow imports it whole, and with it scikit-learn, SciPy and Matplotlib where they are installed: half
    of its own import, for models that are trained. Graphs run without it. TensorFlow does not mind: to it,
    Keras is not installed.
    """
    if "keras" in sys.modules:
        yield
        return
    sys.modules["keras"] = cast(ModuleType, None)
    try:
        with _without_settings_of_keras():
            yield
    finally:
        del sys.modules["keras"]


@contextlib.contextmanager
def _without_settings_of_keras() -> Iterator[None]:
    """Let the old Keras, a part of TensorFlow that is always imported, read and write no ``~/.keras``.

    A user's settings (another float) would change what is computed; and a user without a home would get a
    folder that is named ``~``.
    """
    usual = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = os.devnull
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        if usual is not None:
            os.environ["KERAS_HOME"] = usual


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep what TensorFlow prints at import out of the JSON log; show it if the import fails."""
    # Its libraries write to descriptor 2 itself, so replacing sys.stderr would not help.
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            chatter.seek(0)
            os.write(stderr, chatter.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


with _silenced(), _without_keras():
    import tensorflow as tf

    # As TensorFlow's converters do; it has no public name.
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
