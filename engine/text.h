/* text.h - keys in sentences for people. */
#ifndef HELIOS_ENGINE_TEXT_H
#define HELIOS_ENGINE_TEXT_H
#include "base/slice.h"

enum { PRINTED_KEY_BYTES = 128 };

/* What does not print as \xNN, cut where it is long; with a NUL. */
void print_key(helios_slice key, char out[PRINTED_KEY_BYTES]);

#endif
