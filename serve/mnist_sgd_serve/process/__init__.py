"""The server process: signals, sockets, memory."""
