"""Run `python -m data_gen`; see commands/generate.py."""

from data_gen.commands.generate import run

if __name__ == "__main__":
    run()
