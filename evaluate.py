"""Evaluate a trained run: `python evaluate.py run=runs/mine`, see `--help`."""

from surrogate.commands.evaluate import main

if __name__ == "__main__":
    main()
