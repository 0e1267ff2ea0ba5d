// What keeps strangers from a board: a guard on its link, and the key in its storage.
#ifndef SECURE_H
#define SECURE_H

#include "board.h"
#include "cutlayer/node.h"

// Fills in guard and keys of a node's config; nothing where the build says CUTLAYER_INSECURE,
// loudly. Returns 0, or negative when this board can keep no key (said on the port's console).
int32_t secure(const struct board *board, struct cl_node_config *config) CL_CHECK_RESULT;

#endif
