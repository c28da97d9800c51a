"""The colours of the site: those of every picture."""

from __future__ import annotations

from typing import get_args

from fugue_state.look.theme import THEMES, Theme, Weight, rgb

# Material's name for the palette of each theme; night is the one that a page opens with.
SCHEMES = {"night": "slate", "paper": "default"}
WEIGHTS: tuple[Weight, ...] = get_args(Weight)


def colours() -> str:
    """Return the style sheet that gives each palette the colours of its theme."""
    return "\n".join(_palette(SCHEMES[name], theme) for name, theme in THEMES.items())


def _palette(scheme: str, theme: Theme) -> str:
    ground, ink = _channels(theme.ground), _channels(theme.ink)
    values = {
        "default-bg-color": theme.ground,
        "default-bg-color--light": f"rgba({ground}, 0.7)",
        "default-bg-color--lighter": f"rgba({ground}, 0.3)",
        "default-bg-color--lightest": f"rgba({ground}, 0.12)",
        "default-fg-color": theme.ink,
        "default-fg-color--light": theme.faint,
        "default-fg-color--lighter": f"rgba({ink}, 0.32)",
        "default-fg-color--lightest": f"rgba({ink}, 0.1)",
        "typeset-color": theme.ink,
        "typeset-a-color": theme.glow,
        "primary-fg-color": theme.ground,
        "primary-fg-color--light": theme.ground,
        "primary-fg-color--dark": theme.ground,
        "primary-bg-color": theme.ink,
        "primary-bg-color--light": theme.faint,
        "accent-fg-color": theme.glow,
        "accent-fg-color--transparent": f"rgba({_channels(theme.glow)}, 0.1)",
        "accent-bg-color": theme.ground,
        "code-fg-color": theme.ink,
        "code-bg-color": f"rgba({ink}, 0.06)",
        "code-hl-comment-color": theme.faint,
        "code-hl-color": theme.glow,
        "typeset-table-color": f"rgba({ink}, 0.12)",
        "footer-bg-color": theme.ground,
        "footer-bg-color--dark": theme.ground,
        "footer-fg-color": theme.ink,
        "footer-fg-color--light": theme.faint,
        "footer-fg-color--lighter": theme.faint,
    }
    own = {name: getattr(theme, name) for name in ("ground", "ink", "faint", "glow", "scar")}
    own |= {f"layer-{i}": colour for i, colour in enumerate(theme.layers, 1)}
    lines = [f"  --md-{name}: {value};" for name, value in values.items()]
    lines += [f"  --fugue-{name}: {value};" for name, value in own.items()]
    return "\n".join([f'[data-md-color-scheme="{scheme}"] {{', *lines, "}", ""])


def _channels(colour: str) -> str:
    return ", ".join(f"{255 * part:.0f}" for part in rgb(colour))
