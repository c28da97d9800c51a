"""How everything that is drawn looks: two themes, one typeface, figures and sheets of mels."""
