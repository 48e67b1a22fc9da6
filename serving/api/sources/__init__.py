"""The kinds of sources that an instance can name: one file each, with its field, its JSON and its schema.

A new kind is a file here and a line in ``registry.KINDS``. What opens an image is ``dicom_io.sources``.
"""
