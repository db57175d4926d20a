"""Run `python -m surrogate.export`; see commands/export.py."""

from surrogate.commands.export import main

if __name__ == "__main__":
    main()
