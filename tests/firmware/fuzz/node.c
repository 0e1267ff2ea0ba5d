#include "host.h"

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
    .head = {ops, cuts, 2, 2, {3, 3, 4}, 0, 0.02f, 0, 144, 0},
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
    // Not the one before: to the board that would be the same connection.
    uint16_t connection = (uint16_t)(1 + (host->link.connection + random_below(65533)) % 65535);
    host->errs = 0;
    board->in.damage = board->out.damage = 0;
    board->in.count = board->out.count = 0;
    check(cl_link_connect(&host->link, connection, board->now_ms) == 0, "a host connects");
    for (uint32_t i = 0; i < 5000 && host->welcomes == welcomes; i++) {
        exchange(board, host);
    }
    check(host->welcomes > welcomes, "a board greets on a clean line");
    board->in.damage = board->out.damage = damage;
    host->errs = 1;
}

void fuzz_node(uint64_t bytes)
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
    host_init(host, &board->node.session);
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
