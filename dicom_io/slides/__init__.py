"""A slide as DICOM describes it: instances, levels, pyramids, frames, and where tissue lies on it.

Geometry, rules of the standard, scales and grids, and the fetching and keeping of frames. No HTTP and no file
system: whoever has a slide's instances is a ``Series``, and is given.
"""
