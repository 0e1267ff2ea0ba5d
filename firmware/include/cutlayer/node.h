// A node: one board's end of split training. It ties the head, the trainable layer and the link
// together. All state is in structs and memory that the caller owns, so that one process can run
// many nodes.
#ifndef CUTLAYER_NODE_H
#define CUTLAYER_NODE_H

#include "cutlayer/link.h"
#include "cutlayer/model.h"
#include "cutlayer/port.h"
#include "cutlayer/sensor.h"
#include "cutlayer/session.h"
#include "cutlayer/train.h"

// Longest payload and frames out of order that a node takes, and the ring of received bytes that a
// port keeps; a build for a small board sets smaller ones (boards/NAME.json: cutlayer.max_payload,
// cutlayer.window_frames, cutlayer.receive_bytes), the same for all its sources. Five longest
// frames, sealed, fit the credit of this ring: with four, a line of 921,600 baud that is busy both
// ways would wait for acknowledgements. A port with a smaller ring gets shorter payloads.
#ifndef CL_NODE_MAX_PAYLOAD
#define CL_NODE_MAX_PAYLOAD 520u
#endif
#ifndef CL_NODE_WINDOW_FRAMES
#define CL_NODE_WINDOW_FRAMES 5u
#endif
#ifndef CL_NODE_RECEIVE_BYTES
#define CL_NODE_RECEIVE_BYTES 3072u
#endif

// The least ms from one step to the next: an APPLY that comes sooner is refused, CL_ERROR_LIMIT
// (the same file: cutlayer.step_ms).
#ifndef CL_NODE_STEP_MS
#define CL_NODE_STEP_MS 0u
#endif

// The part of a receive ring that no credit is given for: the host's frames without payload go
// there.
#define CL_NODE_RING_SLACK_BYTES(seal_bytes)                                                       \
    ((CL_WINDOW_SEND_FRAMES + 2u) * CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + (seal_bytes)))

// Bytes of a node's memory for a head's arena and cl_train_bytes of its trainable layer (0 without
// one): what cl_node_bytes returns for a sensor that needs no memory, for static arrays.
#define CL_NODE_ALIGN(bytes) (((uint32_t)(bytes) + 15u) & ~(uint32_t)15u)
#define CL_NODE_BYTES(arena_bytes, train_bytes)                                                    \
    (CL_NODE_ALIGN(arena_bytes) + CL_NODE_ALIGN(train_bytes) +                                     \
     CL_NODE_ALIGN(CL_LINK_BYTES(CL_NODE_MAX_PAYLOAD, CL_NODE_WINDOW_FRAMES)))

// Bytes that a sensor takes beyond the arena which it is lent, from the head's sensor_offset on.
#define CL_NODE_SENSOR_BYTES(arena_bytes, sensor_offset, memory_bytes)                             \
    ((uint32_t)(sensor_offset) + (uint32_t)(memory_bytes) > (uint32_t)(arena_bytes)                \
         ? CL_NODE_ALIGN((uint32_t)(sensor_offset) + (uint32_t)(memory_bytes) -                    \
                         (uint32_t)(arena_bytes))                                                  \
         : 0u)

struct cl_node_config {
    const struct cl_port *port;
    const struct cl_model *model;
    const struct cl_sensor *sensor;
    struct cl_saver *saver;       // null without storage
    const struct cl_guard *guard; // null: all connections are plain
    struct cl_keys *keys;         // of the guard, opened; null without one
    void *memory;                 // aligned to 16
    uint32_t memory_bytes;
};

struct cl_node {
    struct cl_node_config config;
    struct cl_link link;
    struct cl_session session;
    uint8_t phase; // of CAPTURING, see node.c
    uint16_t op;   // of the head, to run next
    int32_t label;
    uint32_t applied_ms; // when the last step was
    int32_t port_error;  // of the present call, while it goes on
};

// Bytes of memory that a node needs for `model` and a sensor of `sensor_bytes` (its memory_bytes):
// arena, training state and link buffers. Never fails.
uint32_t cl_node_bytes(const struct cl_model *model, uint32_t sensor_bytes);

// Prepares a node. Returns the bytes used, or CL_ERROR_MEMORY, CL_ERROR_ARGUMENT (memory not
// aligned, a receive ring too small for the shortest payload, or something missing), or the error
// of cl_engine_open.
int32_t cl_node_init(struct cl_node *node, const struct cl_node_config *config) CL_CHECK_RESULT;

// Does bounded work: reads and writes the link without blocking, and one piece of capture, head or
// update. Returns the ms until it wants to be called again (0: at once; sooner never hurts), or
// negative when the link is lost (call again when the port is back).
int32_t cl_node_step(struct cl_node *node) CL_CHECK_RESULT;

#endif
