"""Images of pathology, from encoded bytes and DICOM stores to uint8 patches; a library of its own.

Imports nothing of ``serving`` and ``model``: no HTTP status, no field of the API, no setting of the service.
It says what is wrong with an image; who asked for it knows how to put it right. Variables of the environment
that libraries define (proxies, trust anchors, Google's credentials) are a matter of ``web``.

Floors, of which each imports only lower ones: ``errors``, ``waiting`` and other single files, ``geometry``,
then ``colour``, ``codecs`` (bytes to pixels), ``decoding`` (in helper processes), ``reading`` (the seam),
``slides``, ``web`` (stores), and ``sources``, which joins them all.
"""
