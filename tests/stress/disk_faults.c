/* Fails fsyncs and writes of an SQLite data base: a library for LD_PRELOAD, built and steered by database_faults.py.
 *
 * XWRAP_DISK_FAULTS names a file that holds one `struct control`, which both programs have mapped.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NONE, FSYNC, WRITE, TORN_WRITE };

struct control {
    int32_t call;  /* which calls fail; TORN_WRITE: after half of the bytes were written */
    int32_t error; /* errno of those that fail */
    int32_t skip;  /* so many calls succeed before */
    int32_t count; /* so many fail */
    int32_t seen;  /* calls since it was set */
};

static struct control *control;

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("XWRAP_DISK_FAULTS");
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        control = mapped;
}

/* Whether the file is the data base, its write-ahead log or a journal. */
static int is_database(int file)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return strstr(path, ".sqlite3") != NULL;
}

static int fails(int file, int is_write)
{
    if (!control || control->call == NONE || is_write != (control->call != FSYNC) || !is_database(file))
        return 0;
    int32_t seen = __atomic_fetch_add(&control->seen, 1, __ATOMIC_SEQ_CST);
    return seen >= control->skip && seen < control->skip + control->count;
}

static int fail(void)
{
    errno = control->error;
    return -1;
}

#define SYNC(name)                                     \
    int name(int file)                                 \
    {                                                  \
        static int (*real)(int);                       \
        if (!real)                                     \
            real = dlsym(RTLD_NEXT, #name);            \
        return fails(file, 0) ? fail() : real(file);   \
    }

#define PWRITE(name, offset_type)                                                            \
    ssize_t name(int file, const void *bytes, size_t count, offset_type offset)              \
    {                                                                                        \
        static ssize_t (*real)(int, const void *, size_t, offset_type);                      \
        if (!real)                                                                           \
            real = dlsym(RTLD_NEXT, #name);                                                  \
        if (!fails(file, 1))                                                                 \
            return real(file, bytes, count, offset);                                         \
        if (control->call == TORN_WRITE)                                                     \
            (void)!real(file, bytes, count / 2, offset);                                     \
        return fail();                                                                       \
    }

SYNC(fsync)
SYNC(fdatasync)
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
