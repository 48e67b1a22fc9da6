"""ICC profiles and the transforms built from them.

It works on arrays of pixels and bytes of profiles, and does not know where either came from.
"""
