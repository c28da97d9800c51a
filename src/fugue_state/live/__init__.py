"""The memory played live: sockets, OSC, takes; nothing musical."""
