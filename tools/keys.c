/* keys.c - the key of an encrypted database, from where the command line says, and the commands about keys. Keys and
 * passwords are never on the command line themselves, where `ps` shows them. */
#include "tools/heliosctl.h"
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

enum { PASSWORD_MAX = 1024 };

/* The first line of the file. */
static bool read_password(const char *path, char text[PASSWORD_MAX + 2])
{
    FILE *file = fopen(path, "r");
    bool good = file && fgets(text, PASSWORD_MAX + 2, file);

    if (file)
        fclose(file);
    if (good)
        text[strcspn(text, "\r\n")] = 0;
    return good;
}

int key_take(const struct args *args, const struct key_words *words, helios_encryption *key, bool *given)
{
    static char password[PASSWORD_MAX + 2]; /* as long as the key is in use */
    const char *text = NULL;
    int count = !!words->key_env + !!words->key_file + !!words->password_env + !!words->password_file;

    *key = (helios_encryption)HELIOS_ENCRYPTION_INIT;
    *given = count > 0;
    if (count > 1)
        return report_usage(
            args, "a key comes from one place: an environment variable or a file, a key or a password");
    if (words->key_env || words->key_file) {
        key->source = words->key_env ? HELIOS_KEY_ENVIRONMENT : HELIOS_KEY_FILE;
        key->name = words->key_env ? words->key_env : words->key_file;
        return EXIT_CODE_OK;
    }
    if (count == 0)
        return EXIT_CODE_OK;
    if (words->password_file && !read_password(words->password_file, password))
        return report_system(args, "cannot read a password from %s", words->password_file);
    text = words->password_file ? password : getenv(words->password_env);
    if (!text || !*text)
        return report_usage(args, "there is no password in %s",
                            words->password_file ? words->password_file : words->password_env);
    key->source = HELIOS_KEY_PASSWORD;
    key->key = (helios_slice){text, strlen(text)};
    return EXIT_CODE_OK;
}

static const char *source_name(helios_key_source source)
{
    static const char *const names[] = {"none", "raw", "environment", "file", "password", "call-back"};

    return (size_t)source < sizeof(names) / sizeof(names[0]) ? names[source] : "unknown";
}

static void print_info(const struct args *args, const helios_key_info *info)
{
    struct json_object *object;

    if (!args->json && !info->encrypted) {
        printf("%s: not encrypted\n", args->words[0]);
        return;
    }
    if (!args->json) {
        printf("%s: AES-256-GCM, data key %u of %u in use, wrapped by key %u (%s)\n", args->words[0],
               info->key_id, info->key_count, info->wrapping_id, source_name(info->source));
        return;
    }
    object = json_object_new_object();
    json_object_object_add(object, "encrypted", json_object_new_boolean(info->encrypted));
    if (info->encrypted) {
        json_object_object_add(object, "algorithm", json_object_new_string("AES-256-GCM"));
        json_object_object_add(object, "source", json_object_new_string(source_name(info->source)));
        json_object_object_add(object, "wrapping_id", json_object_new_uint64(info->wrapping_id));
        json_object_object_add(object, "key_id", json_object_new_uint64(info->key_id));
        json_object_object_add(object, "key_count", json_object_new_uint64(info->key_count));
        json_object_object_add(object, "created", json_object_new_uint64(info->created));
    }
    json_print(stdout, object);
    json_free(object);
}

static int show(const struct args *args, helios_db *db, int code)
{
    helios_key_info info = {0};
    helios_status status = code ? HELIOS_OK : helios_key_info_get(db, &info);

    if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    code = ctl_close(args, db, code);
    if (code == EXIT_CODE_OK)
        print_info(args, &info);
    return code;
}

static int run_info(struct args *args)
{
    helios_db *db;
    int code = ctl_open(args, OPEN_READ, &db);

    return code ? code : show(args, db, code);
}

static bool show_rotation(void *arg, uint64_t done, uint64_t total)
{
    struct progress *progress = arg;

    progress->total = total;
    progress_update(progress, done, done);
    return true;
}

static int run_rotate(struct args *args)
{
    helios_rotate_options options = HELIOS_ROTATE_OPTIONS_INIT;
    helios_encryption next;
    struct progress progress;
    helios_status status;
    helios_db *db;
    bool given;
    int code = ctl_open(args, OPEN_WRITE, &db);

    if (code)
        return code;
    code = key_take(args, &args->new_key, &next, &given);
    if (code)
        return ctl_close(args, db, code);
    options.source = given ? &next : NULL;
    options.progress = show_rotation;
    options.arg = &progress;
    progress_begin(&progress, args, "rewriting", NULL, 0);
    status = helios_key_rotate(db, &options);
    progress_end(&progress);
    if (status != HELIOS_OK)
        code = report_status(args, status, NULL);
    return show(args, db, code);
}

static const struct argp_option info_options[] = {OPTION_ROW_JSON, OPTION_ROW_END};
static const struct argp_option rotate_options[] = {
    {"new-key-env", OPTION_NEW_KEY_ENV, "NAME", 0, "The key from now on, as --key-env", 0},
    {"new-key-file", OPTION_NEW_KEY_FILE, "FILE", 0, "The same, as --key-file", 0},
    {"new-password-env", OPTION_NEW_PASSWORD_ENV, "NAME", 0, "The same, as --password-env", 0},
    {"new-password-file", OPTION_NEW_PASSWORD_FILE, "FILE", 0, "The same, as --password-file", 0},
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command key_commands[] = {
    {"key info", "DB", "Tell whether a database is encrypted, and by which keys", NULL, info_options, 1, 1,
     run_info},
    {"key rotate", "DB", "Encrypt all tables anew with a new data key",
     "With one of the --new options the key or password that opens the database is changed too.",
     rotate_options, 1, 1, run_rotate},
    {0},
};
