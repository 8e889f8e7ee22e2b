"""What moves the core: a turn drains its actions and finds the next deadline; asyncio or a thread repeats turns."""

__all__: list[str] = []
