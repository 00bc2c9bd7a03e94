/* minirun: the command that a person types. It starts the interpreter quickly and safely, and is gone.
 *
 * Quickly. The script that pip writes for a command imports `site` and more before the first line of ours runs, and
 * that takes longer than a container's start. This program needs less than a millisecond and becomes
 *
 *     python3 -IS .../site-packages/minirun/__main__.py WORDS...
 *
 * -I: nothing from the environment or the current directory is imported (minirun runs as root, wherever it is typed);
 * -S: no `site`; minirun/__main__.py knows where the packages are.
 *
 * Safely. A process that enters a container can be looked at from inside, and /proc/PID/exe leads to the file that it
 * runs: the host's own python3. Root in there could write to that file, and own the host at the next start of any
 * Python (CVE-2019-5736, found in runc). So the interpreter is executed from a mount of its own: a copy of the
 * mount tree that is attached nowhere and read-only. The path leads to the same file, and opening it for writing
 * gives EROFS. Where the kernel refuses (we are not root, or it is older than 5.12) Python is executed plainly.
 *
 * See execveat(2), open_tree(2), mount_setattr(2), python3(1).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PYTHON
#define PYTHON "/usr/bin/python3" /* the build names the interpreter that it ran on */
#endif

/* The prefix that we are installed under: "/opt/venv" of "/opt/venv/bin/minirun". pipx puts only a symbolic link into
 * the PATH, which the kernel has resolved for us. */
static int find_prefix(char *prefix, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", prefix, size - 1);
    if (length < 0)
        return -1;
    prefix[length] = '\0';
    for (int level = 0; level < 2; level++) {
        char *slash = strrchr(prefix, '/');
        if (!slash)
            return -1;
        *slash = '\0';
    }
    return 0;
}

/* The interpreter: that of the virtual environment which we are in, or else the one that built us. The name stays
 * unresolved, because Python looks for pyvenv.cfg beside it. */
static const char *find_python(const char *prefix)
{
    static char python[PATH_MAX + sizeof "/bin/python3"];
    snprintf(python, sizeof python, "%s/bin/python3", prefix);
    if (access(python, X_OK) == 0)
        return python;
    return access(PYTHON, X_OK) == 0 ? PYTHON : "python3";
}

/* Our package, in whatever way the distribution spells it: lib or lib64, site-packages or dist-packages. */
static char *find_package(const char *prefix)
{
    char pattern[PATH_MAX + 64];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/lib*/python3*/*-packages/minirun/__main__.py", prefix);
    return glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathv[0] : NULL;
}

/* Execute `python` from a detached read-only copy of the mounts. Comes back only if that is impossible.
 * First from a copy of the root mount alone; AT_RECURSIVE, which takes longer the more mounts there are, only for an
 * interpreter that lies on another one. From "/", so that /proc/self/exe reads as usual: the dynamic linker asks it. */
static void exec_read_only(const char *python, char **argv)
{
    struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };
    char path[PATH_MAX];

    if (!realpath(python, path))
        return;
    for (int pass = 0; pass < 2; pass++) {
        unsigned deep = pass ? AT_RECURSIVE : 0;
        int root = syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | deep);
        if (root < 0)
            return;
        if (syscall(SYS_mount_setattr, root, "", AT_EMPTY_PATH | deep, &read_only, sizeof read_only) == 0)
            syscall(SYS_execveat, root, path + 1, argv, environ, 0);
        close(root);
    }
}

int main(int argc, char **argv)
{
    char prefix[PATH_MAX] = "";
    char *package = find_prefix(prefix, sizeof prefix) == 0 ? find_package(prefix) : NULL;
    const char *python = find_python(prefix);
    char **line = calloc(argc + 4, sizeof *line), **word = line;

    if (!line)
        return 125;
    /* A standard stream that the caller closed becomes /dev/null: the next file that is opened would take its number. */
    for (int fd = open("/dev/null", O_RDWR); fd >= 0 && fd < 3;)
        fd = open("/dev/null", O_RDWR | (fd < 2 ? 0 : O_CLOEXEC));
    *word++ = (char *)python;
    if (package) {
        *word++ = "-IS";
        *word++ = package;
    } else { /* an editable install: only `site` can find the package */
        *word++ = "-EP";
        *word++ = "-m";
        *word++ = "minirun";
    }
    memcpy(word, argv + 1, argc * sizeof *argv); /* with the NULL at its end */

    exec_read_only(python, line);
    execvp(python, line);
    perror("minirun: cannot start python3");
    return 125;
}
