/* layer_cursor.h - a cursor seen through one branch's layer: what lies on the branch and nothing else, under
 * keys without their branch (space | user key), so that the layers of a branch and of its ancestors merge by
 * base/merge.h as they are.
 *
 * That merge picks the right version by number alone: what a child wrote came after its fork point, and of the
 * parent nothing above that point is let through. Takes over `inner` on success; at a read point only. */
#ifndef HELIOS_BRANCH_LAYER_CURSOR_H
#define HELIOS_BRANCH_LAYER_CURSOR_H
#include "base/cursor.h"

enum { BRANCH_BYTES = 4 }; /* in front of every internal key */

helios_status layer_cursor_new(struct cursor *inner, helios_branch_id, struct cursor **) CHECKED;

#endif
