"""The ways to load. Each has `prepare(data, setting)`, loaders by name; see `common`."""
