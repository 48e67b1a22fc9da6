"""Encoded images and frames: their headers, and the pixels decoded from them; one file per codec.

A codec whose headers are long has a second file. ``raster.py`` has the table of image formats, ``frame.py``
that of transfer syntaxes, each with the contract of what it lists. Code that decodes nothing needs only
``frame_format.py``.

Pure functions over bytes. No network, no process, no cache, and no colour management: pixels come out as
they are stored, with the ICC profile that was found beside them.
"""
