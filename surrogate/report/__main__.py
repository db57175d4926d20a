"""Run `python -m surrogate.report`; see commands/report.py."""

from data_gen.common.errors import run_command

if __name__ == "__main__":
    run_command("surrogate.commands.report")
