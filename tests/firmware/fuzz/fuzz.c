// Throws bytes at the decoders, the link and a whole node. Built with ASan and UBSan, it ends with
// 0 unless something breaks: fuzz TARGET BYTES SEED, targets frame, link, node.
//
// The node is driven by a host in C that mostly keeps to the rules, through a line that mangles:
// random bytes alone would never get past the CRC-32. Every so often the line is clean, and then
// the node has to greet.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cutlayer/node.h"

static uint64_t random_state;

static uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

static uint32_t random_below(uint32_t bound)
{
    return random_u32() % bound;
}

static void check(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

// --- frame ---

#define FRAME_PAYLOAD 200u

static void fuzz_frame(uint64_t bytes)
{
    uint32_t capacity = CL_LINK_HEADER_BYTES + FRAME_PAYLOAD + CL_FRAME_CRC_BYTES;
    uint8_t *body = malloc(capacity);
    struct cl_frame_decoder decoder;
    cl_frame_decoder_init(&decoder, body, capacity);
    uint64_t whole = 0;
    while (bytes > 0) {
        uint8_t data[CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + FRAME_PAYLOAD + 8u)];
        uint8_t source[CL_LINK_HEADER_BYTES + FRAME_PAYLOAD + 8u];
        uint32_t count = 1 + random_below(sizeof source);
        uint32_t few = random_below(3); // few zeros, many zeros, or anything
        for (uint32_t i = 0; i < count; i++) {
            source[i] = (uint8_t)(few == 0   ? 1 + random_below(255)
                                  : few == 1 ? random_below(2)
                                             : random_u32());
        }
        if (random_below(4) == 0) {
            memcpy(data, source, count);
        } else {
            int32_t framed = cl_frame_encode(data, sizeof data, source, count);
            check(framed > 0, "a body is framed");
            count = (uint32_t)framed;
            for (uint32_t i = random_below(3); i > 0; i--) {
                data[random_below(count)] = (uint8_t)random_u32();
            }
        }
        bytes = bytes > count ? bytes - count : 0;
        for (uint32_t at = 0; at < count;) {
            uint32_t used, part = 1 + random_below(count - at);
            int32_t result = cl_frame_decode(&decoder, data + at, part, &used);
            check(used >= 1 && used <= part, "a decoder takes bytes");
            check(result <= (int32_t)(capacity - CL_FRAME_CRC_BYTES), "a body fits");
            whole += result > 0;
            at += used;
        }
    }
    check(whole > 0, "some frames get through");
    free(body);
}

// --- a line that mangles ---

struct line {
    uint8_t data[8192];
    uint32_t count;
    uint32_t damage; // one byte in this many; 0 for none
    uint64_t carried;
};

static void line_put(struct line *line, const uint8_t *data, uint32_t count)
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

static uint32_t line_take(struct line *line, uint8_t *data, uint32_t capacity)
{
    uint32_t count = line->count < capacity ? line->count : capacity;
    memcpy(data, line->data, count);
    line->count -= count;
    memmove(line->data, line->data + count, line->count);
    return count;
}

// --- the host: messages that are mostly right ---

#define HOST_PAYLOAD 1024u

struct message {
    uint8_t bytes[HOST_PAYLOAD];
    uint32_t count;
};

struct host {
    struct cl_link link;
    struct message queue[64]; // by token
    uint32_t queued;
    uint32_t welcomes;
    uint32_t smashed; // ACTIVATIONs seen
    uint32_t applied;
    uint32_t refused;
    uint32_t errs;                    // 1 when messages may be damaged
    const struct cl_session *session; // the board's: what to say to get further
    void *memory;
};

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

static void host_speak(struct host *host)
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

static void host_init(struct host *host)
{
    memset(host, 0, sizeof *host);
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

static void host_write(struct host *host, struct line *line, uint32_t now_ms)
{
    const uint8_t *data;
    uint32_t count;
    while ((count = cl_link_transmit(&host->link, now_ms, &data)) > 0) {
        line_put(line, data, count);
        cl_link_written(&host->link, count, now_ms);
    }
}

static void host_read(struct host *host, struct line *line, uint32_t now_ms)
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

// --- the board ---

struct board {
    struct cl_node node;
    struct line in;
    struct line out;
    uint32_t now_ms;
    uint32_t captures;
};

static int32_t port_read(void *context, uint8_t *data, uint32_t capacity)
{
    struct board *board = context;
    return random_below(5000) == 0 ? -200 : (int32_t)line_take(&board->in, data, capacity);
}

static int32_t port_write(void *context, const uint8_t *data, uint32_t count)
{
    struct board *board = context;
    uint32_t taken = random_below(3) ? count : random_below(count + 1);
    line_put(&board->out, data, taken);
    return (int32_t)taken;
}

static uint32_t port_now_ms(void *context)
{
    return ((struct board *)context)->now_ms;
}

static int32_t sensor_start(void *context, uint32_t recording)
{
    ((struct board *)context)->captures = 0;
    return recording < 8 ? 0 : -300;
}

static int32_t sensor_step(void *context, int8_t *input, uint32_t input_bytes, int32_t *label)
{
    if (((struct board *)context)->captures++ < 2) {
        return random_below(500) == 0 ? -301 : 0;
    }
    for (uint32_t i = 0; i < input_bytes; i++) {
        input[i] = (int8_t)random_u32();
    }
    *label = (int32_t)random_below(5) - 2;
    return 1;
}

static void copy(const void *params, const int8_t *input, const int8_t *second, int8_t *output,
                 int8_t *scratch)
{
    (void)params;
    (void)second;
    (void)scratch;
    memcpy(output, input, 36);
}

static const int8_t weights[20] = {90,  -50, 20, 10,  -70, 30,  60, -20, 80, 5,
                                   -90, 40,  33, -44, 55,  -66, 77, -88, 99, 1};
static const int32_t bias[5] = {100, -200, 300, -400, 500};
static const int32_t multiplier[5] = {1288490189, 1288490189, 1288490189, 1288490189, 1288490189};
static const int8_t shift[5] = {-7, -7, -7, -7, -7};
static const float weight_scale[5] = {0.01f, 0.01f, 0.01f, 0.01f, 0.01f};
static const struct cl_conv_params params = {
    .input = {3, 3, 4},
    .output = {3, 3, 5},
    .kernel_height = 1,
    .kernel_width = 1,
    .stride_height = 1,
    .stride_width = 1,
    .output_zero_point = -128,
    .activation_min = -128,
    .activation_max = 127,
    .weights = weights,
    .bias = bias,
    .multiplier = multiplier,
    .shift = shift,
};
static const struct cl_trainable trainable = {
    .kind = CL_LAYER_CONV2D,
    .optimizer_max = CL_OPTIMIZER_ADAM,
    .params = &params,
    .weight_scale = weight_scale,
    .input_scale = 0.02f,
    .output_scale = 0.0427f,
    .weight_count = 20,
    .channel_count = 5,
    .activation = CL_ACTIVATION_RELU,
};
static const struct cl_op ops[2] = {
    {copy, 0, 0, 0, 48, 0},
    {cl_conv2d, &params, 48, 0, 96, 0},
};
static const struct cl_cut cuts[2] = {
    {1, 0, -128, 127, 0.02f, {3, 3, 4}, 48},
    {2, -128, -128, 127, 0.0427f, {3, 3, 5}, 96},
};
static const struct cl_model model = {
    .head = {ops, cuts, 2, 2, {3, 3, 4}, 0, 0.02f, 0, 144},
    .trainable = &trainable,
};

static void *aligned_block(uint32_t bytes)
{
    void *block = 0;
    check(posix_memalign(&block, 16, bytes) == 0, "there is memory");
    return block;
}

static void exchange(struct board *board, struct host *host)
{
    host_write(host, &board->in, board->now_ms);
    for (uint32_t i = 1 + random_below(6); i > 0; i--) {
        int32_t result = cl_node_step(&board->node);
        check(result >= 0 || result == -200, "a step gives ms or the port's error");
    }
    host_read(host, &board->out, board->now_ms);
    board->now_ms += random_below(20) ? random_below(3) : random_below(800);
}

// A clean line: whatever came before, a board greets.
static void expect_welcome(struct board *board, struct host *host, uint32_t damage)
{
    uint32_t welcomes = host->welcomes;
    host->errs = 0;
    board->in.damage = board->out.damage = 0;
    board->in.count = board->out.count = 0;
    check(cl_link_connect(&host->link, (uint16_t)(1 + random_below(65535)), board->now_ms) == 0,
          "a host connects");
    for (uint32_t i = 0; i < 5000 && host->welcomes == welcomes; i++) {
        exchange(board, host);
    }
    check(host->welcomes > welcomes, "a board greets on a clean line");
    board->in.damage = board->out.damage = damage;
    host->errs = 1;
}

static void fuzz_node(uint64_t bytes)
{
    struct board *board = calloc(1, sizeof *board);
    struct host *host = calloc(1, sizeof *host);
    struct cl_port port = {.context = board,
                           .read = port_read,
                           .write = port_write,
                           .now_ms = port_now_ms,
                           .receive_bytes = 1500,
                           .board = "fuzz"};
    struct cl_sensor sensor = {board, sensor_start, sensor_step, 8, 0};
    struct cl_node_config config = {&port, &model, &sensor, 0, cl_node_bytes(&model)};
    check(config.memory_bytes ==
              CL_NODE_BYTES(144, cl_train_bytes(&trainable, CL_OPTIMIZER_ADAM), 5),
          "the macro and the function agree");
    config.memory = aligned_block(config.memory_bytes);
    check(cl_node_init(&board->node, &config) > 0, "a node begins");
    board->now_ms = 0xFFFF0000u;
    host_init(host);
    host->session = &board->node.session;
    while (board->in.carried + board->out.carried < bytes) {
        expect_welcome(board, host, random_below(3) ? 20 + random_below(4000) : 0);
        for (uint32_t i = 0; i < 400; i++) {
            if (random_below(3) == 0) {
                host_speak(host);
            }
            if (random_below(200) == 0) {
                uint8_t noise[64];
                for (uint32_t k = 0; k < sizeof noise; k++) {
                    noise[k] = (uint8_t)random_u32();
                }
                line_put(&board->in, noise, 1 + random_below(sizeof noise));
            }
            exchange(board, host);
        }
    }
    printf("smashed %lu applied %lu refused %lu malformed %lu resent %lu\n",
           (unsigned long)host->smashed, (unsigned long)host->applied, (unsigned long)host->refused,
           (unsigned long)board->node.link.frames_malformed,
           (unsigned long)board->node.link.data_resent);
    check(host->smashed > 0 && host->refused > 0 && host->applied > 0, "the node was used");
    free(config.memory);
    free(host->memory);
    free(host);
    free(board);
}

// --- link: frames whose CRC-32 is right and whose fields are anything ---

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
        static const uint8_t parameters[8] = {1, 0, 0, 1, 0, 8, 4, 0};
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

static void fuzz_link(uint64_t bytes)
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

int main(int argc, char **argv)
{
    check(argc == 4, "fuzz TARGET BYTES SEED");
    uint64_t bytes = strtoull(argv[2], 0, 10);
    random_state = strtoull(argv[3], 0, 10) * 2654435761u + 88172645463325252u;
    if (strcmp(argv[1], "frame") == 0) {
        fuzz_frame(bytes);
    } else if (strcmp(argv[1], "link") == 0) {
        fuzz_link(bytes);
    } else {
        fuzz_node(bytes);
    }
    return 0;
}
