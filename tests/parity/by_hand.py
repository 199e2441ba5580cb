"""Requests that are written by hand, for statements about exact answers."""

LAYER, HEAD = 5, 2
TOKENS = [17, 230, 5, 1999, 640, 88, 5, 1203, 411, 9]
OTHERS = [
    [3, 3, 3],
    [700, 701, 702, 703, 704, 705, 706, 707, 708, 709],
    [44],
    list(range(100, 164)),
]
ALL_LOGITS = {"full": {}, "positions": {"range": {}}}


def request(interventions=(), tokens=(TOKENS,), captures=(), **fields) -> dict:
    return {
        "prompts": [{"token_ids": {"ids": list(ids)}} for ids in tokens],
        "interventions": list(interventions),
        "captures": [{"name": name, "place": place} for name, place in captures],
        "logits": ALL_LOGITS,
        **fields,
    }


def at(site: str, **where) -> dict:
    return {"site": f"SITE_{site.upper()}", "where": where}


EDITS = [
    {"place": at("k", layers=[LAYER], heads=[HEAD]), "zero": {}},
    {"place": at("mlp_post", layers=[6], units={"range": {"step": 2}}), "noise": {"mean": 10}},
    {"place": at("pattern", layers=[8]), "scale": {"factor": 0.5}},
    {"place": at("resid_post", layers=[9]), "scale": {"factor": 0.1}},
]
