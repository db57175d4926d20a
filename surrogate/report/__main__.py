"""Run `python -m surrogate.report`; see commands/report.py."""

from surrogate.commands.report import main

if __name__ == "__main__":
    main()
