"""UIDs of instances, held to their syntax before they become a path, a row or an address."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_io.web.series_path import is_uid

__all__ = ["InstanceUids", "is_uid"]


@dataclass(frozen=True, slots=True, order=True)
class InstanceUids:
    """The UIDs that name an instance.

    Raises
    ------
    ValueError
        When one of them is not a UID (PS3.5, section 9.1): what is made of them could lead anywhere.
    """

    study: str
    series: str
    sop: str

    def __post_init__(self) -> None:
        for what, uid in (("Study", self.study), ("Series", self.series), ("SOP", self.sop)):
            if not is_uid(uid):
                raise ValueError(f"its {what} Instance UID is not a UID of digits and dots, at most 64")
