"""Run `python -m surrogate.export`; see commands/export.py."""

from data_gen.common.errors import run_command

if __name__ == "__main__":
    run_command("surrogate.commands.export")
