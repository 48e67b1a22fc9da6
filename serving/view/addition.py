"""The page as an addition to the service: one folder of slides behind its door and its kind of source."""

from __future__ import annotations

from dicom_io.sources.session import ReadContext
from serving.config.settings import Settings
from serving.heads.head import Head
from serving.http.app import Additions
from serving.pipeline.predictor import Predictor
from serving.view.door import view_door
from serving.view.folder import SlideFolder
from serving.view.source import view_kind


def view_addition(
    settings: Settings, predictor: Predictor, context: ReadContext, head: Head | None
) -> Additions:
    """Return what the page adds to the service of one process."""
    folder = SlideFolder(settings.view.folder, context)
    return Additions(
        lambda keys: (view_door(settings, predictor, context, folder, keys, head),), (view_kind(folder),)
    )
