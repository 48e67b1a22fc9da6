"""The encoder: batches of uint8 patches in, float32 embeddings out.

Imports nothing of ``serving`` and ``dicom_io``: no request, no settings, no command line, no logging set-up.
"""
