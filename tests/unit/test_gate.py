"""Background work makes room for generation and still goes on, by a clock that tests turn."""

from __future__ import annotations

import pytest
from comfy_assets_node.comfy_assets.background.interruption import Cancelled, CancelToken, Throttle

PATIENCE, TURN = 30.0, 1.5


class Clock:
    """Time that passes only when someone sleeps or works; ``busy`` says when prompts are being executed."""

    def __init__(self, busy: list[tuple[float, float]]) -> None:
        self.now = 0.0
        self.busy = busy
        self.cancel_at: float | None = None

    def is_busy(self) -> bool:
        return any(start <= self.now < end for start, end in self.busy)

    def sleep(self, token: CancelToken, seconds: float) -> None:
        self.now += seconds
        if self.cancel_at is not None and self.now >= self.cancel_at:
            token.cancel()
        token.check()

    def gate(self) -> Throttle:
        return Throttle(self.is_busy, patience=PATIENCE, turn=TURN, clock=lambda: self.now, sleep=self.sleep)


def _work(clock: Clock, until: float, step: float = 0.1) -> float:
    """Pass the gate for one small piece of work after another; answers the seconds of work done."""
    gate, token, done = clock.gate(), CancelToken(), 0.0
    while clock.now < until:
        gate.wait(token)
        clock.now += step
        done += step
    return done


def test_idle_work_is_never_held_back() -> None:
    clock = Clock([])
    assert _work(clock, 10) == pytest.approx(10, abs=0.2)


def test_blocks_while_a_prompt_executes_and_goes_on_after() -> None:
    clock = Clock([(5, 20)])
    gate, token = clock.gate(), CancelToken()
    gate.wait(token)
    clock.now = 5
    gate.wait(token)
    assert clock.now == pytest.approx(20, abs=0.1)
    assert not gate.is_closed


def test_tells_when_it_is_closed() -> None:
    clock = Clock([(0, 10)])
    seen: list[bool] = []
    gate = Throttle(
        clock.is_busy,
        patience=PATIENCE,
        turn=TURN,
        clock=lambda: clock.now,
        sleep=lambda token, s: (seen.append(gate.is_closed), clock.sleep(token, s))[1],
    )
    assert not gate.is_closed
    gate.wait(CancelToken())
    assert seen and all(seen)
    assert not gate.is_closed


@pytest.mark.parametrize(
    ("prompts", "lowest", "highest"),
    [
        ([(0.0, 10_000.0)], 0.04, 0.06),  # one endless prompt
        ([(s, s + 1.98) for s in range(0, 10_000, 2)], 0.03, 0.12),  # short ones, with moments between them
        ([(s, s + 28.99) for s in range(0, 10_000, 29)], 0.03, 0.08),  # each a little shorter than patience
        ([(s, s + 10.0) for s in range(0, 10_000, 20)], 0.45, 0.6),  # as much idle as busy
    ],
)
def test_a_queue_that_never_empties_does_not_starve_it(
    prompts: list[tuple[float, float]], lowest: float, highest: float
) -> None:
    clock = Clock(prompts[:150])
    until = min(clock.busy[-1][1], 3000.0)
    fraction = _work(clock, until, step=0.02) / until
    assert lowest <= fraction <= highest


def test_cancel_while_held_back() -> None:
    clock = Clock([(0, 10_000)])
    clock.cancel_at = 3
    with pytest.raises(Cancelled):
        clock.gate().wait(CancelToken())
    assert clock.now == pytest.approx(3, abs=0.1)


def test_cancelled_work_does_not_pass_an_open_gate() -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        Clock([]).gate().wait(token)


def test_patience_begins_anew_after_a_long_rest() -> None:
    clock = Clock([(0, 20), (40, 400)])
    gate, token = clock.gate(), CancelToken()
    gate.wait(token)
    assert clock.now == pytest.approx(20, abs=0.1)
    clock.now = 39
    gate.wait(token)
    clock.now = 40
    gate.wait(token)
    assert clock.now == pytest.approx(40 + PATIENCE, abs=0.1)


def test_work_that_is_on_hold_rests_until_it_is_released() -> None:
    clock = Clock([])
    gate, token = clock.gate(), CancelToken()
    gate.hold()
    clock.cancel_at = 100.0
    with pytest.raises(Cancelled):
        gate.wait(token)
    assert (clock.now, gate.is_closed, gate.is_on_hold) == (pytest.approx(100.0, abs=0.1), True, True)
    gate.release()
    gate.wait(CancelToken())
    assert (gate.is_closed, gate.is_on_hold) == (False, False)
