"""Cases that a user met."""
