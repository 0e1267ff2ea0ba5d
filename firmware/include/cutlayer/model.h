// What the converter writes into cutlayer_model.c: `const struct cl_model cutlayer_model`.
#ifndef CUTLAYER_MODEL_H
#define CUTLAYER_MODEL_H

#include "cutlayer/head.h"
#include "cutlayer/train.h"

struct cl_model {
    uint8_t id[32]; // SHA-256, the bundle's model id
    struct cl_head head;
    uint16_t first_cut;                   // the shallowest that a host may choose
    const struct cl_trainable *trainable; // null when the head's last op cannot be trained
};

#endif
