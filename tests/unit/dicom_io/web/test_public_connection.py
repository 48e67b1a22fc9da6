from __future__ import annotations

import pytest

from dicom_io.web.public_connection import is_metadata_service, is_this_machine


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "::a9fe:a9fe"),
        *("[fd00:ec2::254]", "fd20:ce::254", "fe80::a9fe:a9fe%eth0", "100.100.100.200", "168.63.129.16"),
        *("192.0.0.192", "metadata.google.internal", "Metadata.Google.Internal.", "metadata.goog"),
    ],
)
def test_metadata_services_are_known_in_every_writing(host: str) -> None:
    assert is_metadata_service(host)


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "10.0.0.1", "127.0.0.1", "100.64.0.1", "metadata.example.org", "store.org", "fd00::1"]
)
def test_other_hosts_are_no_metadata_services(host: str) -> None:
    assert not is_metadata_service(host)


def test_this_machine_is_known_in_every_writing() -> None:
    for address in ("127.0.0.1", "127.9.9.9", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "::127.0.0.1"):
        assert is_this_machine(address), address
    for address in ("169.254.1.1", "fe80::1%eth0", "64:ff9b::7f00:1", "2002:7f00:1::"):
        assert is_this_machine(address), address
    for address in ("10.0.0.1", "192.168.0.1", "8.8.8.8", "fd00::1", "2001:4860:4860::8888"):
        assert not is_this_machine(address), address
