#include "cutlayer/node.h"

#include <string.h>

#include "cutlayer/engine.h"
#include "link_state.h"

#define READ_BYTES 128u // at a time, on the stack
#define READS_PER_STEP 8
#define IDLE_MS 1000u // longest sleep
#define BLOCKED_MS 1  // until a port that took nothing is asked again
#define SENSOR_MS 5u  // until a sensor that had nothing is

enum phase { PHASE_START = 0, PHASE_SENSOR = 1, PHASE_HEAD = 2 };

// --- memory ---

struct parts {
    uint8_t *arena;
    uint8_t *train;
    uint8_t *link;
    uint32_t train_bytes;
    uint32_t bytes; // of all
};

static uint8_t *carve(struct parts *parts, uint8_t *memory, uint32_t bytes)
{
    uint8_t *part = memory ? memory + parts->bytes : 0;
    parts->bytes += CL_NODE_ALIGN(bytes);
    return part;
}

// Lays a node's parts out from `memory` on; null only counts their bytes. What the sensor is lent
// is the arena's end and, where that is too short, what lies behind it.
static struct parts layout(const struct cl_model *model, uint32_t sensor_bytes,
                           uint32_t max_payload, uint8_t *memory)
{
    const struct cl_head *head = &model->head;
    const struct cl_trainable *layer = model->trainable;
    struct parts parts = {0};
    parts.train_bytes = layer ? cl_train_bytes(layer, layer->optimizer_max) : 0;
    parts.arena =
        carve(&parts, memory,
              head->arena_bytes +
                  CL_NODE_SENSOR_BYTES(head->arena_bytes, head->sensor_offset, sensor_bytes));
    parts.train = carve(&parts, memory, parts.train_bytes);
    parts.link = carve(&parts, memory, CL_LINK_BYTES(max_payload, CL_NODE_WINDOW_FRAMES));
    return parts;
}

uint32_t cl_node_bytes(const struct cl_model *model, uint32_t sensor_bytes)
{
    return layout(model, sensor_bytes, CL_NODE_MAX_PAYLOAD, 0).bytes;
}

// --- link ---

static uint32_t now_ms(const struct cl_node *node)
{
    return node->config.port->now_ms(node->config.port->context);
}

static uint32_t ticks(const struct cl_node *node)
{
    return node->config.port->ticks ? node->config.port->ticks(node->config.port->context) : 0;
}

static int32_t encode(void *context, const struct cl_link_token *token, uint8_t *payload,
                      uint32_t capacity)
{
    struct cl_node *node = context;
    const struct cl_port *port = node->config.port;
    uint32_t *counters = node->session.counters;
    counters[CL_COUNTER_FRAMES_RECEIVED] = node->link.frames_received;
    counters[CL_COUNTER_FRAMES_MALFORMED] = node->link.frames_malformed;
    counters[CL_COUNTER_DATA_RESENT] = node->link.data_resent;
    counters[CL_COUNTER_BYTES_RECEIVED] = node->link.bytes_received;
    counters[CL_COUNTER_BYTES_SENT] = node->link.bytes_sent;
    counters[CL_COUNTER_STACK_BYTES] = port->stack_bytes ? port->stack_bytes(port->context) : 0;
    const uint32_t start = ticks(node);
    const int32_t bytes = cl_session_encode(&node->session, token, payload, capacity);
    if (node->session.state == CL_STATE_SENDING) {
        counters[CL_COUNTER_HEAD_TICKS] += ticks(node) - start;
    }
    return bytes;
}

static void send(struct cl_node *node, const struct cl_link_token *token)
{
    uint32_t bytes = cl_session_reply_bytes(token, cl_link_payload_max(&node->link));
    int32_t result = cl_link_send(&node->link, token, bytes);
    (void)result; // fails only when the connection has just ended: the token goes with it
}

// Returns the bytes read, or the port's error.
static int32_t read_link(struct cl_node *node)
{
    const struct cl_port *port = node->config.port;
    uint8_t data[READ_BYTES];
    int32_t total = 0;
    for (int32_t i = 0; i < READS_PER_STEP; i++) {
        int32_t count = port->read(port->context, data, READ_BYTES);
        if (count < 0) {
            return count;
        }
        if (count == 0) {
            break;
        }
        cl_link_receive(&node->link, data, (uint32_t)count, now_ms(node));
        total += count;
    }
    return total;
}

// Returns 1 when the port takes no more, 0 when nothing is left to write, or the port's error.
static int32_t write_link(struct cl_node *node)
{
    const struct cl_port *port = node->config.port;
    const uint8_t *data;
    for (;;) {
        uint32_t count = cl_link_transmit(&node->link, now_ms(node), &data);
        if (count == 0) {
            return 0;
        }
        int32_t taken = port->write(port->context, data, count);
        if (taken <= 0) {
            return taken < 0 ? taken : 1;
        }
        cl_link_written(&node->link, (uint32_t)taken, now_ms(node));
    }
}

// A new connection, or none any more: nothing that was under way goes on.
static void take_events(struct cl_node *node)
{
    if (cl_link_events(&node->link) != 0 &&
        cl_session_event(&node->session, CL_EVENT_OPENED) == 0) {
        node->phase = PHASE_START;
    }
}

// The longest payload with its seal. Sealed frames without payload leave less of the ring to the
// others; a full window of these still has to fit.
static uint32_t payload_in_ring(uint32_t ring_bytes, uint32_t seal_bytes)
{
    const uint32_t frames = seal_bytes ? CL_NODE_WINDOW_FRAMES : 1u;
    uint32_t longest = CL_NODE_MAX_PAYLOAD;
    while (CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + longest) > ring_bytes ||
           (CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + longest) * frames > ring_bytes &&
            longest > CL_LINK_PAYLOAD_MIN + seal_bytes)) {
        longest--;
    }
    return longest;
}

int32_t cl_node_init(struct cl_node *node, const struct cl_node_config *config)
{
    const struct cl_port *port = config->port;
    const struct cl_model *model = config->model;
    uint32_t seal_bytes = config->guard ? CL_GUARD_FRAME_BYTES : 0;
    uint32_t slack_bytes = CL_NODE_RING_SLACK_BYTES(seal_bytes);
    if (!port || !port->read || !port->write || !port->now_ms || !model || !config->sensor ||
        (uintptr_t)config->memory % 16u != 0 || model->head.cut_count == 0 ||
        port->receive_bytes <
            slack_bytes + CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + CL_LINK_PAYLOAD_MIN + seal_bytes)) {
        return CL_ERROR_ARGUMENT;
    }
    uint32_t ring_bytes = port->receive_bytes - slack_bytes;
    uint32_t sealed_max = payload_in_ring(ring_bytes, seal_bytes);
    struct parts parts = layout(model, config->sensor->memory_bytes, sealed_max, config->memory);
    if (!config->memory || config->memory_bytes < parts.bytes) {
        return CL_ERROR_MEMORY;
    }
    memset(node, 0, sizeof *node);
    node->config = *config;
    struct cl_link_config link = {
        .role = CL_LINK_BOARD,
        .max_payload = (uint16_t)(sealed_max - seal_bytes),
        .window_frames = CL_NODE_WINDOW_FRAMES,
        .window_bytes = (uint16_t)(ring_bytes < UINT16_MAX ? ring_bytes : UINT16_MAX),
        .guard = config->guard,
        .encode = encode,
        .context = node,
        .memory = parts.link,
        .memory_bytes = parts.bytes - (uint32_t)(parts.link - parts.arena),
    };
    struct cl_session_config session = {
        .model = model,
        .board = port->board,
        .recording_count = config->sensor->recording_count,
        .is_live = config->sensor->is_live != 0,
        .arena = (int8_t *)parts.arena,
        .train_memory = parts.train,
        .train_bytes = parts.train_bytes,
        .saver = model->trainable ? config->saver : 0,
        .keys = config->keys,
    };
    int32_t result = cl_link_init(&node->link, &link);
    if (result >= 0) {
        result = cl_engine_open(&model->head, session.arena);
    }
    if (result >= 0) {
        result = cl_session_init(&node->session, &session);
    }
    node->session.counters[CL_COUNTER_MEMORY_BYTES] = parts.bytes;
    return result < 0 ? result : (int32_t)parts.bytes;
}

// --- work ---

static void fail(struct cl_node *node, int32_t code)
{
    struct cl_link_token reply;
    node->phase = PHASE_START;
    if (cl_session_failed(&node->session, code, &reply) == 0) {
        send(node, &reply);
    }
}

// One step of the sensor. Returns what the sensor returns: 1 when the head's input is there.
static int32_t step_sensor(struct cl_node *node)
{
    const struct cl_sensor *sensor = node->config.sensor;
    const struct cl_head *head = &node->config.model->head;
    if (node->phase == PHASE_START) {
        node->session.counters[CL_COUNTER_SENSOR_TICKS] = 0;
        node->session.counters[CL_COUNTER_HEAD_TICKS] = 0;
        node->label = CL_LABEL_NONE;
        node->op = 0;
        node->phase = PHASE_SENSOR;
        return sensor->start(sensor->context, node->session.sample.recording,
                             node->session.config.arena + head->sensor_offset);
    }
    return sensor->step(sensor->context, node->session.config.arena + head->input_offset,
                        cl_shape_count(head->input_shape), &node->label);
}

// One step of the sensor or one op of the head. Returns the ms until the next.
static uint32_t capture(struct cl_node *node)
{
    uint32_t *counters = node->session.counters;
    uint32_t start = ticks(node);
    if (node->phase != PHASE_HEAD) {
        int32_t result = step_sensor(node);
        counters[CL_COUNTER_SENSOR_TICKS] += ticks(node) - start;
        if (result < 0) {
            fail(node, result);
        } else if (result == CL_SENSOR_WAITS) {
            return SENSOR_MS;
        } else if (result > 0) {
            node->phase = PHASE_HEAD;
        }
        return 0;
    }
    int32_t result = 0;
    if (node->op < cl_session_op_count(&node->session)) {
        result = cl_session_run(&node->session, node->op++);
        counters[CL_COUNTER_HEAD_TICKS] += ticks(node) - start;
    }
    if (result == 0 && node->op == cl_session_op_count(&node->session)) {
        node->phase = PHASE_START;
        result = cl_session_captured(&node->session, node->label);
    }
    if (result < 0) {
        fail(node, result);
    }
    return 0;
}

// Hands the smashed data to the link as it takes it.
static void send_sample(struct cl_node *node)
{
    struct cl_link_token token;
    while (cl_link_room(&node->link) > 0) {
        if (!cl_session_next(&node->session, cl_link_payload_max(&node->link), &token)) {
            break;
        }
        send(node, &token);
    }
    if (cl_link_outstanding(&node->link) == 0 && cl_session_sent(&node->session) < 0) {
        fail(node, CL_ERROR_STATE);
    }
}

static void save(struct cl_node *node)
{
    struct cl_link_token reply;
    uint32_t start = ticks(node);
    struct cl_saver *saver = node->config.saver;
    int32_t result = saver->calls->save(saver, &node->session, &reply);
    node->session.counters[CL_COUNTER_SAVE_TICKS] += ticks(node) - start;
    if (result > 0) {
        send(node, &reply);
    }
}

// Until the next step may be applied.
static uint32_t step_wait_ms(const struct cl_node *node)
{
    uint32_t left_ms = CL_NODE_STEP_MS ? node->applied_ms + CL_NODE_STEP_MS - now_ms(node) : 0;
    return left_ms <= CL_NODE_STEP_MS ? left_ms : 0;
}

// Takes the next message when the session does. Returns 1 when it took one.
static int32_t take_message(struct cl_node *node)
{
    const uint8_t *payload;
    uint32_t bytes = cl_link_message(&node->link, &payload);
    struct cl_link_token reply;
    if (bytes == 0 || cl_link_room(&node->link) == 0 ||
        cl_session_waits(&node->session, payload[0], cl_link_outstanding(&node->link))) {
        return 0;
    }
    uint8_t kind = payload[0];
    // The payload outlives its release; so its acknowledgement need not wait for the work, nor the
    // credit.
    cl_link_release(&node->link);
    int32_t result = kind == CL_PIECE || kind == CL_APPLY ? write_link(node) : 0;
    if (result < 0) {
        node->port_error = result;
    }
    uint32_t *counters = node->session.counters;
    node->session.wait_ms = kind == CL_APPLY ? step_wait_ms(node) : 0;
    uint32_t start = ticks(node);
    result = cl_session_take(&node->session, payload, bytes, &reply);
    if (kind == CL_PIECE) {
        counters[CL_COUNTER_ACCUMULATE_TICKS] += ticks(node) - start;
    } else if (kind == CL_GRADIENT) {
        counters[CL_COUNTER_ACCUMULATE_TICKS] = 0;
    } else if (kind == CL_APPLY) {
        counters[CL_COUNTER_APPLY_TICKS] = ticks(node) - start;
        if (CL_NODE_STEP_MS && reply.kind == CL_APPLIED) {
            node->applied_ms = now_ms(node);
        }
    }
    if (result > 0) {
        send(node, &reply);
    }
    return 1;
}

// With the answer to PROVISION or FORGET a connection ends: the next one has the new key, or none.
static int ends_connection(const struct cl_node *node)
{
    return node->config.keys && node->config.keys->is_new && cl_link_outstanding(&node->link) == 0;
}

// Returns the ms until there is more to do, at most IDLE_MS.
static uint32_t work(struct cl_node *node)
{
    take_events(node);
    if (ends_connection(node)) {
        cl_link_lose(&node->link);
        return 0;
    }
    if (node->session.state == CL_STATE_CAPTURING) {
        return capture(node);
    }
    if (node->session.state == CL_STATE_SENDING) {
        send_sample(node);
        return node->session.state != CL_STATE_SENDING ? 0 : IDLE_MS;
    }
    if (node->session.state == CL_STATE_SAVING) {
        save(node);
        return 0;
    }
    return IDLE_MS;
}

int32_t cl_node_step(struct cl_node *node)
{
    node->port_error = 0;
    int32_t count = read_link(node);
    take_events(node);
    int32_t took = take_message(node);
    int32_t blocked = write_link(node);
    uint32_t wait_ms = work(node);
    if (blocked >= 0) {
        blocked = write_link(node);
    }
    int32_t error = count < 0 ? count : node->port_error < 0 ? node->port_error : blocked;
    if (error < 0) {
        cl_link_interrupted(&node->link);
        return error;
    }
    if (took || wait_ms == 0 || count >= (int32_t)(READ_BYTES * READS_PER_STEP)) {
        return 0;
    }
    if (blocked) {
        return BLOCKED_MS;
    }
    uint32_t timeout_ms = cl_link_timeout_ms(&node->link, now_ms(node));
    return (int32_t)(timeout_ms < wait_ms ? timeout_ms : wait_ms);
}
