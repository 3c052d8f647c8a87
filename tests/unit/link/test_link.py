"""Client and server of the link, over a real socket."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pictofs.errors import CacheUnusable
from pictofs.link import Client, LinkLost, Peer, Server, peer
from pictofs.link.messages import Ask, Cancel, Changed, Done, Failed, Look, Moved, Reply, Request, Told
from pictofs.link.server import _Conversation

from .conftest import Recorder, Running


def connected(running: Running) -> Client:
    client = Client(running.path)
    client.connect()
    return client


def received(client: Client, count: int) -> list[Reply]:
    got: list[Reply] = []
    while len(got) < count:
        assert select.select([client], [], [], 10)[0], f"only {got} arrived"
        got += client.receive()
    return got


def test_requests_and_answers_pass_both_ways_and_receive_never_blocks(running: Running) -> None:
    running.recorder.answer = lambda peer, message: peer.send(Done(message.id))
    client = connected(running)
    assert client.receive() == []
    client.send(Look(client.next_id(), 1))
    client.send(Look(client.next_id(), 2, True))
    assert received(client, 2) == [Done(1), Done(2)]
    running.recorder.until(lambda: running.recorder.messages == [Look(1, 1), Look(2, 2, True)])
    assert running.recorder.peers[0].who == (os.getpid(), os.geteuid())
    client.close()


def test_a_client_that_goes_away_is_noticed(running: Running) -> None:
    client = connected(running)
    client.close()
    running.recorder.until(lambda: len(running.recorder.gone) == 1)
    assert not client.connected
    with pytest.raises(LinkLost):
        client.send(Cancel(1))


def test_the_end_of_the_server_is_told_once_after_everything_that_came_before(running: Running) -> None:
    client = connected(running)
    running.recorder.until(lambda: len(running.recorder.peers) == 1)
    running.call(lambda: running.recorder.peers[0].send(Changed([(1, "é")], [5])))
    running.stop()
    assert client.receive() == [Changed([(1, "é")], [5])]
    with pytest.raises(LinkLost, match="has ended"):
        client.receive()
    assert not client.connected


def test_a_lost_client_connects_again_with_nothing_left_over(running: Running) -> None:
    client = connected(running)
    running.recorder.until(lambda: len(running.recorder.peers) == 1)
    running.call(running.recorder.peers[0].close)
    assert select.select([client], [], [], 10)[0]
    with pytest.raises(LinkLost):
        client.receive()
    running.recorder.answer = lambda peer, message: peer.send(Done(message.id))
    client.connect()
    client.send(Look(client.next_id(), 1))
    assert received(client, 1) == [Done(1)]
    client.close()


def test_what_the_socket_does_not_take_is_kept_and_flushed_in_order(tmp_path: Path) -> None:
    path = str(tmp_path / "fetch.sock")
    with socket.socket(socket.AF_UNIX) as listener, peer.reachable(path) as short:
        listener.bind(short)
        listener.listen()
        client = Client(path)
        client.connect()
        other, _ = listener.accept()
        with other:
            sent = 0
            while not client.wants_write:
                client.send(Ask(client.next_id(), "advise", {"paths": "x" * 100_000}))
                sent += 1
            client.send(Cancel(9))
            arrived = bytearray()
            other.settimeout(10)
            while client.wants_write:
                arrived += other.recv(1 << 20)
                client.flush()
            client.close()
            while data := other.recv(1 << 20):
                arrived += data
    from pictofs.link.frames import Frames

    messages = Frames(Request).feed(arrived)
    assert [message.id for message in messages] == [*range(1, sent + 1), 9]


def test_nobody_listening_is_link_lost(tmp_path: Path) -> None:
    with pytest.raises(LinkLost, match="No such file"):
        Client(str(tmp_path / "fetch.sock")).connect()


def test_a_socket_of_another_user_is_refused_on_both_ends_naming_cache_dir(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    client = Client(running.path)
    with pytest.raises(CacheUnusable, match="cache_dir"):
        client.connect()
    assert running.recorder.peers == []
    monkeypatch.setattr("pictofs.link.client.refuse_foreign", lambda peer, path: None)
    client.connect()
    (failed,) = received(client, 1)
    assert isinstance(failed, Failed)
    assert failed.exit_code == 2
    assert "cache_dir" in failed.what
    assert running.recorder.peers == []
    client.close()


def test_a_socket_path_longer_than_the_kernel_takes_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    running = Running(str(folder / "fetch.sock"))
    try:
        assert len(running.path) > peer.PATH_LIMIT_BYTES
        client = connected(running)
        client.send(Cancel(3))
        running.recorder.until(lambda: running.recorder.messages == [Cancel(3)])
        client.close()
    finally:
        running.stop()


def test_a_dead_socket_file_is_replaced_and_the_socket_is_gone_after_close(running: Running) -> None:
    assert os.stat(running.path).st_mode & 0o777 == 0o600
    running.stop()
    assert not os.path.exists(running.path)
    with socket.socket(socket.AF_UNIX) as dead, peer.reachable(running.path) as path:
        dead.bind(path)
    again = Running(running.path)
    try:
        connected(again).close()
        again.recorder.until(lambda: len(again.recorder.gone) == 1)
    finally:
        again.stop()


def test_garbage_from_a_peer_ends_its_connection_and_no_other(running: Running) -> None:
    good = connected(running)
    with socket.socket(socket.AF_UNIX) as bad, peer.reachable(running.path) as path:
        bad.connect(path)
        bad.sendall(b"\0\0\0\3abc")
        bad.settimeout(10)
        assert bad.recv(1) == b""
    good.send(Cancel(1))
    running.recorder.until(lambda: running.recorder.messages == [Cancel(1)])
    good.close()


def answering(*replies: Reply) -> Callable[[Peer, Request], None]:
    def answer(peer: Peer, message: Request) -> None:
        for reply in replies:
            peer.send(reply)

    return answer


def test_exchange_waits_for_its_own_answer_and_keeps_what_is_for_others(running: Running) -> None:
    changed = Changed([], [7])
    running.recorder.answer = answering(Moved(1), changed, Done(99), Told(1, {"ok": True}), Moved(4))
    client = connected(running)
    assert client.exchange(Ask(client.next_id(), "status"), 10) == Told(1, {"ok": True})
    assert select.select([client], [], [], 10)[0], "what came after the answer is seen by a selector"
    assert received(client, 3) == [changed, Done(99), Moved(4)]
    client.close()


def test_exchange_ends_with_the_connection(running: Running) -> None:
    client = connected(running)
    running.recorder.answer = lambda peer, message: peer.close()
    with pytest.raises(LinkLost):
        client.exchange(Ask(client.next_id(), "status"), 10)
    assert not client.connected


def test_exchange_ends_when_nothing_comes(running: Running) -> None:
    client = connected(running)
    with pytest.raises(TimeoutError):
        client.exchange(Ask(client.next_id(), "status"), 0.05)
    client.close()


def test_a_connection_that_is_made_while_the_server_closes_is_closed_too(tmp_path: Path) -> None:
    recorder = Recorder()

    async def late() -> None:
        server = Server(str(tmp_path / "s"), recorder)
        await server.start()
        server.close()
        ours, theirs = socket.socketpair()
        with theirs:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_unix_connection(lambda: _Conversation(server), sock=ours)
            assert transport.is_closing()
            assert await loop.run_in_executor(None, theirs.recv, 1) == b""

    asyncio.run(late())
    assert not recorder.peers
