"""A slide as DICOM describes it: instances, levels, pyramids, frames, and where tissue lies on it.

Geometry, rules of the standard, and the fetching and keeping of frames by whatever store has them. No HTTP
and no file system: a store is what it is given.
"""
