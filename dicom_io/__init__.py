"""Images of pathology, from encoded bytes and DICOM stores to uint8 patches; a library of its own.

Imports nothing of ``serving`` and ``model``: no HTTP status, no field of the API, no setting, no environment
variable. It says what is wrong with an image; who asked for it knows how to put it right.
"""
