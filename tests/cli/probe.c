/* probe: does from inside a container what a hostile root there would try. Statically linked: any image can run it.
 *
 *     probe with-key NAME COMMAND...    join a new session keyring, put the key NAME into it, become COMMAND
 *     probe keys NAME                   look for the key NAME in every way that a process has (keyrings(7))
 *     probe climb                       the old ways out of a chroot, which must all end at our own root
 *     probe force                       the ways that need rights which a container has not
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void say(const char *what, long result)
{
    printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
    fflush(stdout);
}

static int with_key(char **words)
{
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "probe") < 0)
        return perror("keyctl"), 3;
    if (syscall(SYS_add_key, "user", words[0], "secret", 6, KEY_SPEC_SESSION_KEYRING) < 0)
        return perror("add_key"), 3;
    execvp(words[1], words + 1);
    return perror(words[1]), 3;
}

static int keys(const char *name)
{
    char secret[64];
    long keyrings[] = { KEY_SPEC_SESSION_KEYRING, KEY_SPEC_PROCESS_KEYRING, KEY_SPEC_THREAD_KEYRING,
                        KEY_SPEC_USER_KEYRING, KEY_SPEC_USER_SESSION_KEYRING };
    const char *names[] = { "session", "process", "thread", "user", "user session" };
    for (int number = 0; number < 5; number++)
        say(names[number], syscall(SYS_keyctl, KEYCTL_SEARCH, keyrings[number], "user", name, 0));
    say("request", syscall(SYS_request_key, "user", name, NULL, 0));

    /* Numbers can be guessed, or read in /proc/keys where that is not masked. */
    FILE *list = fopen("/proc/keys", "r");
    char line[512];
    int seen = 0;
    while (list && fgets(line, sizeof line, list)) {
        int number = (int)strtoul(line, NULL, 16);
        seen++;
        if (strstr(line, name))
            say("read by number", syscall(SYS_keyctl, KEYCTL_READ, number, secret, sizeof secret));
    }
    printf("listed: %d\n", seen);
    return 0;
}

static void where(const char *what)
{
    struct stat root, above;
    char name[128] = "none\n";
    FILE *file = fopen("/etc/os-release", "r");
    if (file && !fgets(name, sizeof name, file))
        strcpy(name, "empty\n");
    if (stat("/", &root) || stat("/..", &above))
        say(what, -1);
    printf("%s: %lu:%lu %lu:%lu %s", what, root.st_dev, root.st_ino, above.st_dev, above.st_ino, name);
    fflush(stdout);
}

static int climb(void)
{
    where("before");
    mkdir("/jail", 0755);
    int top = open("/", O_RDONLY | O_DIRECTORY);
    say("chroot", chroot("/jail"));
    say("fchdir", fchdir(top));
    for (int level = 0; level < 100; level++)
        if (chdir("..") < 0)
            say("chdir", -1);
    say("chroot", chroot("."));
    where("climbed");
    say("chroot", chroot("/proc/1/root"));
    where("by /proc");
    return 0;
}

static int force(void)
{
    struct { struct file_handle head; unsigned char bytes[8]; } handle = { { 8, 1 }, { 2 } }; /* inode 2: a disk's root */
    const char *files[] = { "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/" };
    for (int number = 0; number < 4; number++) {
        int place = open(files[number], O_RDONLY);
        say("open_by_handle_at", open_by_handle_at(place, &handle.head, O_RDONLY));
        close(place);
    }
    say("mount", mount("tmpfs", "/mnt", "tmpfs", 0, ""));
    say("umount", umount2("/proc/sys", MNT_DETACH));
    say("pivot_root", syscall(SYS_pivot_root, ".", "."));
    say("unshare", unshare(CLONE_NEWNS));
    say("setns", setns(open("/proc/1/ns/mnt", O_RDONLY), CLONE_NEWNS));
    /* As root of a user namespace of one's own, if the machine allows one: what is locked must stay. */
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return 0;
    say("locked umount", umount2("/proc/sys", MNT_DETACH));
    say("locked umount", umount2("/sys/firmware", MNT_DETACH));
    say("locked remount", mount("", "/proc/sys", "", MS_REMOUNT | MS_BIND, ""));
    where("unshared");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 4 && !strcmp(argv[1], "with-key"))
        return with_key(argv + 2);
    if (argc == 3 && !strcmp(argv[1], "keys"))
        return keys(argv[2]);
    if (argc == 2 && !strcmp(argv[1], "climb"))
        return climb();
    if (argc == 2 && !strcmp(argv[1], "force"))
        return force();
    return fputs("usage: see probe.c\n", stderr), 2;
}
