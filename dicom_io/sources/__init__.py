"""What a request names, as images that open and give patches: one file a kind of source.

The top floor of ``dicom_io``: it joins stores, codecs and colour. It parses no request.
"""
