"""Encoded images and frames: what their headers say, and pixels made of them; one file a format.

Pure functions over bytes. No network, no process, no cache, and no colour management: pixels come out as
they are stored, beside the ICC profile that was found with them.
"""
