// A file as the board's storage.
#ifndef STORAGE_H
#define STORAGE_H

#include "cutlayer/storage.h"

// Opens a file, made when it is not there, for this process alone. Returns null when that is not
// possible, said on stderr. What was never written reads as erased or as 0.
const struct cl_storage *storage_open(const char *path);

#endif
