"""Signals end commands with one line and the status 128 + signal; what saves between two steps ends after the step."""

import os
import signal
import time

import pytest

from data_gen.common.errors import one_paragraph, run_command
from data_gen.common.interruption import ENDING, Interrupted, Interruption, ended_at_once


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", ENDING)
def test_a_command_ends_with_one_line(number, capsys):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended:
        one_paragraph(send)(number)
    assert ended.value.code == 128 + number
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"Ended by {number.name}. ")
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [*ENDING, signal.SIGUSR1])
def test_the_first_signal_is_noted_and_a_second_ctrl_c_ends_at_once(number):
    with Interruption() as interruption:
        assert interruption.caught == 0
        send(number)
        assert interruption.caught == number
        with pytest.raises(Interrupted) as ended:
            send(signal.SIGINT)
        assert ended.value.number == signal.SIGINT


def test_a_signal_where_nothing_can_be_raised_is_not_lost():
    """Python drops what is raised while it collects garbage, or in `__del__`."""

    class Sending:
        def __del__(self):
            send(signal.SIGTERM)

    with pytest.raises(Interrupted), ended_at_once():
        Sending()
        time.sleep(5)


def test_ignored_signals_stay_ignored():
    """As SIGHUP is under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            send(signal.SIGHUP)
            assert interruption.caught == 0
        with ended_at_once():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_while_a_command_is_imported_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "a_command.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_command("a_command")
    assert ended.value.code == 128 + signal.SIGINT
    assert len(capsys.readouterr().err.splitlines()) == 1
