"""Evaluate a trained run: `python evaluate.py run=runs/mine`, see `--help`."""

from data_gen.common.errors import run_command

if __name__ == "__main__":
    run_command("surrogate.commands.evaluate")
