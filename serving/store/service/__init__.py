"""The process group ``pathserve store serve``: launcher, HTTP workers, DICOM node, keeper of folders.

The one place that knows all doors of the store; here settings become their objects.
"""
