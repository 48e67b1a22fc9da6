"""``pathserve check``: what would run, tried for real, in this process."""

from __future__ import annotations

import os
import sys

import numpy as np

from model.batching import EncoderBroken
from model.encoder import PATCH_SIDE, EncoderFacts, ModelError, PixelBatch, reason_of
from model.golden.guard import GuardedEncoder
from serving.config.exit_status import ExitStatus
from serving.config.group import variable_of
from serving.config.settings import Settings, variables
from serving.pipeline.encoder_loading import load_configured_encoder
from serving.processes.assembly import require_usable
from serving.processes.tracing import require_traces
from serving.telemetry.json_log import log_as_json

SECRETS = ("HF_TOKEN",)
"""Variables that other libraries read and whose values are never shown."""


def smooth_patch() -> PixelBatch:
    """Return the patch whose vector is shown: smooth gradients, uint8 ``[1, 224, 224, 3]``."""
    ramp = np.arange(PATCH_SIDE)
    red, green = np.meshgrid(ramp, ramp)
    return np.stack([red, green, (red + green) // 2], axis=-1).astype(np.uint8)[np.newaxis]


def check(settings: Settings) -> ExitStatus:
    """Print settings, model, device, precision and a golden vector; return an exit status.

    Raises
    ------
    SettingsError
        When a setting cannot be used.
    """
    log_as_json("WARNING", process="check")
    _print_settings(settings)
    require_usable(settings)
    require_traces(settings)
    try:
        loaded = load_configured_encoder(settings.encoder)
    except ModelError as error:
        print(f"pathserve: {error}", file=sys.stderr)
        return ExitStatus.MISCONFIGURED
    encoder, facts = loaded.encoder, loaded.encoder.facts
    try:
        vector = encoder.embed(smooth_patch())[0]
    except Exception as error:  # TensorFlow raises many kinds
        print(f"pathserve: the model does not embed the smooth patch: {reason_of(error)}.", file=sys.stderr)
        return ExitStatus.MISCONFIGURED
    _print_model(facts)
    print("smooth patch")
    print(f"  vector    {' '.join(f'{number:.6g}' for number in vector[:6])} …")
    print(f"  norm      {np.linalg.norm(vector):.6g}")
    if not np.isfinite(vector).all():
        print("pathserve: the model's vector has numbers that are not finite.", file=sys.stderr)
        return ExitStatus.FAULT
    if not _print_golden(loaded):
        return ExitStatus.FAULT
    if facts.precision != settings.encoder.precision:
        print(
            f"pathserve: PATHSERVE_PRECISION={settings.encoder.precision} is not kept: {facts.parity}.",
            file=sys.stderr,
        )
        return ExitStatus.FAULT
    return ExitStatus.OK


def _print_golden(loaded: GuardedEncoder) -> bool:
    """Print whether the golden patches are reproduced; return whether that is as it should be."""
    print("golden patches")
    if loaded.guard is None:
        print("  none: no golden file lies with the weights, and PATHSERVE_GOLDEN is not set")
        return True
    print(f"  digest    {loaded.guard.digest}")
    try:
        finding = loaded.guard.whole_round(loaded.encoder)
    except EncoderBroken as error:
        print(f"pathserve: the golden patches cannot be embedded: {error}.", file=sys.stderr)
        return False
    if finding.reproduced:
        print(f"  result    {finding}")
    else:
        print(f"pathserve: {finding}.", file=sys.stderr)
    return finding.reproduced


def _print_settings(settings: Settings) -> None:
    print("settings")
    for group, name, field in variables():
        print(f"  {variable_of(field)} = {getattr(getattr(settings, group), name)}")
    for name in SECRETS:
        print(f"  {name} is {'set (not shown)' if os.environ.get(name) else 'not set'}")


def _print_model(facts: EncoderFacts) -> None:
    print("model")
    print(f"  name      {facts.model}{' (UNTRAINED: its vectors mean nothing)' if facts.untrained else ''}")
    print(f"  signature float32 [None, {PATCH_SIDE}, {PATCH_SIDE}, 3] in 0..1 -> [None, {facts.dimension}]")
    print(f"  digest    {facts.digest}")
    print(f"  runtime   {facts.runtime}")
    print(f"  device    {facts.device}, batches of up to {facts.max_batch}")
    print(f"  precision {facts.precision}{': ' + facts.parity if facts.parity else ''}")
    if facts.reproducible:
        print("  reproducible: each patch is embedded alone")
