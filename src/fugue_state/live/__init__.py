"""Live playing: the server with its sockets, OSC, takes and the page. It holds no musical logic."""
