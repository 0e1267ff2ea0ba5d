#include "fuzz.h"

// Frames whose CRC-32 is right and whose fields are anything, and time that passes.

#define PAYLOAD 140u

static void feed(struct cl_link *link, uint16_t connection, uint32_t now_ms)
{
    uint8_t body[CL_LINK_HEADER_BYTES + PAYLOAD], frame[CL_FRAME_BYTES(sizeof body)];
    uint32_t count =
        chosen_below(8) ? CL_LINK_HEADER_BYTES + chosen_below(PAYLOAD + 1) : chosen_below(12) + 1;
    for (uint32_t i = 0; i < count; i++) {
        body[i] = (uint8_t)noise_u32();
    }
    body[0] = (uint8_t)chosen_below(8);
    for (uint32_t i = 4; i < CL_LINK_HEADER_BYTES && chosen_below(10); i++) {
        body[i] = (uint8_t)(i % 2 ? 0 : chosen_below(20)); // near numbers, mostly
    }
    if (chosen_below(20)) {
        body[2] = (uint8_t)(connection & 0xFF);
        body[3] = (uint8_t)(connection >> 8);
    }
    if (body[0] <= 2 && chosen_below(4) && count >= CL_LINK_HEADER_BYTES + 8) {
        static const uint8_t parameters[8] = {CL_WIRE_VERSION, 0, 0, 1, 0, 8, 4, 0};
        memcpy(body + CL_LINK_HEADER_BYTES, parameters, 8);
    }
    int32_t framed = cl_frame_encode(frame, sizeof frame, body, count);
    check(framed > 0, "a body is framed");
    if (chosen_below(10) == 0) {
        frame[chosen_below((uint32_t)framed)] = (uint8_t)chosen_below(256);
    }
    cl_link_receive(link, frame, (uint32_t)framed, now_ms);
}

static int32_t encode(void *context, const struct cl_link_token *token, uint8_t *payload,
                      uint32_t capacity)
{
    (void)context;
    uint32_t count = 1 + token->first % capacity;
    memset(payload, (int)token->first, count);
    return noise_u32() % 3000 == 0 ? -1 : (int32_t)count;
}

static void deliver(struct cl_link *link)
{
    const uint8_t *data;
    uint32_t count;
    if (chosen_below(3) && (count = cl_link_message(link, &data)) > 0) {
        check(count <= CL_LINK_PAYLOAD_MIN, "a message is not longer than was agreed");
        reached(REACH_DELIVERED, 1);
        cl_link_release(link);
    }
}

static void send(struct cl_link *link, uint32_t now_ms)
{
    const uint8_t *data;
    uint32_t count, loops = 0;
    if (chosen_below(3) == 0 && cl_link_room(link) > 0) {
        struct cl_link_token token = {0, chosen_below(0x10000), 0};
        check(cl_link_send(link, &token, cl_link_payload_max(link)) == 0, "there is room");
    }
    while (chosen_below(4) && (count = cl_link_transmit(link, now_ms, &data)) > 0) {
        cl_link_written(link, 1 + chosen_below(count), now_ms);
        check(++loops < 100000, "a link does not talk for ever");
    }
    check(cl_link_outstanding(link) <= CL_WINDOW_SEND_FRAMES, "the window holds");
}

void fuzz_link(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    uint32_t now_ms = 0xFFFFF000u, memory_bytes = CL_LINK_BYTES(CL_LINK_PAYLOAD_MIN, 3);
    void *memory = block_of(memory_bytes);
    struct cl_link link;
    struct cl_link_config config = {.role = chosen_below(2) ? CL_LINK_HOST : CL_LINK_BOARD,
                                    .max_payload = CL_LINK_PAYLOAD_MIN,
                                    .window_frames = 3,
                                    .window_bytes = 1000,
                                    .encode = encode,
                                    .memory = memory,
                                    .memory_bytes = memory_bytes};
    check(cl_link_init(&link, &config) == (int32_t)memory_bytes, "a link begins");
    while (choices_left()) {
        if (config.role == CL_LINK_HOST && link.state == CL_LINK_CLOSED) {
            check(cl_link_connect(&link, (uint16_t)(1 + chosen_below(9)), now_ms) == 0,
                  "a host connects");
        }
        if (chosen_below(50) == 0) {
            cl_link_interrupted(&link);
        }
        feed(&link, config.role == CL_LINK_HOST ? link.connection : (uint16_t)(1 + chosen_below(3)),
             now_ms);
        deliver(&link);
        send(&link, now_ms);
        (void)cl_link_events(&link);
        (void)cl_link_timeout_ms(&link, now_ms);
        now_ms += chosen_below(50) ? chosen_below(4) : chosen_below(3000);
    }
    free(memory);
}
