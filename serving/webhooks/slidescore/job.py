"""The handlers of the jobs: from what was asked to the array that Slide Score shows."""

from __future__ import annotations

import numpy as np
import orjson
from pydantic import SecretBytes

from dicom_io.errors import ImageCode, ImageError
from dicom_io.web.credentials import BearerToken
from serving.config.settings import Settings
from serving.config.slidescore_group import SlideScoreSettings
from serving.heads.file import read_head
from serving.heads.head import Head, HeadError
from serving.webhooks.analyses import regions
from serving.webhooks.analyses.errors import AnalysisError
from serving.webhooks.analyses.patches import Int64Array
from serving.webhooks.embedding import NotEmbedded
from serving.webhooks.jobs.handler import Closing, JobContext, JobFailed, JobKind
from serving.webhooks.slidescore import analysis, results
from serving.webhooks.slidescore.anno2 import heat_map_anno2
from serving.webhooks.slidescore.body import AnalysisName, Asked
from serving.webhooks.slidescore.client import SlideScoreClient
from serving.webhooks.slidescore.plan import Plan, exemplar_origins, lattice, whole
from serving.webhooks.slidescore.servers import Server, Servers
from serving.webhooks.slidescore.slide import Slide, open_slide

ANALYSE = "slidescore.analyse"
RELEASE = "slidescore.release"
"""The two kinds of jobs: an analysis, and giving a token up after a request that could not become one."""


class Jobs:
    """Handlers for one process.

    Raises
    ------
    HeadError
        When the configured head cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings: SlideScoreSettings = settings.slidescore
        self._servers = Servers(settings)
        self._head = None if self._settings.head is None else read_head(self._settings.head)

    def kinds(self) -> dict[str, JobKind]:
        """Return the handlers by the names of their jobs."""
        return {
            ANALYSE: JobKind(self.analyse, self.give_token_up),
            RELEASE: JobKind(lambda _: b"[]", self.give_token_up),
        }

    def analyse(self, context: JobContext) -> bytes:
        """Make an analysis and return its results as JSON."""
        try:
            asked = Asked.of_payload(context.payload)
            return orjson.dumps(
                _Analysis(self._settings, self._server(asked), self._head, context, asked).run()
            )
        except (AnalysisError, HeadError, NotEmbedded) as error:
            message = str(error)
        except ImageError as error:
            message = error.description
        raise JobFailed(message, orjson.dumps(results.failure(message)))

    def give_token_up(self, closing: Closing) -> None:
        """Give a token up, once: after a crash in the middle of it, ask first whether it still works."""
        asked = Asked.of_payload(closing.payload)
        server = self._servers.get(asked.server)
        if server is None or closing.secret is None or self._settings.keep_token:
            return
        client = _client(server, closing.secret, asked.image_id, closing)
        if closing.is_repeated and not client.token_works():
            return
        client.give_up_token(closing.waits.deadline)

    def _server(self, asked: Asked) -> Server:
        server = self._servers.get(asked.server)
        if server is None:
            raise AnalysisError("This Slide Score server is not served any more; ask the operator.")
        return server


class _Analysis:
    """One analysis on its way."""

    def __init__(
        self,
        settings: SlideScoreSettings,
        server: Server,
        head: Head | None,
        context: JobContext,
        asked: Asked,
    ) -> None:
        self._settings = settings
        self._context = context
        self._asked = asked
        self._head = head
        if context.secret is None:
            raise ImageError(
                ImageCode.INVALID_CREDENTIALS_ERROR, "The analysis' token is not known any more."
            )
        self._client = _client(server, context.secret, asked.image_id, context)
        self._server = server

    def run(self) -> list[results.Result]:
        """Make it.

        Raises
        ------
        AnalysisError, HeadError, NotEmbedded, ImageError
            What the user is told; anything else is a fault of the service.
        """
        self._require_head()
        asked, context = self._asked, self._context
        context.progress("reading the slide")
        wanted = asked.um_per_px or self._settings.um_per_px
        slide = open_slide(self._client, self._server, wanted, context.waits)
        self._require_fitting_head(slide.scale.um_per_px)
        exemplars = (
            np.empty((0, 2), np.int64)
            if asked.exemplar is None
            else exemplar_origins(asked.exemplar, slide.facts, slide.scale)
        )
        plan = self._plan(slide, len(exemplars))
        (of_exemplars, vectors), made = slide.embed(
            [exemplars, plan.origins],
            context.embedder,
            lambda done, of: context.progress(f"{done} of {of} patches"),
        )
        context.progress("drawing the results")
        scale = slide.scale
        embedded = analysis.Embedded(
            plan, vectors, scale.side, scale.um_per_px, context.embedder.metadata, made
        )
        finding = self._find(embedded, analysis.Exemplars(exemplars, of_exemplars))
        uploaded, remarks = self._upload(finding, plan)
        return [*uploaded, *finding.shown, embedded.summary(finding, self._used_head, remarks)]

    @property
    def _used_head(self) -> Head | None:
        return self._head if self._asked.analysis is AnalysisName.CLASSIFY else None

    def _require_head(self) -> None:
        """Raise before anything is read where the analysis has no head."""
        if self._asked.analysis is AnalysisName.CLASSIFY and self._head is None:
            raise AnalysisError(
                "classify has no head: the operator sets PATHSERVE_SLIDESCORE_HEAD to a file that "
                "`pathserve head train` has made."
            )

    def _require_fitting_head(self, um_per_px: float) -> None:
        """Raise before patches are read where the head is for others, as far as the encoder is known."""
        digest = self._context.embedder.metadata.get("digest")
        if self._used_head is not None and digest is not None:
            self._used_head.require(str(digest), um_per_px)

    def _find(self, embedded: analysis.Embedded, exemplars: analysis.Exemplars) -> analysis.Finding:
        if self._used_head is not None:
            return analysis.classes(embedded, self._used_head)
        if self._asked.analysis is AnalysisName.SIMILAR:
            return analysis.similar(embedded, exemplars, self._settings.most_similar)
        return analysis.clusters(embedded, self._asked.clusters or self._settings.clusters)

    def _plan(self, slide: Slide, exemplars: int) -> Plan:
        """Return the patches with tissue.

        Raises
        ------
        AnalysisError
            When there are none, or too many.
        """
        region = whole(slide.facts) if self._asked.region is None else self._asked.region
        region = regions.clip(region, slide.facts.width, slide.facts.height)
        origins: Int64Array = lattice(region, slide.facts, slide.scale)
        self._context.progress("looking for tissue")
        shown = slide.tissue(origins, region)
        if not shown.any():
            raise AnalysisError("The region shows no tissue; choose another one.")
        count, most = int(shown.sum()) + exemplars, self._settings.max_patches
        most = most if self._asked.max_patches is None else min(most, self._asked.max_patches)
        if count > most:
            raise AnalysisError(
                f"The region has {count} patches with tissue at {slide.scale.um_per_px:g} µm a pixel, and at "
                f"most {most} are analysed; choose a smaller region or a lower magnification."
            )
        return Plan(region, origins[shown], float(shown.mean()))

    def _upload(
        self, finding: analysis.Finding, plan: Plan
    ) -> tuple[tuple[results.Result, ...], tuple[str, ...]]:
        """Upload the heat map, and return it with what there is to say about it."""
        if finding.heat is None:
            return (), ()
        name, heat = finding.heat
        builder = results.Builder(plan.region)
        if not builder.can_show(heat):
            return (), ("There is no heat map: the region is smaller than a patch.",)
        archive = heat_map_anno2(builder.checked(heat), name)
        self._context.require_lease()
        try:
            uuid = self._client.upload_anno2(archive)
        except ImageError as error:
            return (), (f"The heat map could not be uploaded and is missing here: {error.description}",)
        return (results.anno2(name, uuid, "Turbo"),), ()


def _client(server: Server, secret: SecretBytes, image_id: int, of: JobContext | Closing) -> SlideScoreClient:
    token = BearerToken(secret.get_secret_value().decode("ascii"))
    return SlideScoreClient(server.transport, token, image_id, of.waits)
