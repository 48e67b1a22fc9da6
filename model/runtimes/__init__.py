"""What computes embeddings: TensorFlow and OpenVINO, the built-in ViT, and how they are held to each other.

The only room that imports either library, each in its own file and only when it is wanted.
"""
