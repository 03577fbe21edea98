"""Find what is drawn on a picture: the paper, the sheet, the strokes."""
