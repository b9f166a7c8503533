"""What all commands share: they are loaded when they are asked for, and their help fits 80 columns.

A group of commands knows names, panels and one line about each from a listing; the module that brings
a command is imported when the command runs, when its own help is shown, or when its options are
completed. Help is plain text: an option's name is never cut, whatever the width.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

UsageError: Any = typer.BadParameter.__mro__[1]
"""The base of what the command line's parser raises; typer exports its subclass alone."""


class Entry(NamedTuple):
    """Where a command is, and what it is for.

    Attributes:
        module: has `register(app)`; relative to the package of the listing.
        about: one sentence.
    """

    module: str
    about: str


Listing = Mapping[str, Mapping[str, Entry]]
"""Commands by the panel of the help in which they stand, and by name."""


class HelpfulCommand(TyperCommand):
    """A command whose options stand in panels, and that says where a settings file goes."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Plain help, as wide as the terminal and 100 columns at most."""
        super(TyperCommand, self).format_help(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options, each in its panel."""
        write_panels(self, ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; a settings file that stands bare is told where it belongs, and of an argument that
        is missing what it would be."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            files = [word for word in given if word.endswith(".toml")]
            if "extra argument" in error.message and files:
                error.message += f" Settings stand behind --config: --config {files[0]}"
            missing = getattr(error, "param", None)
            if missing is not None and not error.message:
                error.message = getattr(missing, "help", None) or ""
            raise


class HelpfulGroup(TyperGroup):
    """A group of commands with the same help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Plain help, as wide as the terminal and 100 columns at most."""
        super(TyperGroup, self).format_help(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options, and then the commands."""
        write_panels(self, ctx, formatter)
        for panel, rows in self.listed(ctx).items():
            _write_panel(panel, rows, formatter)

    def listed(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        """Names and what each command is for, by panel."""
        commands = [self.get_command(ctx, name) for name in self.list_commands(ctx)]
        return {"Commands": [(c.name or "", _first(c.help)) for c in commands if c is not None]}


class LazyGroup(HelpfulGroup):
    """A group whose commands are imported when they are asked for; see `lazy_group`."""

    package: str
    listing: Listing

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = LazyCommands(self.package, self.listing)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the listing."""
        return list(self.commands)

    def listed(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        """Names and what each command is for, by panel; nothing is imported."""
        return {
            panel: [(name, entry.about) for name, entry in entries.items()]
            for panel, entries in self.listing.items()
        }

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names that begin so; nothing is imported."""
        from typer import core

        item: Any = vars(core)["CompletionItem"]
        own = [row for rows in self.listed(ctx).values() for row in rows]
        found = [item(name, help=about) for name, about in own if name.startswith(incomplete)]
        return [*found, *super(TyperGroup, self).shell_complete(ctx, incomplete)]


class LazyCommands(MutableMapping[str, Any]):
    """Commands by name; one is imported when it is looked up."""

    def __init__(self, package: str, listing: Listing) -> None:
        self._package = package
        self._entries = {n: entry for entries in listing.values() for n, entry in entries.items()}
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        entry = self._entries[name]
        if name not in self._loaded:
            command = load_commands(f".{entry.module}", self._package)[name]
            command.help = command.help or entry.about
            self._loaded[name] = command
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def lazy_group(package: str, listing: Listing) -> type[LazyGroup]:
    """The class of a group with these commands, for `typer.Typer(cls=...)`."""
    return type("ListedGroup", (LazyGroup,), {"package": package, "listing": listing})


def load_commands(module: str, package: str) -> Mapping[str, Any]:
    """The commands that a module registers, by name, with our help."""
    app = typer.Typer()
    import_module(module, package).register(app)
    _make_helpful(app)
    return typer.main.get_group(app).commands


def _make_helpful(app: typer.Typer) -> None:
    for command in app.registered_commands:
        command.cls = HelpfulCommand
    for group in app.registered_groups:
        inner = group.typer_instance
        if inner is not None:
            own: Any = inner.info.cls
            lazy = isinstance(own, type) and issubclass(own, LazyGroup)
            group.cls = own if lazy else HelpfulGroup
            _make_helpful(inner)


def write_panels(command: Any, ctx: Any, formatter: Any) -> None:
    """A command's parameters: what it works on, its own options, and then panel by panel."""
    panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            bare = parameter.param_type_name == "argument"
            named = getattr(parameter, "rich_help_panel", None)
            panels.setdefault(named or ("Arguments" if bare else "Options"), []).append(record)
    for panel, rows in panels.items():
        _write_panel(panel, rows, formatter)


def _write_panel(panel: str, rows: Sequence[tuple[str, str]], formatter: Any) -> None:
    if rows:
        with formatter.section(_styled(panel, bold=True)):
            formatter.write_dl([(_styled(name, fg="cyan"), about) for name, about in rows])


def _styled(text: str, **style: Any) -> str:
    """Styled text; what is printed elsewhere than on a terminal loses the style again."""
    return text if os.environ.get("NO_COLOR") else typer.style(text, **style)


def _first(text: str | None) -> str:
    """The first paragraph on one line."""
    return " ".join((text or "").partition("\n\n")[0].split())
