"""The slide store: slides in files, de-identified on import, found and read by DICOMweb, shared by token.

``pathserve store``. Floors, of which each imports only lower ones: ``access`` (who may do what, and the
audit trail), ``index`` and ``deidentify``; ``files`` and ``ingest``, the one way in; what speaks a protocol;
then ``service``, the process group. Needs the extra ``pathserve[store]``; of the plain service nothing
imports this folder but by the setting that names one.
"""
