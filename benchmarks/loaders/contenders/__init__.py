"""The loaders that are compared: each has `prepare(data, setting)`; see `common`."""
