"""Stores behind HTTP: DICOMweb and Cloud Storage, with their credentials, allow-lists, bounds and retries.

Every wait ends by a deadline and every answer has a bound. Metadata and encoded frames come out; nothing is
decoded here.
"""
