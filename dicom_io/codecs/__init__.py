"""Encoded images and frames: their headers, and the pixels decoded from them; one file per format.

Pure functions over bytes. No network, no process, no cache, and no colour management: pixels come out as
they are stored, with the ICC profile that was found beside them.
"""
