"""The settings: one frozen object of groups, read from the environment once, when the command starts.

A bad value stops the start with a sentence that names the variable; so does a misspelt variable.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from serving.config.group import Group, is_secret, variable_of
from serving.config.groups import (
    CommandSettings,
    EncoderSettings,
    HttpSettings,
    ImageSettings,
    LogSettings,
    RequestSettings,
    SharedFolders,
    StoreSettings,
)
from serving.config.magnification_group import MagnificationSettings
from serving.config.slidescore_group import SlideScoreSettings
from serving.config.store_group import IngestSettings, SlideStoreSettings
from serving.config.techcyte_group import TechcyteSettings
from serving.config.techcyte_slides_group import TechcyteAnalysisSettings, TechcyteDownloadSettings
from serving.config.trace_group import TraceSettings
from serving.config.view_group import ViewSettings
from serving.config.webhook_groups import JobSettings, WebhookSettings

_PREFIX = "PATHSERVE_"

# Kubernetes puts the addresses of its namespace's services into each pod's environment, as docker's links do.
# With a service named ``pathserve`` or ``pathserve-…``, these variables exist though no user set them.
_OF_CLUSTER = re.compile(r"_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$")
_CLUSTER_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class SettingsError(Exception):
    """The environment holds a value that the service cannot run with."""


class Settings(BaseModel):
    """What the service runs with: a new group is one class and one line here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    http: HttpSettings = HttpSettings()
    requests: RequestSettings = RequestSettings()
    encoder: EncoderSettings = EncoderSettings()
    stores: StoreSettings = StoreSettings()
    images: ImageSettings = ImageSettings()
    magnification: MagnificationSettings = MagnificationSettings()
    log: LogSettings = LogSettings()
    webhooks: WebhookSettings = WebhookSettings()
    jobs: JobSettings = JobSettings()
    slidescore: SlideScoreSettings = SlideScoreSettings()
    techcyte: TechcyteSettings = TechcyteSettings()
    techcyte_downloads: TechcyteDownloadSettings = TechcyteDownloadSettings()
    techcyte_analyses: TechcyteAnalysisSettings = TechcyteAnalysisSettings()
    slide_store: SlideStoreSettings = SlideStoreSettings()
    ingest: IngestSettings = IngestSettings()
    view: ViewSettings = ViewSettings()
    traces: TraceSettings = TraceSettings()
    command: CommandSettings = CommandSettings()
    shared: SharedFolders = SharedFolders()


def variables() -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield (name of the group, name of the field, field) of every setting that a variable sets."""
    for group, field in Settings.model_fields.items():
        if isinstance(kind := field.annotation, type) and issubclass(kind, Group):
            for name, member in kind.model_fields.items():
                yield group, name, member


VARIABLES = frozenset(variable_of(field) for _, _, field in variables())
"""The names of all variables that are settings."""

_SECRET = frozenset(variable_of(field) for _, _, field in variables() if is_secret(field))


def load_settings(
    overrides: Mapping[str, Any] | None = None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Read the settings from the environment.

    Parameters
    ----------
    overrides:
        Values by variable name that win over the environment.
    environment:
        Text by variable name, in any case. Empty text counts as unset.

    Raises
    ------
    SettingsError
        With one sentence for each variable that is not a setting, else one for each that holds a bad value.
    """
    given = {name.upper(): text for name, text in environment.items() if text}
    # A cluster's service named ``pathserve-store`` sets PATHSERVE_STORE_PORT to an address of its own.
    values = {n: text for n, text in given.items() if not _is_of_cluster(n, text)} | dict(overrides or {})
    if unknown := [_unknown(name) for name in values if _is_misspelt(name, values[name])]:
        raise SettingsError(" ".join(unknown))
    groups: dict[str, dict[str, Any]] = {}
    for group, _, field in variables():
        if (variable := variable_of(field)) in values:
            groups.setdefault(group, {})[variable] = values[variable]
    try:
        return Settings.model_validate(groups)
    except ValidationError as error:
        raise SettingsError("bad setting: " + "; ".join(_lines(error))) from None


def _lines(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        where = [str(step) for step in fault["loc"][1:]]  # without the group
        shown = "" if not where or where[0] in _SECRET else f" (got {fault['input']!r})"
        yield f"{'.'.join(where)}: {fault['msg']}{shown}"


def _is_misspelt(name: str, value: object) -> bool:
    """Return whether a variable is ours by its name, but no setting and not a cluster's."""
    if not name.startswith(_PREFIX) or name in VARIABLES or _is_of_cluster(name, value):
        return False
    return not _OF_CLUSTER.search(name)


def _is_of_cluster(name: str, value: object) -> bool:
    return name.startswith(_PREFIX) and name.endswith("_PORT") and bool(_CLUSTER_ADDRESS.match(str(value)))


def _unknown(name: str) -> str:
    # The prefix is left out: it would make any two names look alike.
    known = {variable.removeprefix(_PREFIX): variable for variable in sorted(VARIABLES)}
    asked = name.removeprefix(_PREFIX)
    nearest = difflib.get_close_matches(asked, known, n=1)
    nearest += [full for full in known if set(asked.split("_")) <= set(full.split("_"))]
    if nearest:
        return f"{name} is not a setting; did you mean {known[nearest[0]]}?"
    return f"{name} is not a setting; `pathserve check` prints all settings."
