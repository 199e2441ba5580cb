"""Checks of the sources that run nothing of them: `./scalpel test --only lint`."""
