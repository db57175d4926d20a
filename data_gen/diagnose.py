"""Run `python -m data_gen.diagnose`; see commands/diagnose.py."""

from data_gen.common.errors import run_command

if __name__ == "__main__":
    run_command("data_gen.commands.diagnose")
