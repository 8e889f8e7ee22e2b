"""Helpers for tests of programs that use kvspic, and runners of recorded examples."""

__all__: list[str] = []
