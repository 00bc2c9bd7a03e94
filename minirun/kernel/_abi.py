"""Build script of the C module `minirun.kernel._linux` (cffi, API mode, out of line): run once, at installation.

API mode means that a C compiler reads the kernel's and the C library's own headers: constants written `...` below are
filled in by it, and a prototype that does not match the header is a build error, not a crash at run time. The few
system calls for which the C library has no function are made with syscall(2), under their man page's name.
"""

from cffi import FFI

ffi = FFI()

ffi.cdef("""
    /* namespaces: unshare(2), setns(2), clone(2) */
    #define CLONE_NEWNS ...
    #define CLONE_NEWCGROUP ...
    #define CLONE_NEWUTS ...
    #define CLONE_NEWIPC ...
    #define CLONE_NEWUSER ...
    #define CLONE_NEWPID ...
    #define CLONE_NEWNET ...
    #define CLONE_INTO_CGROUP ...
    int unshare(int flags);
    int setns(int fd, int nstype);
    long clone3(unsigned long long flags, int cgroup);

    /* mounts: mount(2), umount2(2), pivot_root(2) */
    #define MS_RDONLY ...
    #define MS_NOSUID ...
    #define MS_NODEV ...
    #define MS_NOEXEC ...
    #define MS_SYNCHRONOUS ...
    #define MS_REMOUNT ...
    #define MS_MANDLOCK ...
    #define MS_DIRSYNC ...
    #define MS_NOATIME ...
    #define MS_NODIRATIME ...
    #define MS_BIND ...
    #define MS_MOVE ...
    #define MS_REC ...
    #define MS_SILENT ...
    #define MS_UNBINDABLE ...
    #define MS_PRIVATE ...
    #define MS_SLAVE ...
    #define MS_SHARED ...
    #define MS_RELATIME ...
    #define MS_STRICTATIME ...
    #define MS_LAZYTIME ...
    #define MNT_DETACH ...
    int mount(const char *source, const char *target, const char *filesystemtype, unsigned long mountflags,
              const char *data);
    int umount2(const char *target, int flags);
    int pivot_root(const char *new_root, const char *put_old);

    /* files: openat2(2), mknodat(2), close_range(2) */
    #define RESOLVE_NO_XDEV ...
    #define RESOLVE_NO_MAGICLINKS ...
    #define RESOLVE_NO_SYMLINKS ...
    #define RESOLVE_BENEATH ...
    #define RESOLVE_IN_ROOT ...
    #define AT_FDCWD ...
    #define AT_EMPTY_PATH ...
    #define CLOSE_RANGE_CLOEXEC ...
    int openat2(int dirfd, const char *pathname, unsigned long long flags, unsigned long long mode,
                unsigned long long resolve);
    int close_range(unsigned int first, unsigned int last, int flags);

    /* names: sethostname(2), setdomainname(2) */
    int sethostname(const char *name, size_t len);
    int setdomainname(const char *name, size_t len);

    /* rights: capset(2), prctl(2); three sets of two 32-bit words, as version 3 of the interface has them */
    int capset(unsigned long long effective, unsigned long long permitted, unsigned long long inheritable);
    int cap_ambient_raise(int capability);
    int cap_ambient_clear(void);

    /* limits: prlimit(2) */
    int prlimit(int pid, int resource, unsigned long long soft, unsigned long long hard);

    /* processes: pidfd_open(2), pidfd_send_signal(2) */
    int pidfd_open(int pid, unsigned int flags);
    int pidfd_send_signal(int pidfd, int sig, void *info, unsigned int flags);

    /* terminals: ioctl_tty(2) TIOCSCTTY */
    int set_controlling_terminal(int fd);

    /* device rules of cgroup v2: bpf(2), programs of type BPF_PROG_TYPE_CGROUP_DEVICE */
    int bpf_load_device_program(const char *instructions, unsigned int count);
    int bpf_attach_device_program(int program, int cgroup);

    /* keys: keyctl(2) KEYCTL_JOIN_SESSION_KEYRING */
    int join_session_keyring(const char *name);

    /* options whose buffer is read before it is filled: getsockopt(2) */
    int getsockopt(int sockfd, int level, int optname, void *optval, unsigned int *optlen);
""")

ffi.set_source(
    "minirun.kernel._linux",
    r"""
    #include <errno.h>
    #include <fcntl.h>
    #include <sched.h>
    #include <signal.h>
    #include <stdint.h>
    #include <sys/ioctl.h>
    #include <sys/mount.h>
    #include <sys/prctl.h>
    #include <sys/resource.h>
    #include <sys/socket.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #include <linux/bpf.h>
    #include <linux/capability.h>
    #include <linux/close_range.h>
    #include <linux/openat2.h>
    #include <linux/sched.h>

    #ifndef CLONE_INTO_CGROUP
    #define CLONE_INTO_CGROUP 0x200000000ULL
    #endif

    #ifndef SYS_pidfd_open
    #define SYS_pidfd_open 434
    #endif

    /* fork(2) with two additions: new namespaces for the child, and the cgroup v2 in which it begins. To be born in a
     * cgroup costs nothing; to be moved into one later waits for an RCU grace period, some 10 ms.
     * Python must hear of a fork on both sides of it, as os.fork() tells it, or the child's interpreter is broken;
     * cffi has let go of the interpreter lock for the duration of this call, so it is taken first. */
    static long clone3(unsigned long long flags, int cgroup)
    {
        struct clone_args args = {
            .flags = flags | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
            .exit_signal = SIGCHLD,
            .cgroup = cgroup >= 0 ? cgroup : 0,
        };
        PyGILState_STATE lock = PyGILState_Ensure();
        PyOS_BeforeFork();
        long pid = syscall(SYS_clone3, &args, sizeof args);
        int reason = errno;
        if (pid == 0)
            PyOS_AfterFork_Child();
        else
            PyOS_AfterFork_Parent();
        PyGILState_Release(lock);
        errno = reason;
        return pid;
    }

    static int pivot_root(const char *new_root, const char *put_old)
    {
        return syscall(SYS_pivot_root, new_root, put_old);
    }

    static int openat2(int dirfd, const char *pathname, unsigned long long flags, unsigned long long mode,
                       unsigned long long resolve)
    {
        struct open_how how = { .flags = flags, .mode = mode, .resolve = resolve };
        return syscall(SYS_openat2, dirfd, pathname, &how, sizeof how);
    }

    static int capset(unsigned long long effective, unsigned long long permitted, unsigned long long inheritable)
    {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3, .pid = 0 };
        struct __user_cap_data_struct sets[2] = {
            { .effective = effective, .permitted = permitted, .inheritable = inheritable },
            { .effective = effective >> 32, .permitted = permitted >> 32, .inheritable = inheritable >> 32 },
        };
        return syscall(SYS_capset, &header, sets);
    }

    static int cap_ambient_raise(int capability)
    {
        return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
    }

    static int cap_ambient_clear(void)
    {
        return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    }

    static int mr_prlimit(int pid, int resource, unsigned long long soft, unsigned long long hard)
    {
        struct rlimit limit = { .rlim_cur = soft, .rlim_max = hard };
        return syscall(SYS_prlimit64, pid, resource, &limit, NULL);
    }
    #define prlimit mr_prlimit

    static int mr_pidfd_open(int pid, unsigned int flags) { return syscall(SYS_pidfd_open, pid, flags); }
    #define pidfd_open mr_pidfd_open

    static int mr_pidfd_send_signal(int pidfd, int sig, void *info, unsigned int flags)
    {
        return syscall(SYS_pidfd_send_signal, pidfd, sig, info, flags);
    }
    #define pidfd_send_signal mr_pidfd_send_signal

    static int set_controlling_terminal(int fd)
    {
        return ioctl(fd, TIOCSCTTY, 0);
    }

    static int bpf_load_device_program(const char *instructions, unsigned int count)
    {
        union bpf_attr attr = {
            .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
            .insns = (uintptr_t)instructions,
            .insn_cnt = count,
            .license = (uintptr_t)"MIT",
        };
        return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
    }

    static int bpf_attach_device_program(int program, int cgroup)
    {
        union bpf_attr attr = {
            .target_fd = cgroup,
            .attach_bpf_fd = program,
            .attach_type = BPF_CGROUP_DEVICE,
            .attach_flags = BPF_F_ALLOW_MULTI, /* a service manager may have a program above ours; both must agree */
        };
        return syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof attr);
    }

    static int join_session_keyring(const char *name)
    {
        return syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, name) < 0 ? -1 : 0;
    }
    """,
    py_limited_api=True,
    define_macros=[("Py_LIMITED_API", "0x030B0000")],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
