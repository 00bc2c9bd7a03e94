"""`-u USER[:GROUP]` against the passwd and group files of a real Alpine: the table of what Docker makes of it."""

import pytest

from minirun.engine.spec import users
from minirun.errors import EngineError

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
bin:x:1:1:bin:/bin:/sbin/nologin
daemon:x:2:2:daemon:/sbin:/sbin/nologin
nobody:x:65534:65534:nobody:/:/sbin/nologin
# a comment

u1000:x:1000:1000:Linux User,,,:/home/u1000:/bin/sh
1234:x:77:78:a name that looks like a number:/seven:/bin/sh
"""
GROUP = b"""\
root:x:0:root
bin:x:1:root,bin,daemon
daemon:x:2:root,bin,daemon
sys:x:3:root,bin
adm:x:4:root,daemon
tty:x:5:
disk:x:6:root
wheel:x:10:root
floppy:x:11:root
dialout:x:20:root
tape:x:26:root
video:x:27:root
u1000:x:1000:
nobody:x:65534:
"""
ROOTS = [0, 0, 1, 2, 3, 4, 6, 10, 11, 20, 26, 27]


@pytest.mark.parametrize(
    ("wish", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, ROOTS, "/root"),
        ("root", 0, 0, ROOTS, "/root"),
        ("0", 0, 0, ROOTS, "/root"),
        ("1000", 1000, 1000, [1000], "/home/u1000"),
        ("1000:1000", 1000, 1000, [1000], "/home/u1000"),
        ("u1000", 1000, 1000, [1000], "/home/u1000"),
        ("nobody", 65534, 65534, [65534], "/"),
        ("daemon", 2, 2, [2, 1, 2, 4], "/sbin"),
        (":5", 0, 5, [5], "/root"),
        ("root:daemon", 0, 2, [2], "/root"),
        ("0:0", 0, 0, [0], "/root"),
        ("99999", 99999, 0, [0], "/"),
        ("99999:tty", 99999, 5, [5], "/"),
        ("1000:4711", 1000, 4711, [4711], "/home/u1000"),
        ("1234", 1234, 0, [0], "/"),  # a number is a number, also where a user has it for a name
        ("2147483647", 2147483647, 0, [0], "/"),
    ],
)
def test_who_it_is(wish, uid, gid, groups, home):
    user = users.resolve(wish, PASSWD, GROUP)
    assert (user.uid, user.gid, user.groups, user.home) == (uid, gid, groups, home)


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ("1000:nosuch", "unable to find group nosuch: no matching entries in group file"),
        ("nosuch", "unable to find user nosuch: no matching entries in passwd file"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
        ("0:-1", "uids and gids must be in range 0-2147483647"),
        ("1_000", "unable to find user 1_000: no matching entries in passwd file"),  # Python would call it a number
        ("١", "unable to find user ١: no matching entries in passwd file"),
    ],
)
def test_who_is_not_there(wish, text):
    with pytest.raises(EngineError) as caught:
        users.resolve(wish, PASSWD, GROUP)
    assert type(caught.value) is EngineError  # found out at the start: `run` adds no "See ..."
    assert caught.value.message == text


def test_added_groups():
    assert users.resolve("1000", PASSWD, GROUP, ["10", "video"]).groups == [1000, 10, 27]
    assert users.resolve("1000:5", PASSWD, GROUP, ["video", "27", "4711"]).groups == [5, 27, 4711]
    with pytest.raises(EngineError, match="^Unable to find group nosuch: no matching entries in group file$"):
        users.resolve("1000", PASSWD, GROUP, ["nosuch"])
    with pytest.raises(EngineError, match="^uids and gids must be in range"):
        users.resolve("1000", PASSWD, GROUP, ["-5"])


def test_an_image_without_the_files():
    for wish, ids in (("", (0, 0)), ("7", (7, 0)), ("7:8", (7, 8))):
        user = users.resolve(wish, None, None)
        assert (user.uid, user.gid, user.groups, user.home) == (*ids, [ids[1]], "/")
    with pytest.raises(EngineError, match="^unable to find user root: "):
        users.resolve("root", None, None)


def test_lines_that_are_not_as_they_should_be():
    passwd = b"short\n:::::\nbad:x:notanumber:1::/b:\n\xff\xfe:x:5:6::/five:\nroot:x:0:0::/r:\nu:x:9:9\n"
    assert users.resolve("5", passwd, b"g:x\n:::\n").home == "/five"
    assert users.resolve("u", passwd, b"w:x:3:u,v\n").groups == [9, 3]
