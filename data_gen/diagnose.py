"""Run `python -m data_gen.diagnose`; see commands/diagnose.py."""

from data_gen.commands.diagnose import main

if __name__ == "__main__":
    main()
