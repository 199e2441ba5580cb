"""Requests that keep the engine busy, to look at the server while it computes."""

TOKENS = 256  # of each prompt


def request(rows):
    """A RunRequest in JSON: long prompts, and statistics of every layer that need a sort."""
    prompts = [
        {"token_ids": {"ids": [(17 * row + 5 * i) % 1000 for i in range(TOKENS)]}}
        for row in range(rows)
    ]
    place = {"site": "SITE_MLP_POST"}
    probe = {"place": place, "statistics": ["STATISTIC_STD"], "quantiles": [0.5]}
    return {"prompts": prompts, "probes": [probe], "logits": {"none": {}}}


def seconds():
    """A request of a few seconds."""
    return request(12)


def endless():
    """A request of nearly all the tokens that one may have, and most of the time that observations
    may take, which nobody waits for."""
    made = request(60)
    made["probes"] *= 9
    return made
