"""Helper processes that decode what could crash, hang or fill the memory of the process that asked.

The only room of ``dicom_io`` that starts processes. What a helper does is in ``codecs``; this room has its
bounds and its replacement.
"""
