"""Heads: linear classifiers over embeddings, the files that hold them, and how they are trained."""
