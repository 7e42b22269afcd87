"""The one error that the local stack shows to people."""

import click


class StackError(click.ClickException):
    """Something a person can put right: one sentence with what is wrong and what to do. Exit status 1."""
