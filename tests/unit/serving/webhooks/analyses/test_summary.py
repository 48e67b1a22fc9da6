from __future__ import annotations

from serving.webhooks.analyses.areas import Area
from serving.webhooks.analyses.summary import Summary


def test_it_says_what_was_done_with_what_and_that_it_is_for_research() -> None:
    summary = Summary(
        patches=12345,
        tissue=0.614,
        um_per_px=0.5,
        model="Path Foundation (sha256:ab)",
        untrained=False,
        head="tumour 3",
        areas=(Area("Tumour", "#FF0000", (), 5000, 0.405),),
        remarks=("The heat map could not be uploaded.",),
    )
    assert summary.text().splitlines() == [
        "12,345 patches at 0.5 µm/px; 61% of the region is tissue.",
        "Model: Path Foundation (sha256:ab). Head: tumour 3.",
        "Tumour: 5,000 patches (40.5%)",
        "The heat map could not be uploaded.",
        "For research use only; not for diagnosis.",
    ]


def test_random_weights_are_said_to_mean_nothing() -> None:
    text = Summary(1, None, 0.25, "ViT", untrained=True).text()
    assert text.startswith("1 patch at 0.25 µm/px.\n")
    assert "UNTRAINED" in text
    assert "Head" not in text
