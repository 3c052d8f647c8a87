/* The no-open design in C on libfuse 3, to measure the kernel driver against.
 *
 *     gcc -O2 no_open.c $(pkg-config --cflags --libs fuse3) -o no_open
 *     no_open -f FOLDER MOUNTPOINT
 *
 * Serves the plain files of FOLDER read-only, in one thread: LOOKUP, GETATTR, READDIRPLUS and READ from memory and
 * open descriptors, OPEN and OPENDIR answered with ENOSYS, everything valid for a day. What it knows of the folder
 * is read before it mounts, as pictofs has its catalog; descriptors are opened at the first read and kept.
 */
#define FUSE_USE_VERSION 34
#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY 86400.0

struct file { char *name; struct stat st; int fd; };

static struct file *files;
static size_t count;
static int folder;
static struct stat root;
static size_t *table;          /* open addressing: index + 1 of a file, by hash of its name */
static size_t slots;

static size_t hash(const char *name)
{
    size_t h = 1469598103934665603ULL;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 1099511628211ULL;
    return h;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static void learn(const char *path)
{
    size_t room = 0;
    struct dirent *row;
    DIR *listing = opendir(path);
    if (!listing) { perror(path); exit(1); }
    folder = dirfd(listing);
    fstat(folder, &root);
    while ((row = readdir(listing))) {
        struct stat st;
        if (fstatat(folder, row->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode)) continue;
        if (count == room) files = realloc(files, (room = room ? room * 2 : 1024) * sizeof *files);
        files[count++] = (struct file){ strdup(row->d_name), st, -1 };
    }
    qsort(files, count, sizeof *files, by_name);
    for (slots = 16; slots < count * 2; slots *= 2) { }
    table = calloc(slots, sizeof *table);
    for (size_t i = 0; i < count; i++) {
        size_t at = hash(files[i].name) & (slots - 1);
        while (table[at]) at = (at + 1) & (slots - 1);
        table[at] = i + 1;
    }
}

static void attributes(fuse_ino_t node, struct stat *st)
{
    *st = node == FUSE_ROOT_ID ? root : files[node - 2].st;
    st->st_mode &= ~0222;
}

static void entry(size_t i, struct fuse_entry_param *e)
{
    memset(e, 0, sizeof *e);
    e->ino = i + 2;
    e->attr_timeout = e->entry_timeout = DAY;
    attributes(e->ino, &e->attr);
}

static void no_init(void *data, struct fuse_conn_info *conn)
{
    (void)data;
    conn->want &= ~FUSE_CAP_ASYNC_READ;
}

static void no_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    size_t at = hash(name) & (slots - 1);
    (void)parent;
    for (; table[at]; at = (at + 1) & (slots - 1))
        if (!strcmp(files[table[at] - 1].name, name)) {
            struct fuse_entry_param e;
            entry(table[at] - 1, &e);
            fuse_reply_entry(req, &e);
            return;
        }
    fuse_reply_err(req, ENOENT);
}

static void no_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    struct stat st;
    (void)info;
    attributes(node, &st);
    fuse_reply_attr(req, &st, DAY);
}

static void no_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *info)
{
    char *buffer = malloc(size);
    size_t used = 0;
    (void)node; (void)info;
    for (size_t i = offset; i < count; i++) {
        struct fuse_entry_param e;
        entry(i, &e);
        size_t need = fuse_add_direntry_plus(req, buffer + used, size - used, files[i].name, &e, i + 1);
        if (need > size - used) break;
        used += need;
    }
    fuse_reply_buf(req, buffer, used);
    free(buffer);
}

static void no_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *info)
{
    char *buffer = malloc(size);
    size_t used = 0;
    (void)node; (void)info;
    for (size_t i = offset; i < count; i++) {
        size_t need = fuse_add_direntry(req, buffer + used, size - used, files[i].name, &files[i].st, i + 1);
        if (need > size - used) break;
        used += need;
    }
    fuse_reply_buf(req, buffer, used);
    free(buffer);
}

static void no_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *info)
{
    struct file *file = &files[node - 2];
    struct fuse_bufvec data = FUSE_BUFVEC_INIT(size);
    (void)info;
    if (file->fd < 0) file->fd = openat(folder, file->name, O_RDONLY);
    if (file->fd < 0) { fuse_reply_err(req, errno); return; }
    data.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
    data.buf[0].fd = file->fd;
    data.buf[0].pos = offset;
    fuse_reply_data(req, &data, FUSE_BUF_NO_SPLICE);
}

static void no_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    (void)node; (void)info;
    fuse_reply_err(req, ENOSYS);
}

static const struct fuse_lowlevel_ops operations = {
    .init = no_init, .lookup = no_lookup, .getattr = no_getattr, .readdir = no_readdir,
    .readdirplus = no_readdirplus, .read = no_read, .open = no_open, .opendir = no_open,
};

int main(int argc, char **argv)
{
    char *mount_options[] = { argv[0], "-oro,default_permissions,fsname=no_open" };
    struct fuse_args args = FUSE_ARGS_INIT(2, mount_options);
    struct rlimit limit;
    if (argc != 4 || strcmp(argv[1], "-f")) { fprintf(stderr, "usage: no_open -f FOLDER MOUNTPOINT\n"); return 2; }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    learn(argv[2]);
    struct fuse_session *session = fuse_session_new(&args, &operations, sizeof operations, NULL);
    if (!session || fuse_set_signal_handlers(session) || fuse_session_mount(session, argv[3])) return 1;
    int result = fuse_session_loop(session);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return result != 0;
}
