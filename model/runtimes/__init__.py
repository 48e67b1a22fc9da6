"""What computes embeddings: TensorFlow and OpenVINO, the built-in ViT, and the parity between them.

The only folder that imports either library, each in a file of its own, and only on demand.
"""
