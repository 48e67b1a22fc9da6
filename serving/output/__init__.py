"""What ``pathserve embed`` writes: tables of vectors, whole or not at all, and a run's parts until they are.

Floor 1: it knows no store, no encoder and no command line. Each kind of file is one module here, imported
only where it is asked for; what identifies a run is JSON that it does not look into.
"""
