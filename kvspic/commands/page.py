"""Showing the page of a local endpoint in a browser."""

from __future__ import annotations

import webbrowser

import click

__all__ = ["open_page"]


def open_page(url: str) -> None:
    """Open ``url`` in the user's browser; a machine without one gets a sentence with the address."""
    try:
        is_open = webbrowser.open(url)
    except webbrowser.Error:
        is_open = False
    if not is_open:
        click.echo(f"kvspic: no browser could be started here; open {url} yourself.", err=True)
