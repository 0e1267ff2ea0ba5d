"""Two ends of the link on a serial line, over every fault: Python and the firmware's C, in either role."""

from __future__ import annotations

import json
import random

import pytest
from click.testing import CliRunner
from lines import FAULTS, KEY, Pair

from cutlayer_boards.spec import board
from cutlayer_host.bench_link import board_parameters, measure
from cutlayer_host.bench_link import link as bench_link
from cutlayer_host.body import Parameters
from cutlayer_host.line import Faults
from cutlayer_host.link import LostReason

ENDS = [("python", "python"), ("python", "firmware"), ("firmware", "python"), ("firmware", "firmware")]
BOARDS = {
    "node": board_parameters(board("qemu_mps2_an386"), sealed=False),
    "small": Parameters(max_payload=128, window_bytes=300, window_frames=2),
    "wide": Parameters(max_payload=512, window_bytes=8192, window_frames=17),
}

every_fault = pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
every_pair = pytest.mark.parametrize(("host", "board"), ENDS, ids=["-".join(pair) for pair in ENDS])
every_board = pytest.mark.parametrize("parameters", BOARDS.values(), ids=BOARDS)


def _messages(count: int, max_payload: int, rng: random.Random) -> list[bytes]:
    return [rng.randbytes(rng.choice((1, 8, rng.randint(1, max_payload), max_payload))) for _ in range(count)]


@every_fault
@every_pair
@every_board
def test_messages_arrive_in_order_and_once(
    faults: Faults, host: str, board: str, parameters: Parameters
) -> None:
    for seed in range(3):
        pair = Pair(host, board, faults, parameters=parameters, seed=seed)
        pair.connect()
        rng = random.Random(seed)
        down = _messages(60, parameters.max_payload, rng)
        up = _messages(60, parameters.max_payload, rng)
        pair.send(down, up)
        pair.settle()
        assert pair.host_inbox.payloads == up
        assert pair.board_inbox.payloads == down
        assert pair.host_inbox.lost == pair.board_inbox.lost == []
        assert pair.board_inbox.connected == 1


@every_fault
@every_pair
def test_questions_and_answers_go_to_and_fro(faults: Faults, host: str, board: str) -> None:
    """One message at a time: nothing comes after a lost one that could show it."""
    pair = Pair(host, board, faults, parameters=BOARDS["node"], seed=5)
    pair.connect()
    for number in range(40):
        question = number.to_bytes(2, "little")
        pair.send([question], [])
        pair.line.run(lambda wanted=number + 1: len(pair.board_inbox.payloads) == wanted, 1e6)
        pair.send([], [question * 100])
        pair.line.run(lambda wanted=number + 1: len(pair.host_inbox.payloads) == wanted, 1e6)
    assert pair.host_inbox.lost == []


@every_fault
@every_pair
def test_a_new_connection_starts_afresh(faults: Faults, host: str, board: str) -> None:
    pair = Pair(host, board, faults, parameters=BOARDS["node"], seed=7)
    for turn in range(3):
        pair.connect()
        pair.host_inbox.payloads.clear()
        pair.board_inbox.payloads.clear()
        down, up = [bytes([turn]) * 500] * 6, [bytes([turn, 1])] * 6
        pair.send(down, up)
        if turn < 2:
            # Leaves the rest of it on the line.
            pair.line.run(lambda: len(pair.board_inbox.payloads) >= 2, 1e6)
        else:
            pair.settle()
            assert pair.board_inbox.payloads == down
            assert pair.host_inbox.payloads == up


@every_pair
def test_a_cut_line_is_noticed(host: str, board: str) -> None:
    pair = Pair(host, board, Faults(), parameters=BOARDS["node"], seed=1)
    pair.connect()
    pair.line.faults = Faults(loss=1.0)
    pair.send([b"into the void"], [])
    pair.line.run(lambda: bool(pair.host_inbox.lost), 20_000.0)
    assert 9_900 <= pair.line.now_ms <= 11_000
    if host == "python":
        assert pair.host_inbox.lost[0].reason is LostReason.SILENT


@every_pair
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
def test_the_same_seed_gives_the_same_run(host: str, board: str, key: bytes | None) -> None:
    faults, ends = FAULTS["10% loss, 5% corruption"], []
    for _ in range(2):
        pair = Pair(host, board, faults, parameters=BOARDS["node"], seed=3, key=key)
        pair.connect()
        line = pair.line
        pair.send([bytes(400)] * 20, [])
        # A board's sealed connection begins with the host's first sealed frame.
        line.run(lambda inbox=pair.board_inbox: bool(inbox.payloads), 60_000.0)
        pair.send([], [bytes(400)] * 20)
        pair.settle()
        ends.append((line.now_ms, line.to_board.sent_bytes, line.to_host.sent_bytes, line.to_host.faults))
    assert ends[0] == ends[1]


@every_fault
@pytest.mark.parametrize("baud", [57_600, 115_200])
def test_a_slow_line_sends_nothing_twice_without_need(faults: Faults, baud: int) -> None:
    pair = Pair("python", "firmware", faults, parameters=BOARDS["node"], seed=1, baud=baud)
    pair.connect()
    longest = [bytes([number]) * BOARDS["node"].max_payload for number in range(12)]
    pair.send(longest, longest)
    pair.settle()
    again = pair.host.sent_again + pair.board.state.data_resent  # type: ignore[union-attr]
    lost = pair.line.to_board.faults + pair.line.to_host.faults
    assert again <= 3 * lost
    if not lost:
        assert again == 0


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("direction", ["up", "down", "both"])
@pytest.mark.parametrize("latency_ms", [1.0, 4.0])
@pytest.mark.parametrize("seed", range(3))
def test_goodput_is_nine_tenths_of_the_line(
    seed: int, direction: str, latency_ms: float, sealed: bool
) -> None:
    parameters = board_parameters(board("qemu_mps2_an386"), sealed=sealed)
    run = measure(direction, board=parameters, sealed=sealed, latency_ms=latency_ms, seed=seed)
    assert run.fraction >= 0.90
    assert run.line_bytes_per_second == 92_160
    assert run.frames_sent_again == 0


@pytest.mark.parametrize("direction", ["up", "down"])
def test_goodput_survives_one_bad_frame_in_a_hundred(direction: str) -> None:
    assert measure(direction, board=BOARDS["node"], loss=0.01, tensors=64).fraction >= 0.85


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("baud", [57_600, 115_200])
def test_a_very_bad_line_is_slow_but_not_lost(baud: int, seed: int) -> None:
    """Time-outs that tensors made long must not add up to a silence that ends the link.

    With time-outs of up to 4 s, four of these twelve lost it.
    """
    faults = FAULTS["10% loss, 5% corruption"]
    pair = Pair("python", "firmware", faults, parameters=BOARDS["node"], seed=seed, baud=baud)
    pair.connect()
    received = pair.board_inbox.payloads, pair.host_inbox.payloads
    turns = (*[(bytes(12), 1, 0), (bytes(20), 0, 1)] * 6, (bytes(520), 4, 0), (bytes(520), 0, 8))
    for _ in range(30):
        for message, down, up in turns:
            wanted = len(received[0]) + down, len(received[1]) + up
            pair.send([message] * down, [message] * up)
            pair.line.run(lambda wanted=wanted: (len(received[0]), len(received[1])) == wanted, 1e7)
    assert pair.host_inbox.lost == pair.board_inbox.lost == []


def test_the_command_prints_one_json_object() -> None:
    result = CliRunner().invoke(bench_link, ["--json", "--tensors", "4"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    for connection in (report, report["sealed"]):
        assert min(connection[direction]["fraction"] for direction in ("up", "down", "both")) >= 0.90
        assert connection["bad_line"]["kept"] > 0
    assert report["sealed"]["board"]["max_payload"] < report["board"]["max_payload"]
    table = CliRunner().invoke(bench_link, ["--tensors", "2"])
    assert table.exit_code == 0, table.output
