"""Segment a character from a picture: background, sheet, foreground, strokes."""
