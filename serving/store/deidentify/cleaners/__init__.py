"""Frames and ICC profiles without what decoders do not need, one file a format.

What is kept is byte for byte what was there, so pixels stay the same; what is not understood is damage.
"""
