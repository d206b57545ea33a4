"""The colours of the panes: theme variables resolved to terminal styles, once for a theme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rich.style import Style
from textual.color import Color

if TYPE_CHECKING:
    from textual.theme import Theme

_SPECS: Final[dict[str, tuple[str, str, str]]] = {
    # name: (foreground variable, background variable, attributes)
    "text": ("foreground", "", ""),
    "strong": ("foreground", "", "bold"),
    "muted": ("muted", "", ""),
    "faint": ("faint", "", ""),
    "title": ("primary", "", "bold"),
    "accent": ("accent", "", ""),
    "good": ("success", "", ""),
    "bad": ("error", "", ""),
    "warn": ("warning", "", ""),
    "alert": ("background", "warning", "bold"),
    "thought": ("muted", "", "italic"),
    "user": ("secondary", "", "bold"),
    "added": ("", "added-background", ""),
    "removed": ("", "removed-background", ""),
    "added-sign": ("success", "added-background", "bold"),
    "removed-sign": ("error", "removed-background", "bold"),
    "added-word": ("", "added-word-background", "bold"),
    "removed-word": ("", "removed-word-background", "bold"),
    "rejected": ("faint", "", "strike"),
    "cursor": ("", "cursor-background", ""),
    "cursor-blurred": ("", "cursor-blurred-background", ""),
    "match": ("background", "accent", ""),
    "bar": ("primary", "", "bold"),
    "key": ("accent", "", "bold"),
    "syntax-keyword": ("syntax-keyword", "", ""),
    "syntax-string": ("syntax-string", "", ""),
    "syntax-comment": ("syntax-comment", "", "italic"),
    "syntax-number": ("syntax-number", "", ""),
    "syntax-name": ("syntax-name", "", ""),
    "syntax-type": ("syntax-type", "", ""),
    "syntax-operator": ("syntax-operator", "", ""),
}


def defaults(theme: Theme) -> dict[str, str]:
    """Our own variables for a theme that does not set them, made from its base colours."""
    if theme.ansi:
        ground = ("ansi_black", "ansi_white") if theme.dark else ("ansi_white", "ansi_black")
        return {
            "ansi-background": ground[0], "ansi-foreground": ground[1],
            "muted": "ansi_bright_black", "faint": "ansi_bright_black",
            "added-background": "ansi_default", "removed-background": "ansi_default",
            "added-word-background": "ansi_bright_black" if theme.dark else "ansi_white",
            "removed-word-background": "ansi_bright_black" if theme.dark else "ansi_white",
            "cursor-background": "ansi_bright_black" if theme.dark else "ansi_white",
            "cursor-blurred-background": "ansi_default",
            "syntax-keyword": "ansi_magenta", "syntax-string": "ansi_yellow", "syntax-comment": "ansi_bright_black",
            "syntax-number": "ansi_cyan", "syntax-name": "ansi_blue", "syntax-type": "ansi_cyan",
            "syntax-operator": "ansi_default",
        }  # fmt: skip
    background = Color.parse(theme.background or ("#121212" if theme.dark else "#efefef"))
    foreground = Color.parse(theme.foreground or background.get_contrast_text().hex)
    primary = Color.parse(theme.primary)
    good = Color.parse(theme.success or "#4ebf71")
    bad = Color.parse(theme.error or "#ba3c5b")
    warn = Color.parse(theme.warning or "#ffa62b")

    def mix(first: Color, second: Color, share: float) -> str:
        return first.blend(second, share).hex

    return {
        "muted": mix(foreground, background, 0.4), "faint": mix(foreground, background, 0.65),
        "added-background": mix(background, good, 0.16), "removed-background": mix(background, bad, 0.18),
        "added-word-background": mix(background, good, 0.36), "removed-word-background": mix(background, bad, 0.4),
        "cursor-background": mix(background, primary, 0.25),
        "cursor-blurred-background": mix(background, foreground, 0.07),
        "syntax-keyword": mix(foreground, primary, 0.75), "syntax-string": mix(foreground, good, 0.7),
        "syntax-comment": mix(foreground, background, 0.45), "syntax-number": mix(foreground, warn, 0.7),
        "syntax-name": mix(foreground, primary, 0.4), "syntax-type": mix(foreground, warn, 0.5),
        "syntax-operator": mix(foreground, background, 0.2),
    }  # fmt: skip


class Styles:
    """Styles by name; sums of styles are kept, since a diff asks for the same few again and again."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._styles = {name: _style(variables, *spec) for name, spec in _SPECS.items()}
        self._sums: dict[tuple[str, ...], Style] = {}

    def __getitem__(self, name: str) -> Style:
        return self._styles[name]

    def of(self, *names: str) -> Style:
        """The sum of the named styles, later ones on top."""
        found = self._sums.get(names)
        if found is None:
            found = Style.combine([self._styles[name] for name in names])
            self._sums[names] = found
        return found


def _style(variables: Mapping[str, str], foreground: str, background: str, attributes: str) -> Style:
    return Style(
        color=_colour(variables, foreground),
        bgcolor=_colour(variables, background),
        bold="bold" in attributes or None,
        italic="italic" in attributes or None,
        strike="strike" in attributes or None,
    )


def _colour(variables: Mapping[str, str], name: str) -> str | None:
    """A colour that Rich understands; ``None`` for the terminal's own and for what cannot be resolved."""
    value = variables.get(name, "")
    if not value or value == "ansi_default":
        return None
    if value.startswith("ansi_"):
        return value.removeprefix("ansi_")
    if value.startswith("auto"):
        return None
    return Color.parse(value).rich_color.name
