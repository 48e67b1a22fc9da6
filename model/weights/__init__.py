"""Finding a model's files: a folder, Cloud Storage or Hugging Face, kept in a cache that processes share.

Files come out; ``runtimes`` knows what is in them.
"""
