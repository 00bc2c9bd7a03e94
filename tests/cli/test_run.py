"""`minirun run`: output, exit codes, options that shape the process and its surroundings."""

from __future__ import annotations

import re
import subprocess
import time

import pytest

from harness.host import PATIENCE, wait_for

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ID = re.compile(r"[0-9a-f]{64}")


def test_output_goes_where_the_program_sends_it(minirun):
    result = minirun("run", "--rm", "alpine", "sh", "-c", "echo to-out; echo to-err >&2")
    assert (result.out, result.err, result.code) == ("to-out\n", "to-err\n", 0)


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("exit 0", 0), ("exit 255", 255), ("false", 1)])
def test_exit_code_is_the_programs(minirun, script, code):
    assert minirun("run", "--rm", "alpine", "sh", "-c", script).code == code


def test_the_id_of_a_detached_container(minirun):
    result = minirun("run", "-d", "--name", "w1", "alpine", "sleep", "100")
    assert result.code == 0
    assert result.err == ""
    assert ID.fullmatch(result.out.removesuffix("\n"))


def test_detached_run_lets_go_of_its_output(minirun):
    """`$(minirun run -d ...)` must return at once: nothing that lives on may hold the pipe."""
    done = minirun.machine.run(
        "sh", "-c", f"x=$({' '.join(minirun.words)} run -d alpine sleep 1000); echo got $x", timeout=PATIENCE
    )
    assert ID.search(done.stdout)


def test_rm_leaves_nothing(minirun, host):
    minirun.ok("run", "--rm", "alpine", "true")
    host.assert_clean()
    minirun.ok("run", "-d", "--rm", "alpine", "true")
    host.assert_clean()


def test_environment_in_dockers_order(minirun, host, tmp_path):
    (tmp_path / "env").write_text('# a comment\n\nA=1\nB="q q"\nC= x \nFROM_HOST\nNOT_SET\n')
    out = minirun.ok(
        "run",
        "--rm",
        "--name",
        "w1",
        "-e",
        "D=4",
        "-e",
        "EMPTY=",
        "-e",
        "FROM_HOST2",
        "-e",
        "NOPE",
        "--env-file",
        str(tmp_path / "env"),
        "-h",
        "box",
        "alpine",
        "env",
        FROM_HOST="h1",
        FROM_HOST2="h2",
    )
    assert out.split("\n") == [
        PATH,
        "HOSTNAME=box",
        "A=1",
        'B="q q"',
        "C= x ",
        "FROM_HOST=h1",
        "D=4",
        "EMPTY=",
        "FROM_HOST2=h2",
        "HOME=/root",
    ]


def test_our_own_environment_stays_outside(minirun):
    assert "SECRET" not in minirun.ok("run", "--rm", "alpine", "env", SECRET="x")


def test_hostname_is_the_id(minirun, host):
    container = minirun.begin("alpine", "sh", "-c", "hostname; cat /etc/hostname; sleep 100")
    wait_for(lambda: minirun.ok("logs", "c1").count("\n"))
    assert minirun.ok("logs", "c1").split() == [container.id[:12]] * 2


def test_hostname_and_domainname(minirun):
    assert (
        minirun.sh(
            "hostname; cat /etc/hostname /proc/sys/kernel/domainname; tail -n1 /etc/hosts",
            "-h",
            "web",
            "--domainname",
            "lab.example",
        )
        == "web\nweb\nlab.example\n172.17.0.2\tweb.lab.example web"
    )


@pytest.mark.parametrize(
    ("user", "id_line"),
    [
        (
            "",
            "uid=0(root) gid=0(root) groups=0(root),1(bin),2(daemon),3(sys),4(adm),6(disk),10(wheel),11(floppy),"
            "20(dialout),"
            "26(tape),27(video)",
        ),
        ("nobody", "uid=65534(nobody) gid=65534(nobody) groups=65534(nobody)"),
        ("99999", "uid=99999 gid=0(root) groups=0(root)"),
        (":5", "uid=0(root) gid=5(tty) groups=5(tty)"),
        ("root:daemon", "uid=0(root) gid=2(daemon) groups=2(daemon)"),
        ("0:0", "uid=0(root) gid=0(root) groups=0(root)"),
        ("1234:5678", "uid=1234 gid=5678 groups=5678"),
    ],
)
def test_users(minirun, user, id_line):
    out = minirun.ok("run", "--rm", "-u", user, "alpine", "id")
    # busybox names the primary group twice when it is among the supplementary ones too
    assert out.replace("groups=0(root),0(root)", "groups=0(root)") == id_line


def test_group_add(minirun):
    status = minirun.ok(
        "run",
        "--rm",
        "-u",
        "1000",
        "--group-add",
        "10",
        "--group-add",
        "video",
        "alpine",
        "grep",
        "^Groups",
        "/proc/self/status",
    )
    assert set(status.split()[1:]) == {"10", "27", "1000"}  # the last one is its own, from the image's passwd


def test_home_is_the_users(minirun):
    assert minirun.ok("run", "--rm", "-u", "nobody", "alpine", "sh", "-c", "echo $HOME") == "/"
    assert minirun.ok("run", "--rm", "-e", "HOME=/x", "alpine", "sh", "-c", "echo $HOME") == "/x"


def test_working_directory_is_made(minirun):
    assert (
        minirun.ok("run", "--rm", "-w", "/no/such/dir", "alpine", "sh", "-c", "pwd; stat -c '%a %u' .")
        == "/no/such/dir\n755 0"
    )


def test_entrypoint(minirun):
    assert minirun.ok("run", "--rm", "--entrypoint", "echo", "alpine", "a", "b") == "a b"


def test_path_of_the_container_decides(minirun):
    result = minirun("run", "--rm", "-e", "PATH=/nowhere", "alpine", "env")
    assert result.code == 127
    assert 'exec: "env": executable file not found in $PATH' in result.err


def test_stdin_only_with_i(minirun):
    assert minirun("run", "--rm", "alpine", "cat", input="in\n").out == ""
    assert minirun("run", "--rm", "-i", "alpine", "cat", input="in\n").out == "in\n"


def test_a_lot_of_input_and_output(minirun):
    text = "0123456789abcdef" * 65536 * 4  # 4 MiB, more than all pipes and sockets in between hold
    assert minirun("run", "--rm", "-i", "alpine", "cat", input=text).out == text


def test_what_standard_streams_are(minirun):
    out = minirun.ok("run", "--rm", "alpine", "sh", "-c", "for n in 0 1 2; do readlink /proc/self/fd/$n; done")
    zero, one, two = out.split("\n")
    assert zero == "/dev/null"
    assert one.startswith("pipe:")
    assert two.startswith("pipe:")
    assert minirun("run", "--rm", "alpine", "tty").out == "not a tty\n"


def test_the_process_is_its_own_session(minirun):
    stat = minirun.ok("run", "--rm", "alpine", "cat", "/proc/self/stat").split()
    pid, parent, group, session, tty = stat[0], *stat[3:7]
    assert (pid, parent, group, session, tty) == ("1", "0", "1", "1", "0")


def test_umask_cwd_oom_score(minirun):
    assert minirun.sh("umask; pwd; cat /proc/self/oom_score_adj") == "0022\n/\n0"
    assert minirun.sh("cat /proc/self/oom_score_adj", "--oom-score-adj", "500") == "500"


def test_signals_are_as_a_new_program_expects_them(minirun):
    """Python ignores SIGPIPE; a program that inherits that goes on for ever in `yes | head`."""
    status = minirun.ok("run", "--rm", "alpine", "grep", "-E", "^Sig(Ign|Blk|Cgt)", "/proc/self/status")
    # Nobody can change the two signals that the C library keeps for itself (nptl(7)): 32 and 33.
    assert [int(line.split()[1], 16) & ~(3 << 31) for line in status.split("\n")] == [0, 0, 0]


def test_cidfile(minirun, tmp_path):
    minirun.ok("run", "--name", "w1", "--cidfile", str(tmp_path / "cid"), "alpine", "true")
    assert (tmp_path / "cid").read_text() == minirun.ok("ps", "-aq", "--no-trunc")
    again = minirun("run", "--cidfile", str(tmp_path / "cid"), "alpine", "true")
    assert again.code == 125
    assert "container ID file found, make sure the other container isn't running or delete" in again.err


def test_ulimits(minirun):
    limits = minirun.ok(
        "run", "--rm", "--ulimit", "nofile=100:200", "--ulimit", "core=0", "alpine", "cat", "/proc/self/limits"
    )
    assert re.search(r"^Max open files\s+100\s+200\s", limits, re.M)
    assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.M)


def test_a_random_name_is_dockers_kind(minirun):
    minirun.ok("run", "-d", "alpine", "true")
    assert re.fullmatch(r"[a-z]+_[a-z]+", minirun.ok("ps", "-a", "--format", "{{.Names}}"))


def test_sysctls_of_every_container(minirun):
    assert (
        minirun.sh(
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range "
            "/proc/sys/net/ipv6/conf/all/disable_ipv6"
        )
        == "0\n0\t2147483647\n1"
    )
    assert minirun.sh("cat /proc/sys/net/ipv4/ip_forward", "--sysctl", "net.ipv4.ip_forward=1") == "1"


def test_attach_only_one_stream(minirun):
    result = minirun("run", "--rm", "-a", "stderr", "alpine", "sh", "-c", "echo out; echo err >&2")
    assert (result.out, result.err) == ("", "err\n")


def test_output_is_complete_when_the_reader_is_slow(minirun):
    with minirun.popen("run", "--rm", "alpine", "sh", "-c", "seq 1 200000; echo end") as process:
        time.sleep(1)
        out, err = process.communicate(timeout=60)
    assert err == ""
    assert out.split("\n")[-3:] == ["200000", "end", ""]
    assert len(out.split("\n")) == 200002


def test_a_reader_who_has_seen_enough(minirun):
    """`minirun run ... | head -1` ends; the container may go on writing."""
    process = minirun.popen("run", "--rm", "--name", "w1", "alpine", "sh", "-c", "yes | head -n 1000000")
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=PATIENCE)
    process.stderr.close()
    minirun("wait", "w1")


def test_ten_at_once_leave_nothing(minirun, host):
    processes = [
        minirun.popen("run", "--rm", "alpine", "echo", str(number), stderr=subprocess.STDOUT) for number in range(10)
    ]
    assert sorted(int(process.communicate(timeout=60)[0]) for process in processes) == list(range(10))
    host.assert_clean()
