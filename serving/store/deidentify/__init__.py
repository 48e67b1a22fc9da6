"""De-identification by a keep-list: what may stay is named here, with the reason; all else goes.

``Deidentifier.write`` copies one instance, frame by frame, to a new file. Floors, low to high: ``refused``, ``key`` and ``mapping``; ``elements`` (the
file format, read and written as a stream); ``keeping`` (the keep-list: attributes, vocabularies, codes) and
``cleaners`` (frames and ICC profiles); ``deidentifier``. Nothing here knows an index, a door or a caller.
"""
