"""The settings of slides that Techcyte sends links to, and of what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, FilePath, model_validator

from serving.config.group import Group, StringList, setting

_GIBIBYTE = 1 << 30
QC_FINDINGS = ("empty", "blur", "pen")
"""What ``qc`` may find, as the setting of its reasons calls it."""


def _is_absolute(folder: Path) -> Path:
    if not folder.is_absolute():
        raise ValueError("must be an absolute path")
    return folder


class TechcyteDownloadSettings(Group):
    """From where slides are downloaded, where to, and how much of them."""

    hosts: StringList = setting(
        "PATHSERVE_TECHCYTE_DOWNLOAD_HOSTS",
        None,
        "Hosts (`host` or `host:port`), as a JSON list or separated by commas, from which slides are "
        "downloaded though their addresses are private, and to which links may be redirected. Others must "
        "be public, and are not left.",
    )
    folder: Annotated[Path, AfterValidator(_is_absolute)] | None = setting(
        "PATHSERVE_TECHCYTE_FOLDER",
        None,
        "Where slides are kept while their task is at work; by default `.cache/pathserve/techcyte` in the "
        "user's home.",
    )
    max_file_bytes: int = setting(
        "PATHSERVE_TECHCYTE_MAX_FILE_BYTES",
        16 * _GIBIBYTE,
        "Files of scans that are larger, packed or unpacked, are refused.",
        ge=1,
    )
    max_task_bytes: int = setting(
        "PATHSERVE_TECHCYTE_MAX_TASK_BYTES",
        64 * _GIBIBYTE,
        "What the files of all scans of a task may take on disk.",
        ge=1,
    )
    keep_free_bytes: int = setting(
        "PATHSERVE_TECHCYTE_KEEP_FREE_BYTES",
        2 * _GIBIBYTE,
        "What is left free on the disk of PATHSERVE_TECHCYTE_FOLDER: downloads end before.",
        ge=0,
    )


class TechcyteAnalysisSettings(Group):
    """What is made of the slides of a task."""

    um_per_px: float = setting(
        "PATHSERVE_TECHCYTE_UM_PER_PX",
        0.5,
        "Resolution of the patches that are embedded, and in which `qc` looks for blur, in µm a pixel.",
        gt=0,
        le=32,
    )
    max_patches: int = setting(
        "PATHSERVE_TECHCYTE_MAX_PATCHES",
        50_000,
        "Patches with tissue that one scan may have; more are refused with their number.",
        ge=1,
        le=1_000_000,
    )
    reference: FilePath | None = setting(
        "PATHSERVE_TECHCYTE_REFERENCE",
        None,
        "What `similar` looks for: vectors of patches that show it, a Parquet or HDF5 file as "
        "`pathserve embed` writes it. Without it `similar` says so.",
    )
    most_similar: int = setting(
        "PATHSERVE_TECHCYTE_MOST_SIMILAR",
        20,
        "Patches that `similar` marks as the most similar ones.",
        ge=1,
        le=1000,
    )
    clusters: int = setting("PATHSERVE_TECHCYTE_CLUSTERS", 6, "Clusters that `cluster` makes.", ge=2, le=12)
    head: FilePath | None = setting(
        "PATHSERVE_TECHCYTE_HEAD",
        None,
        "File of the head that `classify` uses (`pathserve head train` makes one). Without it `classify` "
        "says so.",
    )
    provider: str = setting(
        "PATHSERVE_TECHCYTE_PROVIDER",
        "pathserve",
        "Who makes the analyses, as Techcyte shows it.",
    )
    least_tissue: float = setting(
        "PATHSERVE_TECHCYTE_QC_LEAST_TISSUE",
        0.005,
        "Share of the slide, 0 to 1, below which `qc` calls it empty.",
        ge=0,
        le=1,
    )
    blurred_from: float = setting(
        "PATHSERVE_TECHCYTE_QC_BLURRED_FROM",
        0.5,
        "Blur effect, 0 (sharp) to 1, from which `qc` calls a patch out of focus.",
        gt=0,
        le=1,
    )
    most_blurred: float = setting(
        "PATHSERVE_TECHCYTE_QC_MOST_BLURRED",
        0.25,
        "Share of the tissue, 0 to 1, that may be out of focus.",
        ge=0,
        le=1,
    )
    most_pen: float = setting(
        "PATHSERVE_TECHCYTE_QC_MOST_PEN",
        0.005,
        "Share of the slide, 0 to 1, that may be marked by a pen.",
        ge=0,
        le=1,
    )
    qc_reasons: StringList = setting(
        "PATHSERVE_TECHCYTE_QC_REASONS",
        None,
        "Names that your company at Techcyte has for what `qc` finds, as a JSON list or separated by commas: "
        "`empty=No tissue,blur=blurry,pen=Pen marks`. What has no name here is in the report alone.",
    )

    @model_validator(mode="after")
    def _reasons_are_known(self) -> Self:
        self.reasons_by_finding()
        return self

    def reasons_by_finding(self) -> dict[str, str]:
        """Return the company's names by what is found."""
        pairs = [item.partition("=") for item in self.qc_reasons or ()]
        found = {name.strip(): reason.strip() for name, _, reason in pairs}
        if len(found) < len(pairs) or not set(found) <= set(QC_FINDINGS) or not all(found.values()):
            raise ValueError(
                f"PATHSERVE_TECHCYTE_QC_REASONS must have each of {', '.join(QC_FINDINGS)} at most once, "
                "followed by = and a name"
            )
        return found
