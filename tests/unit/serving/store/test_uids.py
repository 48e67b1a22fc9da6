"""UIDs are digits and dots before anything is made of them."""

from __future__ import annotations

import pytest

from serving.store.uids import InstanceUids


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "1.", ".1", "1..2", "1" * 65, "1.2\n", "a", "1/2", "1\\2", "\uff11"]
)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_what_is_not_a_uid_is_refused_wherever_it_stands(bad: str, position: int) -> None:
    uids = ["1.2.3", "4.5", "6"]
    InstanceUids(*uids)
    uids[position] = bad
    with pytest.raises(ValueError, match="UID"):
        InstanceUids(*uids)
