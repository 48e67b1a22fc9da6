"""Helper processes for decoders that could crash, hang or exhaust the memory of the process that asked.

The only sub-package of ``dicom_io`` that starts processes. Decoding itself is in ``codecs``; here are the
bounds of a helper, its replacement, and the way of bytes to it and of pixels back.
"""
