"""The commands of ``kvspic``, one module each; the package imports nothing by itself, click and rich least of all."""

__all__: list[str] = []
