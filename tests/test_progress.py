from onnxshallow.progress import Silent, counted


def test_items_pass_through_and_are_counted():
    steps = []
    seen = [(item, len(steps)) for item in counted("abc", lambda: steps.append(None))]
    assert seen == [("a", 0), ("b", 1), ("c", 2)]
    assert len(steps) == 3


def test_counting_is_lazy():
    def endless():
        while True:
            yield 1

    assert next(iter(counted(endless(), lambda: None))) == 1


def test_silence(capsys):
    with Silent().stage("Working", 3) as step:
        step()
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
