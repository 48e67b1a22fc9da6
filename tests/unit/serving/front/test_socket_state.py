from __future__ import annotations

import socket

from serving.front.socket_state import is_of_this_machine


def test_who_has_this_machine_s_address_is_on_it_and_who_has_gone_is_not_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as theirs:
            assert is_of_this_machine(theirs)
        assert not is_of_this_machine(listener)
    one, other = socket.socketpair()
    with one, other:
        assert is_of_this_machine(one)
    assert not is_of_this_machine(one)
