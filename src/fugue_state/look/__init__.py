"""The look of everything that is drawn: two themes, one typeface, figures and sheets of mels."""
