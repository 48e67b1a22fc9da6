"""Slides in local files as sources of patches: OpenSlide's formats, tiled JPEG TIFFs, and DICOM in files.

One file a kind of slide, each a store of frames that the levels of ``slides`` are read from, so that
resizing, colours and caching are those of slides in a store. Libraries that read slides are imported where a
slide is opened; a service that reads none loads none.
"""
