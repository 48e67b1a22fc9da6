"""The slide store: DICOMweb and C-STORE over files and an index, with de-identification on the way in.

Floors, of which each imports only lower ones: what names instances (``errors``, ``uids``), then what keeps,
cleans and guards them (``files``, ``index``, ``deidentify``, ``access``), the one pipeline by which instances
come in (``ingest``), the doors (``dicomweb``, ``doors``, ``peers``), and ``service``, the process group.
Needs the extra ``pathserve[store]``; nothing of the plain service imports this folder.
"""
