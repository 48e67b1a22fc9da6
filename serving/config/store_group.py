"""The settings of ``pathserve store``: its own, beside those that it shares with the service."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from serving.config.group import Group, Secret, StringList, setting

MEBIBYTE = 1 << 20


class SlideStoreSettings(Group):
    """Where the slide store keeps what, and who may ask it."""

    folder: Path | None = setting(
        "PATHSERVE_STORE_DIR",
        None,
        "Folder of the slide store: files, index, key, tokens and audit trail; made when it is missing.",
    )
    url: str | None = setting(
        "PATHSERVE_STORE_URL",
        None,
        "Address of the slide store's DICOMweb as clients name it, as `https://slides.example.org/dicomweb`; "
        "a `series_path` below it is read from PATHSERVE_STORE_DIR without HTTP.",
    )
    port: int = setting(
        "PATHSERVE_STORE_PORT",
        8082,
        "Port that `pathserve store serve` listens on, at PATHSERVE_HOST; 0 takes a free one.",
        ge=0,
        le=65535,
    )
    http_workers: int = setting(
        "PATHSERVE_STORE_WORKERS", 2, "HTTP worker processes of `pathserve store serve`.", ge=1, le=64
    )
    threads: int = setting(
        "PATHSERVE_STORE_THREADS",
        16,
        "Requests that each of these answers at once, uploads among them; twice as many may wait.",
        ge=2,
        le=64,
    )
    database: Secret = setting(
        "PATHSERVE_STORE_DATABASE",
        None,
        "Where the index is kept, as `postgresql+psycopg://user:password@host/name`; by default "
        "`index.sqlite` in PATHSERVE_STORE_DIR.",
    )
    tokens_file: Path | None = setting(
        "PATHSERVE_STORE_TOKENS_FILE",
        None,
        "TOML file of further tokens, by their SHA-256, with roles, studies and end; see docs/store.md.",
    )
    cors_origins: StringList = setting(
        "PATHSERVE_STORE_CORS_ORIGINS",
        None,
        "Origins, as `https://viewer.example.org`, whose pages may ask the slide store, as a JSON list or "
        "separated by commas. Unset allows none.",
    )
    peers_file: Path | None = setting(
        "PATHSERVE_STORE_PEERS_FILE",
        None,
        "TOML file of the peers that studies are sent to and pulled from; see docs/store.md.",
    )
    view_url: str | None = setting(
        "PATHSERVE_STORE_VIEW_URL",
        None,
        "Address of an embedding service's page, as `https://embed.example.org/view`: the slide store's page "
        "leads from each slide to it. Unset leads nowhere.",
    )
    retention_days: float | None = setting(
        "PATHSERVE_STORE_RETENTION_DAYS",
        None,
        "Studies that nothing was added to for so many days are deleted. Unset keeps all.",
        gt=0,
        le=36_600,
    )
    audit_bytes: int = setting(
        "PATHSERVE_STORE_AUDIT_BYTES",
        64 * MEBIBYTE,
        "A file of the audit trail that is larger is put aside, and a new one begun.",
        ge=4096,
    )
    audit_files: int = setting(
        "PATHSERVE_STORE_AUDIT_FILES",
        1000,
        "Files of the audit trail that are kept; beyond them, the oldest is deleted.",
        ge=1,
        le=1_000_000,
    )

    @property
    def is_read_here(self) -> bool:
        """Whether the service reads the store's slides from its files."""
        return self.folder is not None and self.url is not None


class IngestSettings(Group):
    """What comes into the slide store, and how."""

    deidentify: Literal["always"] = setting(
        "PATHSERVE_STORE_DEIDENTIFY", "always", "Whether instances are de-identified on import."
    )
    max_instance_bytes: int = setting(
        "PATHSERVE_STORE_MAX_INSTANCE_BYTES", 16 << 30, "Larger instances are refused.", ge=1 << 16
    )
    min_free_bytes: int = setting(
        "PATHSERVE_STORE_MIN_FREE_BYTES",
        1 << 30,
        "With less free space on the disk of PATHSERVE_STORE_DIR, nothing is taken in (507, A700H).",
        ge=0,
    )
    watch: Path | None = setting(
        "PATHSERVE_STORE_WATCH", None, "Folder from which new files are taken in. Unset watches none."
    )
    watch_quiet_s: float = setting(
        "PATHSERVE_STORE_WATCH_QUIET_S",
        10.0,
        "A file of the watched folder is taken in when it has not changed for so long.",
        gt=0,
        le=86_400,
    )
    watch_mode: Literal["link", "move"] = setting(
        "PATHSERVE_STORE_WATCH_MODE",
        "link",
        "`link` leaves files of the watched folder where they are; `move` removes each once the store has "
        "it.",
    )
    converter: Path | None = setting(
        "PATHSERVE_STORE_CONVERTER",
        None,
        "Python of an environment that has wsidicomizer, which converts slides of vendors' formats to DICOM; "
        "by default this one, where wsidicomizer is installed.",
    )
    dimse_port: int | None = setting(
        "PATHSERVE_STORE_DIMSE_PORT",
        None,
        "Port of the DICOM node (C-STORE, C-FIND, C-ECHO), at PATHSERVE_HOST; 0 takes a free one. Unset "
        "opens none.",
        ge=0,
        le=65535,
    )
    ae_title: str = setting(
        "PATHSERVE_STORE_AE_TITLE",
        "PATHSERVE",
        "AE title of the slide store; others are refused.",
    )
    ae_peers: StringList = setting(
        "PATHSERVE_STORE_AE_PEERS",
        None,
        "Calling AE titles that may send, as a JSON list or separated by commas. Unset admits none.",
    )
    ae_finders: StringList = setting(
        "PATHSERVE_STORE_AE_FINDERS",
        None,
        "Calling AE titles that may query all studies (C-FIND), as a JSON list or separated by commas. Unset "
        "admits none.",
    )
