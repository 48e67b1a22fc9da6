"""The settings of the page at ``/view``."""

from __future__ import annotations

from pydantic import DirectoryPath, FilePath

from serving.config.group import Group, StringList, setting


class ViewSettings(Group):
    """What the page may open and show. Off, none of it is loaded."""

    is_on: bool = setting("PATHSERVE_VIEW", False, "Whether the page that shows slides is at `/view`.")
    folder: DirectoryPath | None = setting(
        "PATHSERVE_VIEW_FOLDER",
        None,
        "Folder of slides that the page lists and opens, those in folders below it included; needs "
        "`pathserve[slides]`.",
    )
    head: FilePath | None = setting(
        "PATHSERVE_VIEW_HEAD",
        None,
        "File of the head whose scores the page shows (`pathserve head train` makes one).",
    )
    hosts: StringList = setting(
        "PATHSERVE_VIEW_HOSTS",
        None,
        "Names by which browsers reach the page, as a JSON list or separated by commas; `localhost` and "
        "addresses in numbers always do. Other names are answered 403, against DNS rebinding.",
    )
