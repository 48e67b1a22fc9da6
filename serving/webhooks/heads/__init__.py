"""Heads: linear classifiers over embeddings, what they find on a slide, their files, and their training.

Imports ``analyses``, which does not know it. Only ``file``, ``vectors`` and the labels touch the disk.
"""
