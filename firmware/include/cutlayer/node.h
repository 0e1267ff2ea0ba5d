// A node: one board's end of split training. It ties the head, the trainable layer and the link together.
// All state is in structs and memory that the caller owns, so that one process can run many nodes.
#ifndef CUTLAYER_NODE_H
#define CUTLAYER_NODE_H

#include "cutlayer/link.h"
#include "cutlayer/model.h"
#include "cutlayer/port.h"
#include "cutlayer/sensor.h"
#include "cutlayer/session.h"
#include "cutlayer/train.h"

struct cl_node_config {
    const struct cl_port *port;
    const struct cl_model *model;
    const struct cl_sensor *sensor;
    void *memory; // aligned to 16
    uint32_t memory_bytes;
};

struct cl_node; // laid out below by its owner; see node.c

// Bytes of memory that a node needs for `model`: arena, training state and link buffers. Never fails.
uint32_t cl_node_bytes(const struct cl_model *model);

// Prepares a node. Returns the bytes used, or CL_ERROR_MEMORY, CL_ERROR_ARGUMENT.
int32_t cl_node_init(struct cl_node *node, const struct cl_node_config *config) CL_CHECK_RESULT;

// Does bounded work: reads and writes the link without blocking, and one piece of capture, head or update.
// Returns the ms until it wants to be called again (0: at once; sooner never hurts), or negative when the link
// is lost (call again when the port is back).
int32_t cl_node_step(struct cl_node *node) CL_CHECK_RESULT;

#endif
