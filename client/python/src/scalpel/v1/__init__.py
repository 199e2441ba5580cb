"""Messages of the contract, generated from `proto/scalpel/v1` when the package is built."""
