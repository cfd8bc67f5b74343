/* notify.c - the thread that makes descriptors of cursors readable; see notify.h.
 *
 * No wake-up is lost: who arms looks again under mu, and the thread looks at all that are armed with itself counted among
 * the followers and their word read before, so that a commit that it did not see changes the word that it then sleeps on.
 *
 * A cursor that waits for durable commits is told once, when they are: the thread sees them, asks for a sync within the
 * group interval as a commit of durability GROUP does, and looks how far the log is until that is done. While it does so
 * for all that are armed it sleeps by itself, and commits pay nothing. */
#include "changelog/notify.h"
#include "base/mem.h"
#include <assert.h>

enum { DURABLE_PAUSE = 1000 /* us */ };

struct change_watch {
    int fd;
    /* Guarded by mu. */
    bool armed;
    struct watch_wish wish;
    struct change_watch *next;
};

struct feed_notifier {
    struct helios_db *db;
    pthread_t thread;
    struct mutex mu;
    struct condition changed;
    /* Guarded by mu. */
    struct change_watch *watches;
    bool stop;
    bool on_word;      /* the thread counts as a waiter for what becomes visible */
    uint64_t sync_due; /* a sync was asked for by then */
};

/* ---- looking ---- */

/* What those wait for that stay armed. */
struct outlook {
    bool armed, visible;
    uint64_t wait; /* us; look again after that */
};

/* A durable end that waits for the log. */
static bool log_ahead(struct helios_db *db, const struct watch_wish *wish)
{
    return !wish->visible && wal_published(feed_log(db)) > wish->upto;
}

/* As the cursor itself will be told. */
static bool failure_to_tell(struct helios_db *db, const struct watch_wish *wish)
{
    return log_ahead(db, wish) ? wal_error(feed_log(db)) != HELIOS_OK : atomic_load(&db->failed);
}

static bool wish_granted(struct helios_db *db, const struct watch_wish *wish)
{
    if (wish->visible ? atomic_load(&db->visible) > wish->above : wal_durable(feed_log(db)) > wish->upto)
        return true;
    return failure_to_tell(db, wish) || (wish->due != UINT64_MAX && io_monotonic(db->fs) >= wish->due);
}

static void wait_at_most(struct outlook *look, uint64_t time)
{
    if (time < look->wait)
        look->wait = time;
}

/* There are commits ahead, not yet durable. */
static void hurry_sync_locked(struct feed_notifier *n, struct outlook *look)
{
    struct helios_db *db = n->db;
    uint64_t now = io_monotonic(db->fs);

    wait_at_most(look, DURABLE_PAUSE);
    if (now < n->sync_due)
        return;
    n->sync_due = now + db->options.group_commit_interval;
    wal_sync_soon(db->wal, db->options.group_commit_interval);
}

static void look_locked(struct feed_notifier *n, struct outlook *look)
{
    struct helios_db *db = n->db;

    *look = (struct outlook){.wait = UINT64_MAX};
    for (struct change_watch *w = n->watches; w; w = w->next) {
        if (!w->armed)
            continue;
        if (wish_granted(db, &w->wish)) {
            w->armed = false;
            io_event_set(w->fd);
            continue;
        }
        look->armed = true;
        if (log_ahead(db, &w->wish))
            hurry_sync_locked(n, look);
        else
            look->visible = true;
        if (w->wish.due != UINT64_MAX) {
            uint64_t now = io_monotonic(db->fs);

            wait_at_most(look, now < w->wish.due ? w->wish.due - now : 0);
        }
    }
}

/* ---- the thread ---- */

static void count_locked(struct feed_notifier *n, bool on_word)
{
    if (on_word)
        followers_enter(&n->db->followers);
    else
        followers_leave(&n->db->followers);
    n->on_word = on_word;
}

static void sleep_locked(struct feed_notifier *n, uint32_t word, const struct outlook *look)
{
    if (n->on_word) {
        mutex_unlock(&n->mu);
        followers_sleep(&n->db->followers, word, look->wait);
        mutex_lock(&n->mu);
    } else if (look->armed) {
        (void)condition_wait_for(&n->changed, &n->mu, look->wait);
    } else {
        condition_wait(&n->changed, &n->mu);
    }
}

static void *notifier_run(void *arg)
{
    struct feed_notifier *n = arg;
    struct outlook look;

    mutex_lock(&n->mu);
    while (!n->stop) {
        uint32_t word = followers_word(&n->db->followers);

        look_locked(n, &look);
        if (look.visible == n->on_word)
            sleep_locked(n, word, &look);
        else
            count_locked(n, look.visible); /* and look again: what came before it was counted woke nobody */
    }
    if (n->on_word)
        count_locked(n, false);
    mutex_unlock(&n->mu);
    return NULL;
}

/* So that it looks: the thread sleeps at one of two places. Others on the word look and sleep again. */
static void wake_locked(struct feed_notifier *n)
{
    if (n->on_word)
        followers_tell(&n->db->followers);
    else
        condition_signal(&n->changed);
}

/* ---- from the first descriptor to the last; under notify_mu ---- */

static helios_status notifier_start(struct helios_db *db, struct feed_notifier **out)
{
    struct feed_notifier *n = mem_zalloc(sizeof(*n));
    helios_status status;

    if (!n)
        return fail_no_memory(sizeof(*n));
    n->db = db;
    mutex_init(&n->mu);
    condition_init(&n->changed);
    status = thread_start(&n->thread, "helios-notify", notifier_run, n);
    if (status != HELIOS_OK) {
        condition_release(&n->changed);
        mutex_release(&n->mu);
        mem_free(n);
        return status;
    }
    *out = n;
    return HELIOS_OK;
}

static void notifier_stop(struct feed_notifier *n)
{
    mutex_lock(&n->mu);
    assert(!n->watches);
    n->stop = true;
    wake_locked(n);
    mutex_unlock(&n->mu);
    thread_join(n->thread);
    condition_release(&n->changed);
    mutex_release(&n->mu);
    mem_free(n);
}

static void add_watch(struct feed_notifier *n, struct change_watch *w)
{
    mutex_lock(&n->mu);
    w->next = n->watches;
    n->watches = w;
    mutex_unlock(&n->mu);
}

/* Whether it was the last. */
static bool remove_watch(struct feed_notifier *n, struct change_watch *w)
{
    struct change_watch **at;
    bool last;

    mutex_lock(&n->mu);
    for (at = &n->watches; *at != w;)
        at = &(*at)->next;
    *at = w->next;
    last = !n->watches;
    mutex_unlock(&n->mu);
    return last;
}

/* ---- a cursor's descriptor ---- */

helios_status watch_new(struct helios_db *db, struct change_watch **out)
{
    struct feed *feed = &db->feed;
    struct change_watch *w = mem_zalloc(sizeof(*w));
    helios_status status;

    if (!w)
        return fail_no_memory(sizeof(*w));
    status = io_event_new(&w->fd);
    if (status != HELIOS_OK) {
        mem_free(w);
        return status;
    }
    mutex_lock(&feed->notify_mu);
    if (!feed->notifier)
        status = notifier_start(db, &feed->notifier);
    if (status == HELIOS_OK)
        add_watch(feed->notifier, w);
    mutex_unlock(&feed->notify_mu);
    if (status != HELIOS_OK) {
        io_event_close(w->fd);
        mem_free(w);
        return status;
    }
    *out = w;
    return HELIOS_OK;
}

void watch_free(struct helios_db *db, struct change_watch *w)
{
    struct feed *feed = &db->feed;

    if (!w)
        return;
    mutex_lock(&feed->notify_mu);
    if (remove_watch(feed->notifier, w)) {
        notifier_stop(feed->notifier);
        feed->notifier = NULL;
    }
    mutex_unlock(&feed->notify_mu);
    io_event_close(w->fd);
    mem_free(w);
}

int watch_fd(const struct change_watch *w)
{
    return w->fd;
}

void watch_arm(struct helios_db *db, struct change_watch *w, const struct watch_wish *wish)
{
    struct feed_notifier *n = db->feed.notifier; /* there while this descriptor is */

    mutex_lock(&n->mu);
    io_event_clear(w->fd);
    w->wish = *wish;
    w->armed = !wish_granted(db, wish);
    if (!w->armed)
        io_event_set(w->fd);
    else if (!n->on_word || wish->due != UINT64_MAX || !wish->visible)
        wake_locked(n);
    mutex_unlock(&n->mu);
}

void watch_set(struct helios_db *db, struct change_watch *w)
{
    struct feed_notifier *n = db->feed.notifier;

    mutex_lock(&n->mu);
    w->armed = false;
    io_event_set(w->fd);
    mutex_unlock(&n->mu);
}
