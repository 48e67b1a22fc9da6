"""Words that may stay."""

from __future__ import annotations

IMAGE_TYPE = (
    "ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "VOLUME", "THUMBNAIL", "LABEL", "OVERVIEW", "LOCALIZER",
    "NONE", "RESAMPLED", "MIXED",
)  # fmt: skip
"""Values of Image Type and Frame Type (PS3.3, C.8.12.4.1.1 and C.8.12.9.1); labels are refused, not passed over."""

PHOTOMETRIC = (
    "MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "XYB",
)  # fmt: skip

COMPRESSION_METHODS = (
    "ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15", "ISO_18181_1",
)  # fmt: skip
"""Values of Lossy Image Compression Method (PS3.3, C.7.6.1.1.5.1)."""

COLOUR_SPACES = ("SRGB", "ADOBERGB", "ROMMRGB", "DISPLAYP3")

MAKERS = frozenset({
    "3DHISTECH", "Aperio", "Aperio Technologies", "Bionovation", "Carl Zeiss Microscopy", "Epredia", "Grundium",
    "Hamamatsu", "Hamamatsu Photonics", "Huron", "Huron Digital Pathology", "Huron Technologies", "KFBIO",
    "Leica", "Leica Biosystems", "Leica Microsystems", "Mikroscan", "MoticEasyScan", "Motic", "OMERO", "Olympus",
    "OptraSCAN", "Philips", "Philips Medical Systems", "PreciPoint", "Roche", "Roche Diagnostics", "Sakura Finetek",
    "Evident", "Pramana", "Ventana", "Ventana Medical Systems", "ZEISS", "wsidicomizer", "com.pixelmed",
})  # fmt: skip
"""Makers of scanners and converters, which a study of batch effects needs to know."""

MODELS = frozenset({
    "Aperio AT2", "Aperio CS2", "Aperio GT 450", "Aperio GT 450 DX", "AT2", "CS2", "GT450", "GT450 DX", "ScanScope",
    "ScanScope AT", "ScanScope CS", "ScanScope XT", "SCN400", "Versa 8", "Axio Scan.Z1", "Axioscan 7", "DP 200",
    "DP 600", "iScan", "iScan Coreo", "iScan HT", "VENTANA DP 200", "VENTANA DP 600", "IntelliSite",
    "Ultra Fast Scanner", "UFS", "SG20", "SG60", "SG300", "NanoZoomer", "NanoZoomer 2.0-HT", "NanoZoomer S20",
    "NanoZoomer S60", "NanoZoomer S210", "NanoZoomer S360", "NanoZoomer S360MD", "NanoZoomer S540", "NanoZoomer XR",
    "C9600-12", "C12000-22", "C13210", "C13220", "C13239", "C16600", "Pannoramic 250", "Pannoramic 1000",
    "Pannoramic DESK", "Pannoramic MIDI", "Pannoramic SCAN", "P250", "P480", "P1000", "VS120", "VS200",
    "TissueScope", "TissueScope LE", "TissueScope iQ", "Ocus", "Ocus 20", "Ocus 40", "O8", "M8",
})  # fmt: skip
