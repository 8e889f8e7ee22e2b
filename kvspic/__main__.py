"""``python -m kvspic``: the command line, see kvspic.cli."""

from kvspic.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
