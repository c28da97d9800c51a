"""The memory played live: sockets, OSC, takes and the page; nothing musical."""
