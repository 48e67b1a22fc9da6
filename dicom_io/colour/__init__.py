"""ICC profiles and the transforms made of them.

Knows arrays of pixels and bytes of profiles. It does not know where either came from.
"""
