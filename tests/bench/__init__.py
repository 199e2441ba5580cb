"""The benchmark: the same questions to Scalpel and to its peers; only answers that agree count."""
