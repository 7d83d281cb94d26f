"""Progress where the output is no terminal."""

from nas.events.progress import lines_of


def test_a_line_every_twenty_seconds_and_one_at_the_end():
    now, said = [0.0], []
    update = lines_of("timing", said.append, clock=lambda: now[0])
    for done in range(1, 101):
        now[0] = done * 1.0
        update(done, 100, f"best {done}")
    update(100, 100)
    assert said == [
        "timing: 20 of 100, best 20, 20 s so far, about 84 s left",
        "timing: 40 of 100, best 40, 40 s so far, about 62 s left",
        "timing: 60 of 100, best 60, 60 s so far, about 41 s left",
        "timing: 80 of 100, best 80, 80 s so far, about 20 s left",
        "timing: 100 of 100, best 100, 2 minutes so far, done",
    ]


def test_what_was_done_before_does_not_make_the_rest_look_quick():
    now, said = [0.0], []
    update = lines_of("searching", said.append, clock=lambda: now[0])
    update(900, 1000)
    now[0] = 30.0
    update(910, 1000)
    assert said == ["searching: 910 of 1,000, 30 s so far, about 4 minutes left"]
