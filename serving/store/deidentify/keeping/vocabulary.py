"""Words that may stay."""

from __future__ import annotations

IMAGE_TYPE = (
    "ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "VOLUME", "THUMBNAIL", "LABEL", "OVERVIEW", "LOCALIZER",
    "NONE", "RESAMPLED", "MIXED",
)  # fmt: skip
"""Values of Image Type and Frame Type (PS3.3, C.8.12.4.1.1 and C.8.12.9.1). Labels are refused."""

PHOTOMETRIC = (
    "MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "XYB",
)  # fmt: skip

COMPRESSION_METHODS = (
    "ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15", "ISO_18181_1",
)  # fmt: skip
"""Values of Lossy Image Compression Method (PS3.3, C.7.6.1.1.5.1)."""

COLOUR_SPACES = ("SRGB", "ADOBERGB", "ROMMRGB", "DISPLAYP3")

MAKERS = frozenset({
    "3DHISTECH", "Aperio", "Aperio Technologies", "Bionovation", "Carl Zeiss Microscopy", "com.pixelmed",
    "Epredia", "Evident", "Grundium", "Hamamatsu", "Hamamatsu Photonics", "Huron",
    "Huron Digital Pathology", "Huron Technologies", "KFBIO", "Leica", "Leica Biosystems",
    "Leica Microsystems", "Mikroscan", "Motic", "MoticEasyScan", "Olympus", "OMERO", "OptraSCAN",
    "Philips", "Philips Medical Systems", "Pramana", "PreciPoint", "Roche", "Roche Diagnostics",
    "Sakura Finetek", "Ventana", "Ventana Medical Systems", "wsidicomizer", "ZEISS",
})  # fmt: skip
"""Makers of scanners and converters, which a study of batch effects needs to know."""

MODELS = frozenset({
    "Aperio AT2", "Aperio CS2", "Aperio GT 450", "Aperio GT 450 DX", "AT2", "Axio Scan.Z1", "Axioscan 7",
    "C12000-22", "C13210", "C13220", "C13239", "C16600", "C9600-12", "CS2", "DP 200", "DP 600", "GT450",
    "GT450 DX", "IntelliSite", "iScan", "iScan Coreo", "iScan HT", "M8", "NanoZoomer",
    "NanoZoomer 2.0-HT", "NanoZoomer S20", "NanoZoomer S210", "NanoZoomer S360", "NanoZoomer S360MD",
    "NanoZoomer S540", "NanoZoomer S60", "NanoZoomer XR", "O8", "Ocus", "Ocus 20", "Ocus 40", "P1000",
    "P250", "P480", "Pannoramic 1000", "Pannoramic 250", "Pannoramic DESK", "Pannoramic MIDI",
    "Pannoramic SCAN", "ScanScope", "ScanScope AT", "ScanScope CS", "ScanScope XT", "SCN400", "SG20",
    "SG300", "SG60", "TissueScope", "TissueScope iQ", "TissueScope LE", "UFS", "Ultra Fast Scanner",
    "VENTANA DP 200", "VENTANA DP 600", "Versa 8", "VS120", "VS200",
})  # fmt: skip
