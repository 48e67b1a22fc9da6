"""From an address to a store."""

from __future__ import annotations

from dicom_io.web.gcs import parse_gcs_uri
from serving.archive.stores.folder import FolderStore
from serving.archive.stores.store import OutputStore
from serving.output.files import OutputError


def open_store(address: str) -> OutputStore:
    """Return the store at ``gs://BUCKET[/FOLDER]``, or in a folder.

    Raises
    ------
    OutputError
        When the address is malformed.
    """
    if not address.startswith("gs://"):
        return FolderStore(address)
    try:
        uri = parse_gcs_uri(address, folder=True)
    except ValueError as error:
        raise OutputError(f"{address} {error}.") from None
    from serving.archive.stores.bucket import BucketStore  # noqa: PLC0415 - takes a second to import

    return BucketStore(uri)
