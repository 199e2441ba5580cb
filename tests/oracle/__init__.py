"""A second opinion on every answer: float64, numpy alone, written from the papers."""
