"""How a run went, as a picture and as JSON beside the output."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from datetime import UTC, datetime

from matplotlib.figure import Figure

from serving.archive import layout
from serving.archive.job import as_json
from serving.archive.stores.store import OutputStore
from serving.archive.submitting import Sample


def write_summary(store: OutputStore, samples: Sequence[Sample], now: datetime) -> str:
    """Write how a run went; return the picture's name in the output."""
    name = f"{layout.RUNS}/{now.astimezone(UTC):%Y%m%dT%H%M%S.%f}"
    last = samples[-1]
    facts = {
        "seconds": last.seconds,
        "patches_per_second": rate(samples),
        "status": dataclasses.asdict(last.status),
        "samples": [[round(one.seconds, 1), one.status.done, one.status.whole] for one in samples],
    }
    store.put(f"{name}.json", as_json(facts))
    store.put(f"{name}.png", picture(samples))
    return f"{name}.png"


def rate(samples: Sequence[Sample]) -> float:
    """Return patches a second of this run, from its first look to its last."""
    first, last = samples[0], samples[-1]
    seconds = last.seconds - first.seconds
    return (last.status.done - first.status.done) / seconds if seconds > 0 else 0.0


def picture(samples: Sequence[Sample]) -> bytes:
    """Return a PNG: patches that are done over time, and slides that are whole."""
    minutes = [one.seconds / 60 for one in samples]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    patches = figure.subplots()
    patches.plot(minutes, [one.status.done for one in samples], color="tab:blue", label="patches")
    patches.plot(minutes, [one.status.patches for one in samples], color="0.7", label="patches planned")
    patches.set(
        xlabel="minutes", ylabel="patches", title=f"{rate(samples):,.0f} patches a second", ylim=(0, None)
    )
    slides = patches.twinx()
    slides.step(
        minutes, [one.status.whole for one in samples], where="post", color="tab:orange", label="slides"
    )
    slides.set(ylabel="slides that are whole", ylim=(0, None))
    figure.legend(loc="outside lower center", ncols=3)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()
