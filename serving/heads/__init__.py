"""Heads: linear classifiers over embeddings, as values and as files. Who applies one reads it here.

Training, and what a head finds on a slide, belong to ``serving.webhooks.heads``.
"""
