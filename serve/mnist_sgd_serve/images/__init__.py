"""From an image file to 28 x 28 grey pixels: decoding and preprocessing."""
