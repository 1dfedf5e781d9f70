"""Everything that touches the operating system: clocks, sockets, files, sound devices."""
