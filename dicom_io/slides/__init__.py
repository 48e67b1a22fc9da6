"""A slide as DICOM describes it: instances, levels, pyramids, frames, and where tissue lies on it.

Geometry, rules of the standard, scales and grids, and the fetching and caching of frames. No HTTP and no file
system: a slide's instances come through a ``Series``, which callers pass in.
"""
