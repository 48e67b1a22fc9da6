"""Ways in beside HTTP: the DICOM node, the watched folder, files named on the command line, vendors' slides.

Each writes what comes to the store's folder of arrivals and hands it to ``ingest``; none touches the index.
"""
