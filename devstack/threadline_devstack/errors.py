"""The error that the devstack shows to people."""

import click


class StackError(click.ClickException):
    """An error that a person can correct: what is wrong and what to do. Exit status 1."""
