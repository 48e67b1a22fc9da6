"""The encoder as a library: batches of uint8 patches in, float32 embeddings out.

Imports nothing of ``serving`` and ``dicom_io``: no request, no settings, no command line, no logging set-up.

Floors, of which each imports only lower ones: ``encoder`` (what an encoder is), ``batching``, ``golden``
(fixed patches and their vectors), then ``transport`` (between processes) and ``weights`` (a model's files),
then ``runtimes`` (what computes).
"""
