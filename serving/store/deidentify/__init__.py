"""De-identification by a keep-list: what may stay is named here, with the reason; all else goes.

``Deidentifier.write`` copies one instance, frame by frame, to a new file. Low to high: ``refused``, ``key``,
``mapping``; ``elements`` and ``walk``, the file format as a stream; ``cleaners`` of frames and ICC profiles;
``keeping``, the keep-list; ``data_set`` and ``pixels``; ``deidentifier``. Nothing here knows an index, a door
or a caller.
"""
