"""A thin client of the service: numpy in and out.

>>> client = PathserveClient("http://127.0.0.1:8080")
>>> client.embed([Image.of_bytes(png, [(0, 0), (224, 0)])])[0].shape
(2, 384)

It imports neither decoders nor stores, so that it stays quick to import. ``embedder`` does: it is for those
who hold typed instances, and is not imported here.
"""

from model.encoder import Vectors
from serving.client.http_client import PathserveClient, ServiceFault
from serving.client.image import Image
from serving.errors import Fault

__all__ = ["Fault", "Image", "PathserveClient", "ServiceFault", "Vectors"]
