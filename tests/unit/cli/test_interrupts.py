"""Ctrl-C. Goal: signals that come together are one interrupt, and the program's own handling comes back."""

import signal
import threading

import pytest

from kvspic.commands.interrupts import one_interrupt_at_a_time


def test_signals_that_come_together_interrupt_once():
    with one_interrupt_at_a_time():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_somebody_else_is_left_alone():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with one_interrupt_at_a_time():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_changes_nothing():
    seen = []

    def work():
        with one_interrupt_at_a_time():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
