"""The json-file log, written and read back."""

import json
import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirun import timestamps
from minirun.engine.shim import json_file, logs
from minirun.errors import ClientError, EngineError, NoSuchContainer

MOMENT = "2026-11-23T03:17:15.687791142Z"


def write(path, *parts):
    writer = json_file.LogWriter(str(path))
    for stream, data in parts:
        writer.feed(stream, data)
    writer.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


def read(path, **wishes):
    return [data for _, data in logs.read_file(str(path), logs.ReadConfig(**wishes))]


def plant(path, *moments):
    """A log with one record at each moment; the text of a record is its number."""
    path.write_text(
        "".join(
            json.dumps({"log": f"{number}\n", "stream": "stdout", "time": moment}) + "\n"
            for number, moment in enumerate(moments)
        )
    )
    return path


# ---- writing ----


def test_the_bytes_of_a_record(tmp_path):
    path = tmp_path / "x.log"
    writer = json_file.LogWriter(str(path))
    writer.feed("stdout", b"out1\n")
    writer.feed("stderr", b"err1\nnonl")
    writer.close()
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    head = [
        b'{"log":"out1\\n","stream":"stdout","time":"20',
        b'{"log":"err1\\n","stream":"stderr","time":"20',
        b'{"log":"nonl","stream":"stderr","time":"20',
    ]
    assert [line[: len(start)] for line, start in zip(lines, head, strict=True)] == head
    assert all(line.endswith(b'Z"}') for line in lines)
    assert path.stat().st_mode & 0o777 == 0o640


def test_the_time_is_now(tmp_path):
    before = time.time_ns()
    record = write(tmp_path / "x.log", ("stdout", b"x\n"))[0]
    assert before <= timestamps.parse(record["time"]) <= time.time_ns()


def test_a_line_is_kept_until_its_end_has_come(tmp_path):
    path = tmp_path / "x.log"
    writer = json_file.LogWriter(str(path))
    writer.feed("stdout", b"be")
    writer.feed("stderr", b"other\n")
    assert [json.loads(line)["log"] for line in path.read_text().splitlines()] == ["other\n"]
    writer.feed("stdout", b"gin\n")
    assert [json.loads(line)["log"] for line in path.read_text().splitlines()] == ["other\n", "begin\n"]
    writer.close()
    writer.close()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'say "hi" \\ \t\r\n', b'say \\"hi\\" \\\\ \\u0009\\r\\n'),
        (b"<a&b>\x00\x1b[1m\x7f\n", b"\\u003ca\\u0026b\\u003e\\u0000\\u001b[1m\x7f\\n"),
        ("größer → 𝄞\n".encode(), "größer → 𝄞\\n".encode()),
        (b"\xff\xc3(\n", b"\\ufffd\\ufffd(\\n"),
        (b"\xe2\x82\n", b"\\ufffd\\ufffd\\n"),  # Go replaces each bad byte, Python would replace the two by one
        (b"\xed\xa0\x80\n", b"\\ufffd\\ufffd\\ufffd\\n"),  # an encoded surrogate
        ("\u2028\u2029\n".encode(), b"\\u2028\\u2029\\n"),
        ("\ufffd\n".encode(), "\ufffd\\n".encode()),  # a real one stays as it is
    ],
)
def test_escapes_are_those_of_go(tmp_path, data, text):
    write(tmp_path / "x.log", ("stdout", data))
    assert (tmp_path / "x.log").read_bytes().startswith(b'{"log":"' + text + b'","stream"')


@pytest.mark.parametrize(
    ("length", "pieces"),
    [
        (16383, [16383 + 1]),
        (16384, [16384, 1]),
        (16385, [16384, 2]),
        (40000, [16384, 16384, 40000 - 2 * 16384 + 1]),
    ],
)
def test_long_lines_are_cut_at_16_kib(tmp_path, length, pieces):
    records = write(tmp_path / "x.log", ("stdout", b"x" * length + b"\n"), ("stdout", b"next\n"))
    assert [len(record["log"]) for record in records] == [*pieces, 5]
    assert len({record["time"] for record in records[:-1]}) == 1  # one line, one time
    assert [record["log"].endswith("\n") for record in records[:-1]] == [False] * (len(pieces) - 1) + [True]


def test_a_long_line_keeps_the_time_of_its_beginning():
    lines = json_file.LineSplitter()
    assert lines.feed(b"x" * 16384, "first") == [(b"x" * 16384, "first")]
    assert lines.feed(b"y\nz\n", "second") == [(b"y\n", "first"), (b"z\n", "second")]


def split(data):
    *whole, rest = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


BYTES = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([b"\n", b"x" * 16383, b"y" * 16384, b"\r\n", b"\n\n"])),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(BYTES, st.data())
def test_chunks_do_not_matter(parts, data):
    whole = b"".join(parts)
    expected = list(reference(whole))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    lines, found = json_file.LineSplitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += lines.feed(whole[start:end], MOMENT)
    found += lines.end(MOMENT)
    assert [piece for piece, _ in found] == expected
    assert b"".join(expected) == whole


def reference(whole):
    """What Docker's copier makes of a stream, said in the simplest way."""
    for line in split(whole):
        body, end = (line[:-1], b"\n") if line.endswith(b"\n") else (line, b"")
        while len(body) >= 16384:
            yield body[:16384]
            body = body[16384:]
        if body or end:
            yield body + end


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_make_json_that_says_the_same(data):
    text = json.loads(json_file.json_string(data))
    assert text == data.decode("utf-8", "surrogateescape").translate(dict.fromkeys(range(56448, 56576), "�"))
    assert not set("<>&\u2028\u2029") & set(json_file.json_string(data))


def test_one_write_for_a_batch(tmp_path, monkeypatch):
    writer, calls = json_file.LogWriter(str(tmp_path / "x.log")), []
    monkeypatch.setattr(json_file.os, "write", lambda fd, data: calls.append(data) or len(data))
    writer.feed("stdout", b"a\nb\nc\n")
    assert len(calls) == 1
    assert calls[0].count(b"\n") == 3
    monkeypatch.undo()
    writer.close()


def test_a_full_disk_leaves_whole_records_only(tmp_path, monkeypatch):
    path = tmp_path / "x.log"
    writer = json_file.LogWriter(str(path))
    writer.feed("stdout", b"kept\n")
    real = os.write
    monkeypatch.setattr(json_file.os, "write", lambda fd, data: real(fd, data[:20]))  # as a disk that gets full
    writer.feed("stdout", b"lost\nlost too\n")
    assert (writer.lost, writer.error) == (2, "the disk is full")
    monkeypatch.undo()
    writer.feed("stdout", b"kept too\n")
    writer.close()
    assert read(path) == [b"kept\n", b"kept too\n"]
    assert writer.error == ""


def test_a_disk_that_takes_nothing():
    writer = json_file.LogWriter("/dev/full")
    writer.feed("stdout", b"x\n")
    assert (writer.lost, writer.error) == (1, "no space left on device")
    writer.close()


# ---- reading ----


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 12), tail=st.integers(0, 15), block=st.sampled_from([7, 64, 100, 1 << 16]), half=st.booleans()
)
def test_the_tail_is_that_of_the_whole(tmp_path_factory, count, tail, block, half):
    path = plant(tmp_path_factory.mktemp("log") / "x.log", *[MOMENT] * count)
    if half:
        with open(path, "a") as file:
            file.write('{"log":"not yet fin')
    normal, logs._BLOCK = logs._BLOCK, block
    try:
        assert read(path, tail=tail) == (read(path)[-tail:] if tail else [])
    finally:
        logs._BLOCK = normal


def test_the_tail_of_a_huge_log_costs_no_more_than_its_end(tmp_path, monkeypatch):
    path = plant(tmp_path / "x.log", *[MOMENT] * 40000)
    got, real = [], os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: got.append(count) or real(fd, count, offset))
    assert read(path, tail=2) == [b"39998\n", b"39999\n"]
    assert sum(got) <= 1 << 16 < path.stat().st_size


@pytest.mark.parametrize(
    ("tail", "count"), [("all", 3), ("bad", 3), ("-1", 3), ("", 3), ("2", 2), (1, 1), ("0", 0), ("9", 3)]
)
def test_the_words_of_tail(tmp_path, tail, count):
    assert len(read(plant(tmp_path / "x.log", MOMENT, MOMENT, MOMENT), tail=tail)) == count


def test_both_streams_keep_their_order(tmp_path):
    write(tmp_path / "x.log", ("stdout", b"1\n"), ("stderr", b"2\n"), ("stdout", b"3\n"))
    assert list(logs.read_file(str(tmp_path / "x.log"), logs.ReadConfig())) == [
        ("stdout", b"1\n"),
        ("stderr", b"2\n"),
        ("stdout", b"3\n"),
    ]


def test_timestamps_and_details(tmp_path):
    path = plant(tmp_path / "x.log", "2026-11-23T03:17:16.69Z")
    assert read(path, timestamps=True) == [b"2026-11-23T03:17:16.690000000Z 0\n"]
    assert read(path, details=True) == [b" 0\n"]
    assert read(path, timestamps=True, details=True) == [b"2026-11-23T03:17:16.690000000Z  0\n"]
    path.write_text('{"log":"x\\n","stream":"stdout","attrs":{"b":"2","a":"1"},"time":"2026-11-23T03:17:16Z"}\n')
    assert read(path, details=True) == [b"a=1,b=2 x\n"]


def test_since_and_until(tmp_path):
    # as text the second would come before the first: a dot sorts before a Z
    path = plant(tmp_path / "x.log", "2026-11-23T03:00:00Z", "2026-11-23T03:00:00.5Z", "2026-11-23T03:00:01.25Z")
    assert read(path, since="2026-11-23T03:00:00.1Z") == [b"1\n", b"2\n"]
    assert read(path, until="2026-11-23T03:00:00Z") == [b"0\n"]
    assert read(path, since="2026-11-23T05:00:01+02:00") == [b"2\n"]


def test_durations_count_from_now(tmp_path):
    now = time.time_ns()
    path = plant(
        tmp_path / "x.log",
        timestamps.rfc3339_nano(now - 7200 * timestamps.SECOND),
        timestamps.rfc3339_nano(now - 60 * timestamps.SECOND),
    )
    assert read(path, since="1h") == [b"1\n"]
    assert read(path, until="1h") == [b"0\n"]


@pytest.mark.parametrize("name", ["since", "until"])
def test_no_time(name):
    with pytest.raises(ClientError) as caught:
        logs.ReadConfig(**{name: "bad"})
    assert caught.value.message == f'invalid value for "{name}": failed to parse value as time or duration: "bad"'
    assert caught.value.exit_code == 1


def test_a_damaged_line_is_passed_over(tmp_path):
    path = plant(tmp_path / "x.log", MOMENT)
    with open(path, "ab") as file:
        file.write(
            b'{"log":"half\n\x00\x00\xff\n[1]\n3\n{"log":"x"}\n{"log":"whole\\n","stream":"stderr",'
            b'"time":"%s"}\n' % MOMENT.encode()
        )
    assert read(path) == [b"0\n", b"whole\n"]


def test_a_container_that_never_wrote(tmp_path):
    assert read(tmp_path / "none.log") == []


@pytest.mark.timing("a follower must show each line within 10 s")
def test_follow_to_the_containers_end(tmp_path):
    path, over, seen = tmp_path / "x.log", threading.Event(), []

    def follow():
        for _, data in logs.read_file(str(path), logs.ReadConfig(tail=1), over.is_set):
            seen.append(data)

    def wait_for(count):
        deadline = time.monotonic() + 10
        while len(seen) < count and time.monotonic() < deadline:
            time.sleep(0.005)

    write(path, ("stdout", b"old\nlast\n"))
    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    wait_for(1)
    writer = json_file.LogWriter(str(path))
    for number in range(3):
        writer.feed("stdout", b"new%d\n" % number)
        wait_for(number + 2)
    assert seen == [b"last\n", b"new0\n", b"new1\n", b"new2\n"]
    assert follower.is_alive()
    writer.feed("stdout", b"in the last moment")
    writer.close()
    over.set()
    follower.join(10)
    assert not follower.is_alive()
    assert seen[-1] == b"in the last moment"


def test_nothing_is_missed_between_the_last_look_and_the_end(tmp_path):
    """The container writes and ends after we have read all there was, and before we ask whether it has ended."""
    path = plant(tmp_path / "x.log", MOMENT)

    def ended():
        plant(path, MOMENT, MOMENT)
        return True

    assert len(list(logs.read_file(str(path), logs.ReadConfig(), ended))) == 2


def test_following_a_log_that_comes_later(tmp_path):
    path, asked = tmp_path / "x.log", []

    def ended():
        asked.append(1)
        if len(asked) == 2:
            plant(path, MOMENT)
        return len(asked) > 2

    assert len(list(logs.read_file(str(path), logs.ReadConfig(), ended))) == 1


@pytest.mark.timing("it measures the CPU time of one second")
def test_following_costs_next_to_no_cpu(tmp_path):
    path = plant(tmp_path / "x.log", MOMENT)
    start, cpu = time.monotonic(), time.process_time()
    list(logs.read_file(str(path), logs.ReadConfig(), lambda: time.monotonic() > start + 1))
    assert time.process_time() - cpu < 0.05


def test_following_ends_at_until(tmp_path):
    path = plant(tmp_path / "x.log", timestamps.rfc3339_nano(time.time_ns() - 7200 * timestamps.SECOND))
    assert len(list(logs.read_file(str(path), logs.ReadConfig(until="1h"), lambda: False))) == 1


class Container:
    """What `logs.read` uses of one."""

    id = "c" * 64

    def __init__(self, log, driver="json-file"):
        self.log = log
        self.record = {"HostConfig": {"LogConfig": {"Type": driver}}}

    @staticmethod
    def status():
        class Status:
            state = "exited"

        return Status


def test_read_knows_where_the_log_is(tmp_path):
    log = str(plant(tmp_path / "log", MOMENT, MOMENT))
    assert list(logs.read(Container(log), logs.ReadConfig(tail="1"))) == [("stdout", b"1\n")]
    assert list(logs.read(Container(log), logs.ReadConfig(tail="1"), follow=True)) == [("stdout", b"1\n")]
    with pytest.raises(EngineError, match="^configured logging driver does not support reading$") as caught:
        logs.read(Container(log, "none"), logs.ReadConfig())
    assert caught.value.exit_code == 1


def test_following_a_container_that_is_removed_at_its_end(tmp_path):
    log = plant(tmp_path / "log", MOMENT)

    class Removed(Container):
        def status(self):
            log.unlink(missing_ok=True)
            raise NoSuchContainer(self.id)

    assert list(logs.read(Removed(str(log)), logs.ReadConfig(), follow=True)) == [("stdout", b"0\n")]
