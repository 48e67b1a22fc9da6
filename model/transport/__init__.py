"""Between the processes that have patches and the one that has the model: shared memory and a Unix socket.

Pixels and vectors stay in memory slabs; numbers of slots go over the socket. No model and no image format is
known here.
"""
