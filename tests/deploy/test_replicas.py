"""A second server doubles the cache, if calls are led by their prompts."""

from tests.deploy import replicas


def test_two_servers_know_what_one_forgets(capsys):
    text, figures = replicas.table()
    with capsys.disabled():
        print(f"\n{text}")
    one, anywhere, led = figures.values()
    # In turn through more than it holds, a cache that forgets the oldest knows next to nothing.
    assert one.hits < 0.5
    assert led.hits > 0.95
    assert anywhere.hits < led.hits - 0.1
