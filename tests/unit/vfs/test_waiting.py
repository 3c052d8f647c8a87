"""Operations that wait: sharing, patience, interruption, and a link that breaks."""

from __future__ import annotations

import errno

import pytest

from pictofs.link.messages import Ask, Cancel, Done, Failed, Look, Moved, Want
from tests.unit.vfs.bench import Bench, Link


def test_equal_requests_are_sent_once_and_answer_all_who_wait(bench: Bench) -> None:
    node = bench.node("org/Cars/images")
    bench.link.holding = True
    waiting = [bench.begin(bench.vfs.readdir, node, 0, 10) for _ in range(5)]
    waiting += [bench.begin(bench.vfs.lookup, node, name) for name in ("a", "nothing")]
    assert len(bench.link.held) == 1
    bench.link.let_go()
    bench.vfs.deliver()
    assert all(one.ended and not one.errno for one in waiting)


def test_one_object_is_wanted_once_however_many_read_it(bench: Bench) -> None:
    node = bench.node("org/Cars/images/a/b/1.jpg")
    bench.link.holding = True
    readers = [bench.begin(bench.vfs.read, node, offset, 10) for offset in range(0, 90, 10)]
    assert len(bench.link.requests(Want)) == 1
    bench.link.let_go()
    bench.vfs.deliver()
    assert all(reader.value.pieces for reader in readers)
    assert bench.body(node) == bench.world.datasets["Cars"].images["a/b/1.jpg"].body


def test_without_progress_for_timeout_a_wait_ends_in_eio_and_is_cancelled(bench: Bench) -> None:
    node = bench.node("org/Cars/images")
    bench.link.holding = True
    reader = bench.begin(bench.vfs.readdir, node, 0, 10)
    assert bench.vfs.tick() == pytest.approx(20.0)
    bench.pass_s(19.9)
    assert not reader.ended
    bench.pass_s(0.2)
    assert reader.errno == errno.EIO
    assert bench.link.sent[-1] == Cancel(bench.link.held[0].id, late=True)
    assert bench.vfs.tick() is None


def test_progress_starts_the_patience_anew(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.link.holding = True
    reader = bench.begin(bench.vfs.read, node, 0, 10)
    for _ in range(5):
        bench.pass_s(15)
        bench.link.unasked = [Moved(bench.link.held[0].id)]
        bench.vfs.deliver()
    assert not reader.ended
    bench.pass_s(21)
    assert reader.errno == errno.EIO


def test_who_joins_late_has_a_patience_of_its_own(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.link.holding = True
    first = bench.begin(bench.vfs.read, node, 0, 10)
    bench.pass_s(15)
    second = bench.begin(bench.vfs.read, node, 0, 10)
    bench.pass_s(6)
    assert (first.errno, second.ended) == (errno.EIO, False)
    bench.link.let_go()
    bench.vfs.deliver()
    assert second.value.pieces


def test_an_interrupt_ends_one_wait_at_once_and_cancels_only_the_last(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.link.holding = True
    first, second = (bench.begin(bench.vfs.read, node, 0, 10) for _ in range(2))
    first.ticket.interrupt()
    assert first.errno == errno.EINTR
    assert not bench.link.requests(Cancel)
    first.ticket.interrupt()
    second.ticket.interrupt()
    assert second.errno == errno.EINTR
    assert bench.link.requests(Cancel) == [Cancel(bench.link.held[0].id)]
    bench.link.let_go()
    bench.vfs.deliver()
    assert (first.times, second.times) == (1, 1)


def test_a_lookup_that_the_first_page_satisfies_does_not_cancel_the_listing(bench: Bench) -> None:
    node = bench.node("org/Cars/images")
    bench.link.holding = True
    reader = bench.begin(bench.vfs.lookup, node, "a")
    for reply in bench.world.steps(bench.link.held[0]):
        bench.link.unasked = [reply]
        bench.vfs.deliver()
        if isinstance(reply, Moved):
            break
    assert reader.value.attr is not None
    assert not bench.link.requests(Cancel)


def test_failed_is_the_errno_it_says_and_never_a_success(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.link.holding = True
    for said, seen in ((errno.EAGAIN,) * 2, (errno.ESTALE,) * 2, (0, errno.EIO), (-5, errno.EIO)):
        reader = bench.begin(bench.vfs.read, node, 0, 10)
        bench.link.unasked = [Failed(bench.link.held[-1].id, said, "why")]
        bench.vfs.deliver()
        assert reader.errno == seen


def test_answers_that_nobody_waits_for_are_ignored(bench: Bench) -> None:
    bench.link.unasked = [Done(4711), Moved(4712), Failed(4713, 5, "")]
    bench.vfs.deliver()


def test_when_the_link_breaks_what_is_here_is_served_and_what_is_wanted_is_wanted_again(bench: Bench) -> None:
    here, wanted = bench.node("org/Cars/images/top.jpg"), bench.node("org/Cars/images/a/b/1.jpg")
    assert bench.body(here) == b"top"
    lost: list[int] = []
    bench.vfs.on_link_lost = lambda: lost.append(1)
    bench.link.holding = True
    reader = bench.begin(bench.vfs.read, wanted, 0, 1000)
    bench.link.broken = True
    bench.vfs.deliver()
    assert lost == [1]
    assert bench.vfs.fileno() == -1
    assert bench.link.closed
    assert not reader.ended
    assert bench.body(here) == b"top"
    late = bench.begin(bench.vfs.read, bench.node("org/Cars/images/a/b/2.jpg"), 0, 1000)
    bench.link = Link(bench.world)
    bench.vfs.relink(bench.link)
    bench.vfs.deliver()
    assert reader.value.pieces
    assert late.value.pieces
    assert lost == [1]


def test_a_link_that_breaks_while_sending_is_found_when_it_is_read(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.link.broken = True
    reader = bench.begin(bench.vfs.read, node, 0, 10)
    assert not reader.ended
    bench.vfs.deliver()
    assert bench.vfs.fileno() == -1
    bench.link = Link(bench.world)
    bench.vfs.relink(bench.link)
    bench.vfs.deliver()
    assert reader.value.pieces


def test_a_link_that_stays_away_ends_waits_within_the_timeout(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.link.broken = True
    bench.vfs.deliver()
    reader = bench.begin(bench.vfs.read, node, 0, 10)
    bench.pass_s(20.1)
    assert reader.errno == errno.EIO


def test_a_stale_listing_is_served_when_the_link_stays_away(bench: Bench) -> None:
    node = bench.node("org/Cars/images")
    bench.entries(node)
    bench.pass_s(100)
    bench.link.broken = True
    bench.vfs.deliver()
    listing = bench.begin(bench.vfs.readdir, node, 0, 10)
    bench.pass_s(20.1)
    assert len(listing.value) == 2


def test_status_says_so_when_the_fetching_process_is_silent_or_gone(bench: Bench) -> None:
    folder = bench.node(".pictofs")
    bench.link.holding = True
    silent = bench.begin(bench.vfs.lookup, folder, "status.json")
    assert len(bench.link.requests(Ask)) == 1
    bench.pass_s(2.1)
    assert silent.value.attr.size_bytes > 100
    assert b'"online": false' in bench.body(silent.value.attr.node)
    bench.link.broken = True
    waiting = bench.begin(bench.vfs.lookup, folder, "status.json")
    bench.vfs.deliver()
    assert waiting.value.attr.size_bytes > 100
    assert bench.begin(bench.vfs.lookup, folder, "status.json").ended


def test_closing_ends_every_wait(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.link.holding = True
    reader = bench.begin(bench.vfs.read, node, 0, 10)
    bench.vfs.close()
    assert reader.errno == errno.ENOTCONN
    assert bench.link.closed
    bench.start()


def test_what_the_socket_did_not_take_is_sent_soon(bench: Bench) -> None:
    bench.link.wants_write = True
    assert bench.vfs.tick() is None
    assert not bench.link.wants_write


@pytest.mark.logs_traceback
def test_an_operation_that_goes_on_needing_ends(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    from pictofs.tree import Need

    def endless(asked: object) -> None:
        raise Need(Look(0, 1))

    bench.world.answer = lambda request: [Done(request.id)]  # type: ignore[method-assign]
    outcome = bench.begin(lambda done, fail: bench.vfs._run("endless", 1, "", endless, done, fail))
    for _ in range(100):
        bench.vfs.deliver()
    assert outcome.errno == errno.EIO
    assert "an operation ended in a fault" in caplog.text
