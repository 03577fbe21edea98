"""The server process: arguments, signals, sockets, memory."""
