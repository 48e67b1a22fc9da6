"""Analyses over the embeddings of a slide's patches; pure functions over arrays, no I/O.

All coordinates are pixels of the slide's largest level (level 0), x to the right, y down. Areas come as
shapely polygons, scores as float32 in the order of the patches, pictures of scores as uint8 grids. What a
user can mend is an ``AnalysisError``. Nothing here knows to whom the results go.
"""
