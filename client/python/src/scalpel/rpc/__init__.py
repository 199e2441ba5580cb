"""Error details of google.rpc, generated when the package is built (see generate_stubs.py)."""
