/* test_hostile.c - a database whose directory somebody else has had in his hands: links, pipes and directories in place
 * of its own files are refused, nobody waits for them, and nothing beyond the directory is written. Everything that is
 * made can be read by its owner alone, whatever the umask. Usage: test_hostile */
#undef NDEBUG
#include "helios/helios.h"
#include <assert.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/helios-hostile-XXXXXX";

static const char *at(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", root, name);
    return path;
}

static void must(helios_status status)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "%s\n", helios_last_error());
    abort();
}

static helios_slice text(const char *bytes)
{
    return (helios_slice){bytes, strlen(bytes)};
}

static void make_database(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db;

    must(helios_open(at("db"), &options, &db));
    must(helios_put(db, NULL, text("in a table"), text("1")));
    must(helios_flush(db));
    must(helios_put(db, NULL, text("in the log"), text("2")));
    must(helios_close(db));
}

/* ---- who may read it ---- */

static void check_modes(const char *folder)
{
    DIR *directory = opendir(at(folder));
    struct dirent *entry;
    struct stat found;
    char name[400];

    assert(directory);
    assert(stat(at(folder), &found) == 0 && (found.st_mode & 0777) == 0700);
    while ((entry = readdir(directory))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", folder, entry->d_name);
        assert(lstat(at(name), &found) == 0);
        if (S_ISDIR(found.st_mode))
            check_modes(name);
        else if ((found.st_mode & 0777) != 0600)
            fprintf(stderr, "%s: mode %o\n", name, found.st_mode & 0777), abort();
    }
    closedir(directory);
}

/* ---- what stands in place of a file ---- */

enum guise { LINK, PIPE, DIRECTORY, GUISE_COUNT };
static const char *const guises[] = {"link", "pipe", "directory"};

static void put_guise(enum guise guise, const char *path)
{
    if (guise == LINK)
        assert(symlink(at("aside"), path) == 0);
    else if (guise == PIPE)
        assert(mkfifo(path, 0600) == 0);
    else
        assert(mkdir(path, 0700) == 0);
}

static void refused(const char *name, enum guise guise, bool read_only)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db = NULL;
    helios_status status;

    options.read_only = read_only;
    status = helios_open(at("db"), &options, &db);
    if (status == HELIOS_OK)
        fprintf(stderr, "db/%s: a %s was taken for it\n", name, guises[guise]), abort();
    assert(strstr(helios_last_error(), root));
}

static void try_all(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/db/%s", root, name);
    assert(rename(path, at("aside")) == 0);
    for (enum guise guise = 0; guise < GUISE_COUNT; guise++) {
        struct stat before, after;

        put_guise(guise, path);
        assert(stat(at("aside"), &before) == 0);
        if (!(guise == DIRECTORY && S_ISDIR(before.st_mode))) {
            refused(name, guise, true);
            refused(name, guise, false);
        }
        assert(stat(at("aside"), &after) == 0 && after.st_size == before.st_size &&
               after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
        assert(remove(path) == 0);
    }
    assert(rename(at("aside"), path) == 0);
}

/* The first file there whose name ends so. */
static void find_file(const char *folder, const char *ending, char out[400])
{
    char path[400];
    DIR *directory;
    struct dirent *entry;

    snprintf(path, sizeof(path), "db/%s", folder);
    directory = opendir(at(path));
    out[0] = 0;
    while ((entry = readdir(directory)))
        if (strstr(entry->d_name, ending))
            snprintf(out, 400, "%s%s%s", folder, folder[0] ? "/" : "", entry->d_name);
    closedir(directory);
    assert(out[0]);
}

/* Salvage takes none of them for a file either, and ends. */
static void salvage_beside(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/db/%s", root, name);
    assert(rename(path, at("aside")) == 0);
    for (enum guise guise = 0; guise < GUISE_COUNT; guise++) {
        helios_salvage_report report = {.size = sizeof(report)};

        put_guise(guise, path);
        must(helios_salvage(at("db"), at("new"), NULL, &report));
        assert(report.lost > 0);
        must(helios_destroy(at("new")));
        assert(remove(path) == 0);
    }
    assert(rename(at("aside"), path) == 0);
}

int main(void)
{
    char name[400], command[600];

    umask(0);
    assert(mkdtemp(root));
    make_database();
    check_modes("db");
    try_all("HELIOS");
    try_all("CURRENT");
    try_all("wal");
    try_all("sst");
    find_file("", "MANIFEST", name);
    try_all(name);
    find_file("sst", ".sst", name);
    try_all(name);
    salvage_beside(name);
    find_file("wal", ".wal", name);
    try_all(name);
    make_database(); /* it still opens */
    snprintf(command, sizeof(command), "rm -r %s", root);
    assert(system(command) == 0);
    printf("links, pipes and directories refused\n");
    return 0;
}
