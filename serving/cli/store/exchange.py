"""``pathserve store send``, ``pull`` and ``export``: slides to and from other places."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from serving.cli.store.giving import WHO
from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings, SettingsError
from serving.errors import Code, ServiceError
from serving.store.access.audit import Event, Result
from serving.store.deidentify.key import load_key
from serving.store.deidentify.mapping import KEY_NAME
from serving.store.index.query import Stored
from serving.store.ingest.outcome import Door, Origin
from serving.store.peers.c_store import CStoreSender
from serving.store.peers.export import ExportFailed, export
from serving.store.peers.http import PeerFailed, Web
from serving.store.peers.ledger import NAME as LEDGER
from serving.store.peers.ledger import Ledger
from serving.store.peers.peer import BadPeers, NodePeer, Peer, WebPeer, read_peers
from serving.store.peers.pulling import Pulling
from serving.store.peers.sender import Sender, Verified
from serving.store.peers.sending import Sending
from serving.store.peers.slicebox import SliceboxSource
from serving.store.peers.source import DicomWebSource, Remote
from serving.store.peers.stow import StowSender
from serving.store.service.parts import Parts, open_ingest
from serving.store.uids import is_uid

_MEGABYTE = 1e6


def send(options: argparse.Namespace, settings: Settings, parts: Parts) -> ExitStatus:
    """Send studies to a peer."""
    peer = _peer(options.peer, settings)
    instances = _instances(parts, options.studies)
    ledger = Ledger(parts.folder / LEDGER)
    with _sender(peer, instances, settings) as sender:
        sending = Sending(parts.folder, sender, ledger, parts.audit, peer.name, WHO)
        transfer = sending.send(instances, again=options.again)
    there = transfer.verified
    print(
        f"{transfer.sent} instances sent ({transfer.size / _MEGABYTE:.1f} MB), {transfer.skipped} were sent "
        f"before; at {peer.name} {there[Verified.SAME]} are the same, {there[Verified.THERE]} are there, "
        f"{there[Verified.OTHER]} have other bytes, {there[Verified.MISSING]} are missing"
    )
    if transfer.failure:
        print(f"pathserve: {transfer.failure} The next run goes on from here.", file=sys.stderr)
    return ExitStatus.OK if transfer.is_whole else ExitStatus.FAULT


def pull(options: argparse.Namespace, settings: Settings, parts: Parts) -> ExitStatus:
    """Take in a study of a peer."""
    peer = _peer(options.peer, settings)
    if not isinstance(peer, WebPeer):
        raise SettingsError(f"{peer.name} is a DICOM node; pull needs a peer of kind dicomweb or slicebox")
    for uid in (options.study, options.series):
        if uid is not None and not is_uid(uid):
            raise ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, "STUDY and SERIES must be DICOM UIDs.")
    ingest = open_ingest(parts, settings)
    try:
        with Web(peer) as web:
            source = SliceboxSource(web) if peer.kind == "slicebox" else DicomWebSource(web)
            origin = Origin(Door.PULL, f"pull:{peer.name}")
            pulling = Pulling(source, ingest, origin, _already_here(parts))
            pulled = pulling.pull(options.study, options.series)
    finally:
        ingest.close()
    refused = sum(pulled.reasons.values())
    print(f"{pulled.stored} instances stored, {pulled.skipped} were here, {refused} refused")
    for reason, count in pulled.reasons.items():
        print(f"{count} refused: {reason}")
    if pulled.failure:
        print(f"pathserve: {pulled.failure} The next run goes on from here.", file=sys.stderr)
    elif not pulled.has_any:
        print(f"pathserve: {peer.name} has nothing of this study.", file=sys.stderr)
    return ExitStatus.OK if pulled.is_whole and pulled.has_any else ExitStatus.FAULT


def export_studies(options: argparse.Namespace, _: Settings, parts: Parts) -> ExitStatus:
    """Write studies to a folder or a ZIP file."""
    instances = _instances(parts, options.studies)
    try:
        done = export(parts.folder, instances, options.target)
    except ExportFailed as failure:
        parts.audit.write(Event.EXPORT, WHO, options.studies, Result.FAILED)
        print(f"pathserve: {failure}", file=sys.stderr)
        return ExitStatus.FAULT
    parts.audit.write(Event.EXPORT, WHO, options.studies, Result.SUCCESS, instances=done.instances)
    print(f"{done.instances} instances written ({done.size / _MEGABYTE:.1f} MB)")
    return ExitStatus.OK


def _peer(name: str, settings: Settings) -> Peer:
    path = settings.slide_store.peers_file
    if path is None:
        raise SettingsError("PATHSERVE_STORE_PEERS_FILE is not set: it names the peers; see docs/store.md")
    try:
        peers = read_peers(path, allow_http=settings.stores.allow_http)
    except BadPeers as error:
        raise SettingsError(f"bad setting: PATHSERVE_STORE_PEERS_FILE: {error}") from error
    if name not in peers:
        raise SettingsError(f"{path} has no peer {name!r}; there are {', '.join(sorted(peers)) or 'none'}")
    return peers[name]


def _sender(peer: Peer, instances: Sequence[Stored], settings: Settings) -> Sender:
    if isinstance(peer, NodePeer):
        kinds = [(stored.sop_class, stored.transfer_syntax) for stored in instances]
        try:
            return CStoreSender(peer, kinds, settings.ingest.ae_title)
        except PeerFailed as error:
            raise ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, str(error)) from None
    if peer.kind == "slicebox":
        raise SettingsError(f"{peer.name} is a Slicebox; send needs a peer of kind dicom or dicomweb")
    return StowSender(peer)


def _instances(parts: Parts, studies: Sequence[str]) -> list[Stored]:
    found: list[Stored] = []
    for study in dict.fromkeys(studies):
        instances = parts.index.instances(study) if is_uid(study) else []
        if not instances:
            raise ServiceError(Code.NOT_FOUND_ERROR, f"There is no study {study!r} in this store.")
        found += instances
    return found


def _already_here(parts: Parts) -> Callable[[Remote], bool]:
    """Return what says whether an instance of original UIDs is here, under those that the key gives."""
    key = load_key(parts.folder / KEY_NAME)

    def has(remote: Remote) -> bool:
        if not remote.sop:
            return False
        study, sop = key.uid(remote.study), key.uid(remote.sop)
        if remote.series:
            return parts.index.instance(study, key.uid(remote.series), sop) is not None
        return any(stored.sop == sop for stored in parts.index.instances(study))

    return has
