/* memory_internal.h - files and directories in memory. Private to memory.c, memory_names.c and
 * power_cut.c.
 *
 * A file system that can be cut keeps everything twice: as it is, and as it would be found after a
 * power cut that loses all that was not synced. Whatever a cut or a sync needs is allocated by the
 * call that changes something, so that neither can fail. Lock order: memory_fs.lock, inode.lock. */
#ifndef HELIOS_IO_MEMORY_INTERNAL_H
#define HELIOS_IO_MEMORY_INTERNAL_H
#include "base/thread.h"
#include "io/io_internal.h"

enum { NAME_BYTES_MAX = 255, SECTOR_BYTES = 512 };

/* Bytes in pages of their own; zero from size up to capacity. */
struct image {
    unsigned char *bytes;
    uint64_t size, capacity;
};

/* A name in a directory; shared by the live set, the durable set and the changes between them. */
struct name {
    uint32_t holders;
    char text[];
};

struct names {
    struct {
        struct name *name;
        struct inode *inode;
    } * entries; /* sorted */
    size_t count, capacity;
};

struct inode {
    bool is_directory;
    /* Guarded by memory_fs.lock. */
    uint32_t holders; /* names, live and durable; changes; handles; locks */
    uint32_t users;   /* of those, live names and handles: while there are any, its bytes take space */
    int locked;       /* -1: exclusively; else by how many */
    struct names names, synced_names; /* a directory's */
    uint64_t cut;                     /* the number of the last power cut that has been here */
    /* A file's; guarded by lock, but what is stored through mappings is for the callers to order. */
    pthread_rwlock_t lock;
    struct image now, synced;      /* synced: when the file system can be cut; at least now's capacity */
    uint64_t dirty_from, dirty_to; /* outside, now and synced are the same */
    uint64_t mapped_bytes;         /* of the widest mapping there is */
    uint32_t mappings;             /* while there are any, now does not move */
};

/* One change of names that was not synced: one entry, or two at once for a rename. A NULL inode
 * removes the name. Holds what it points to. */
struct change {
    struct {
        struct inode *directory, *inode;
        struct name *name;
    } edit[2];
    int count;
    bool wanted; /* while changes are chosen: this one becomes durable */
};

struct memory_fs {
    struct io_fs fs; /* first: what callers hold is a pointer to it */
    bool cuts;
    pthread_mutex_t lock;
    struct inode *root;
    struct change *changes; /* oldest first */
    size_t change_count, change_capacity;
    uint32_t handles, cut_count;
    _Atomic uint64_t used, limit; /* bytes of files; 0: no limit */
};

struct memory_file {
    struct io_file file;
    struct inode *inode;
    bool writable;
    char path[];
};

static inline struct memory_fs *memory_of(struct io_fs *fs)
{
    return (struct memory_fs *)fs;
}

static inline struct inode *inode_of(struct io_file *file)
{
    return ((struct memory_file *)file)->inode;
}

/* ---- memory_names.c; all with memory_fs.lock held ---- */

struct inode *inode_new(bool is_directory); /* held once; NULL: no memory */
void inode_unref(struct memory_fs *, struct inode *);
/* A live name or a handle more or less; a user is a holder too. */
void inode_use(struct memory_fs *, struct inode *);
void inode_unuse(struct memory_fs *, struct inode *);

struct inode *names_find(const struct names *, const char *text);

/* Where a path leads: its last component and the directory of that. The root has an empty name. */
struct place {
    struct inode *directory, *inode; /* inode: NULL if there is none of that name */
    char name[NAME_BYTES_MAX + 1];
};
helios_status place_find(struct memory_fs *, const char *what, const char *path, struct place *) CHECKED;

/* Makes the names at from and to stand for these inodes (NULL: none), at once; `to` may be NULL. */
helios_status names_change(struct memory_fs *, const struct place *from, struct inode *from_inode,
                           const struct place *to, struct inode *to_inode) CHECKED;
/* Makes durable what changed in the directory, and what must come before it. */
void changes_sync(struct memory_fs *, struct inode *directory);
/* Of the changes, those that `keep` wants become durable; not one whose name has an earlier change
 * that did not. None is left. */
void changes_settle(struct memory_fs *, bool (*keep)(void *arg, size_t index, size_t count), void *arg);
/* The live names become the durable ones, here and below; calls visit once for each file. */
void names_restore(struct memory_fs *, struct inode *directory, void (*visit)(void *arg, struct inode *),
                   void *arg);
void memory_names_release(struct memory_fs *);

/* ---- power_cut.c ---- */

/* What is there becomes durable. With inode.lock held for writing. */
void inode_sync(struct inode *);

#endif
