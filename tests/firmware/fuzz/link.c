#include "fuzz.h"

// Frames whose CRC-32 is right and whose fields are anything.

static void link_frame(struct cl_link *link, uint16_t connection, uint32_t now_ms)
{
    uint8_t body[CL_LINK_HEADER_BYTES + 140], frame[CL_FRAME_BYTES(sizeof body)];
    uint32_t count =
        random_below(8) ? CL_LINK_HEADER_BYTES + random_below(141) : random_below(12) + 1;
    for (uint32_t i = 0; i < count; i++) {
        body[i] = (uint8_t)random_u32();
    }
    body[0] = (uint8_t)random_below(8);
    for (uint32_t i = 4; i < CL_LINK_HEADER_BYTES && random_below(10); i++) {
        body[i] = (uint8_t)(i % 2 ? 0 : random_below(20)); // near numbers, mostly
    }
    if (random_below(20)) {
        body[2] = (uint8_t)(connection & 0xFF);
        body[3] = (uint8_t)(connection >> 8);
    }
    if (body[0] <= 2 && random_below(4) && count >= CL_LINK_HEADER_BYTES + 8) {
        static const uint8_t parameters[8] = {CL_WIRE_VERSION, 0, 0, 1, 0, 8, 4, 0};
        memcpy(body + CL_LINK_HEADER_BYTES, parameters, 8);
    }
    int32_t framed = cl_frame_encode(frame, sizeof frame, body, count);
    check(framed > 0, "a body is framed");
    if (random_below(10) == 0) {
        frame[random_below((uint32_t)framed)] = (uint8_t)random_u32();
    }
    cl_link_receive(link, frame, (uint32_t)framed, now_ms);
}

static int32_t link_encode(void *context, const struct cl_link_token *token, uint8_t *payload,
                           uint32_t capacity)
{
    (void)context;
    uint32_t count = 1 + token->first % capacity;
    memset(payload, (int)token->first, count);
    return random_below(3000) == 0 ? -1 : (int32_t)count;
}

void fuzz_link(uint64_t bytes)
{
    for (uint32_t role = CL_LINK_BOARD; role <= CL_LINK_HOST; role++) {
        uint32_t now_ms = 0xFFFFF000u, memory_bytes = CL_LINK_BYTES(128, 3), messages = 0;
        void *memory = malloc(memory_bytes);
        struct cl_link link;
        struct cl_link_config config = {.role = (enum cl_link_role)role,
                                        .max_payload = 128,
                                        .window_frames = 3,
                                        .window_bytes = 1000,
                                        .encode = link_encode,
                                        .memory = memory,
                                        .memory_bytes = memory_bytes};
        check(cl_link_init(&link, &config) == (int32_t)memory_bytes, "a link begins");
        uint64_t end = bytes / 2;
        while (link.bytes_received < end) {
            if (role == CL_LINK_HOST && link.state == CL_LINK_CLOSED) {
                check(cl_link_connect(&link, (uint16_t)(1 + random_below(9)), now_ms) == 0,
                      "a host connects");
            }
            link_frame(&link,
                       role == CL_LINK_HOST ? link.connection : (uint16_t)(1 + random_below(3)),
                       now_ms);
            const uint8_t *data;
            uint32_t count;
            if (random_below(3) && (count = cl_link_message(&link, &data)) > 0) {
                check(count <= 128, "a message is not longer than was agreed");
                messages++;
                cl_link_release(&link);
            }
            if (random_below(3) == 0 && cl_link_room(&link) > 0) {
                struct cl_link_token token = {0, random_u32(), 0};
                int32_t result = cl_link_send(&link, &token, cl_link_payload_max(&link));
                check(result == 0, "there is room");
            }
            while (random_below(4) && (count = cl_link_transmit(&link, now_ms, &data)) > 0) {
                cl_link_written(&link, 1 + random_below(count), now_ms);
            }
            check(cl_link_outstanding(&link) <= CL_WINDOW_SEND_FRAMES, "the window holds");
            (void)cl_link_events(&link);
            now_ms += random_below(50) ? random_below(4) : random_below(3000);
        }
        check(messages > 0, "some messages get through");
        free(memory);
    }
}
