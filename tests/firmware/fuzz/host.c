#include "host.h"

void line_put(struct line *line, const uint8_t *data, uint32_t count)
{
    for (uint32_t i = 0; i < count && line->count + 2 < sizeof line->data; i++) {
        uint32_t what = line->damage && noise_u32() % line->damage == 0 ? noise_u32() % 4 : 9;
        if (what == 0) {
            continue; // lost
        }
        line->data[line->count++] = what == 1 ? (uint8_t)noise_u32() : data[i];
        if (what == 2) {
            line->data[line->count++] = (uint8_t)noise_u32();
        }
    }
}

uint32_t line_take(struct line *line, uint8_t *data, uint32_t capacity)
{
    uint32_t count = line->count < capacity ? line->count : capacity;
    memcpy(data, line->data, count);
    line->count -= count;
    memmove(line->data, line->data + count, line->count);
    return count;
}

static int32_t host_encode(void *context, const struct cl_link_token *token, uint8_t *payload,
                           uint32_t capacity)
{
    const struct host *host = context;
    const struct message *message = &host->queue[token->first % 64];
    uint32_t count = message->count < capacity ? message->count : capacity;
    memcpy(payload, message->bytes, count);
    return (int32_t)count;
}

static void host_say(void *context, const uint8_t *bytes, uint32_t count)
{
    struct host *host = context;
    if (cl_link_room(&host->link) == 0) {
        return;
    }
    struct message *message = &host->queue[host->queued % 64];
    memcpy(message->bytes, bytes, count);
    message->count = count;
    struct cl_link_token token = {0, host->queued++, 0};
    uint32_t most = cl_link_payload_max(&host->link);
    check(cl_link_send(&host->link, &token, most) == 0, "there is room");
}

static void host_listen(struct host *host)
{
    const uint8_t *payload;
    uint32_t count;
    while ((count = cl_link_message(&host->link, &payload)) > 0) {
        host->welcomes += payload[0] == CL_WELCOME;
        reached_by(payload[0]);
        cl_link_release(&host->link);
    }
}

void host_init(struct host *host, const struct cl_session *session)
{
    memset(host, 0, sizeof *host);
    host->talk = (struct talk){session, 0, host_say, host};
    uint32_t bytes = CL_LINK_BYTES(HOST_PAYLOAD, 8);
    host->memory = block_of(bytes);
    struct cl_link_config config = {
        .role = CL_LINK_HOST,
        .max_payload = HOST_PAYLOAD,
        .window_frames = 8,
        .window_bytes = 20000,
        .dead_ms = 3000,
        .encode = host_encode,
        .context = host,
        .memory = host->memory,
        .memory_bytes = bytes,
    };
    check(cl_link_init(&host->link, &config) == (int32_t)bytes, "a host's link begins");
}

void host_write(struct host *host, struct line *line, uint32_t now_ms)
{
    const uint8_t *data;
    uint32_t count;
    while ((count = cl_link_transmit(&host->link, now_ms, &data)) > 0) {
        line_put(line, data, count);
        cl_link_written(&host->link, count, now_ms);
    }
}

void host_read(struct host *host, struct line *line, uint32_t now_ms)
{
    uint8_t data[300];
    uint32_t count;
    while ((count = line_take(line, data, 1 + noise_u32() % sizeof data)) > 0) {
        cl_link_receive(&host->link, data, count, now_ms);
    }
    if (cl_link_events(&host->link) & CL_LINK_OPENED) {
        talk_hello(&host->talk);
        talk_configure(&host->talk);
    }
    host_listen(host);
}
