"""What all tests share: where things are, a server process, a client."""
