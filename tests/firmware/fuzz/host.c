#include "host.h"

void line_put(struct line *line, const uint8_t *data, uint32_t count)
{
    for (uint32_t i = 0; i < count && line->count + 2 < sizeof line->data; i++) {
        line->carried++;
        uint32_t what = line->damage && random_below(line->damage) == 0 ? random_below(4) : 9;
        if (what == 0) {
            continue; // lost
        }
        line->data[line->count++] = what == 1 ? (uint8_t)random_u32() : data[i];
        if (what == 2) {
            line->data[line->count++] = (uint8_t)random_u32();
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

static void put_u32(uint8_t *bytes, uint32_t value)
{
    for (uint32_t i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
}

static void put_f32(uint8_t *bytes, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    put_u32(bytes, bits);
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

static void host_say(struct host *host, const uint8_t *bytes, uint32_t count)
{
    if (cl_link_room(&host->link) == 0) {
        return;
    }
    struct message *message = &host->queue[host->queued % 64];
    memcpy(message->bytes, bytes, count);
    message->count = count;
    for (uint32_t i = random_below(40); host->errs && i > 36; i--) {
        message->bytes[random_below(count)] = (uint8_t)random_u32();
    }
    struct cl_link_token token = {0, host->queued++, 0};
    uint32_t most = cl_link_payload_max(&host->link);
    check(cl_link_send(&host->link, &token, most) == 0, "there is room");
}

// The fuzzed head: 3 x 3 x 5 smashed, see below.
#define SMASHED 45u

static void host_configure(struct host *host)
{
    static const uint8_t codecs[] = {0, 1, 2, 16, 17, 18};
    uint8_t bytes[24] = {CL_CONFIGURE};
    bytes[1] = (uint8_t)(random_below(4) == 0);
    bytes[2] = (uint8_t)(random_below(6) != 0); // the deepest cut, mostly
    bytes[4] = codecs[random_below(6)];
    bytes[5] = (uint8_t)random_below(3);
    bytes[6] = (uint8_t)random_below(2);
    put_f32(bytes + 8, 0.9f);
    put_f32(bytes + 12, 0.999f);
    put_f32(bytes + 16, 1e-7f);
    host_say(host, bytes, sizeof bytes);
}

static void host_gradient(struct host *host)
{
    uint8_t head[16] = {CL_GRADIENT};
    const struct cl_session *session = host->session;
    const struct cl_conv_params *layer = &session->train.params;
    const int8_t *y = session->config.arena + session->config.model->head.cuts[1].offset;
    struct cl_mask mask =
        cl_mask_of(session->activation_codec, layer->activation_min, layer->activation_max);
    head[1] = random_below(20) ? session->gradient_codec : (uint8_t)random_below(3);
    put_u32(head + 4, 7);
    put_u32(head + 8, SMASHED);
    put_f32(head + 12, 0.01f);
    host_say(host, head, sizeof head);
    uint8_t piece[8 + SMASHED] = {CL_PIECE};
    uint32_t first = 0;
    while (first < SMASHED && random_below(20) != 0) {
        uint32_t left = SMASHED - first;
        uint32_t count = random_below(3) ? left : 1 + random_below(left);
        piece[2] = (uint8_t)count;
        put_u32(piece + 4, first);
        uint32_t data = cl_codec_gradient_bytes(head[1], &mask, y + first, count);
        if (random_below(40) == 0) {
            data = random_below(count + 1);
        }
        memset(piece + 8, random_below(20) ? (int)random_below(2) : 0x80, data);
        host_say(host, piece, 8 + data);
        first += count;
    }
}

static void host_apply(struct host *host)
{
    uint8_t bytes[12] = {CL_APPLY};
    bytes[2] = (uint8_t)(random_below(8) ? host->session->train.samples_in_step : random_u32());
    put_u32(bytes + 4, host->session->train.step + (random_below(8) != 0));
    put_f32(bytes + 8, random_below(8) ? 0.01f : 3e38f);
    host_say(host, bytes, sizeof bytes);
}

void host_speak(struct host *host)
{
    enum cl_state state = host->session->state;
    if (random_below(4) && (state == CL_STATE_CAPTURING || state == CL_STATE_SENDING)) {
        return;
    }
    if (random_below(2) && state == CL_STATE_AWAITING) {
        host_gradient(host);
        return;
    }
    uint8_t bytes[12] = {0};
    switch (random_below(12)) {
    case 0:
        bytes[0] = CL_HELLO;
        bytes[1] = CL_WIRE_VERSION;
        host_say(host, bytes, 4);
        break;
    case 1:
        host_configure(host);
        break;
    case 2:
    case 3:
    case 4:
        bytes[0] = CL_SAMPLE;
        bytes[1] = (uint8_t)(random_below(4) != 0);
        put_u32(bytes + 4, 7);
        put_u32(bytes + 8, random_below(9));
        host_say(host, bytes, 12);
        break;
    case 5:
    case 6:
    case 7:
        host_gradient(host);
        break;
    case 8:
        host_apply(host);
        break;
    case 9:
        bytes[0] = random_below(2) ? CL_CLEAR : CL_STATS;
        host_say(host, bytes, 4);
        break;
    case 10:
        bytes[0] = CL_RESCALE;
        put_f32(bytes + 4, random_below(2) ? 0.07f : 1e-30f);
        host_say(host, bytes, 12);
        break;
    default:
        bytes[0] = CL_READ;
        bytes[1] = (uint8_t)random_below(6);
        bytes[2] = (uint8_t)random_u32();
        bytes[3] = (uint8_t)random_below(5);
        put_u32(bytes + 4, random_below(4) ? random_below(600) : random_u32());
        host_say(host, bytes, 12);
        break;
    }
}

static void host_listen(struct host *host)
{
    const uint8_t *payload;
    uint32_t count;
    while ((count = cl_link_message(&host->link, &payload)) > 0) {
        host->welcomes += payload[0] == CL_WELCOME;
        host->smashed += payload[0] == CL_ACTIVATION;
        host->applied += payload[0] == CL_APPLIED;
        host->refused += payload[0] == CL_ERROR;
        cl_link_release(&host->link);
    }
}

void host_init(struct host *host, const struct cl_session *session)
{
    memset(host, 0, sizeof *host);
    host->session = session;
    uint32_t bytes = CL_LINK_BYTES(HOST_PAYLOAD, 8);
    host->memory = malloc(bytes);
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
    while ((count = line_take(line, data, 1 + random_below(sizeof data))) > 0) {
        cl_link_receive(&host->link, data, count, now_ms);
    }
    if (cl_link_events(&host->link) & CL_LINK_OPENED) {
        static const uint8_t hello[4] = {CL_HELLO, CL_WIRE_VERSION};
        host_say(host, hello, sizeof hello);
        host_configure(host);
    }
    host_listen(host);
}
