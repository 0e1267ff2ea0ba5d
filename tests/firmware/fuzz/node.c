#include "cutlayer/saver.h"

#include "host.h"
#include "medium.h"
#include "small_model.h"

#define SENSOR_BYTES (SMALL_ARENA + 40u) // more than the arena has

struct board {
    struct cl_node node;
    struct line in;
    struct line out;
    uint32_t now_ms;
    uint32_t captures;
    uint8_t *lent; // what the sensor works in
    uint8_t mark;  // all over it
    struct medium medium;
    struct cl_storage storage;
    struct cl_saver saver;
};

static int32_t port_read(void *context, uint8_t *data, uint32_t capacity)
{
    struct board *board = context;
    return noise_u32() % 5000 == 0 ? -200 : (int32_t)line_take(&board->in, data, capacity);
}

static int32_t port_write(void *context, const uint8_t *data, uint32_t count)
{
    struct board *board = context;
    uint32_t taken = noise_u32() % 3 ? count : noise_u32() % (count + 1);
    line_put(&board->out, data, taken);
    return (int32_t)taken;
}

static uint32_t port_now_ms(void *context)
{
    return ((struct board *)context)->now_ms;
}

static int32_t sensor_start(void *context, uint32_t recording, void *memory)
{
    struct board *board = context;
    board->captures = 0;
    board->lent = memory;
    board->mark = (uint8_t)noise_u32();
    memset(memory, board->mark, SENSOR_BYTES);
    return recording < 8 ? 0 : -300;
}

static int32_t sensor_step(void *context, int8_t *input, uint32_t input_bytes, int32_t *label)
{
    struct board *board = context;
    for (uint32_t i = 0; i < SENSOR_BYTES; i++) {
        check(board->lent[i] == board->mark, "nobody else writes what a sensor was lent");
    }
    if (board->captures++ < 2) {
        return chosen_below(200) == 0 ? -301 : 0;
    }
    for (uint32_t i = 0; i < input_bytes; i++) {
        input[i] = (int8_t)noise_u32();
    }
    memset(board->lent, ~board->mark, SENSOR_BYTES);
    *label = (int32_t)chosen_below(5) - 2;
    return 1;
}

static void exchange(struct board *board, struct host *host, uint32_t pause_ms)
{
    host_write(host, &board->in, board->now_ms);
    for (uint32_t i = 1 + noise_u32() % 6; i > 0; i--) {
        int32_t result = cl_node_step(&board->node);
        check(result >= 0 || result == -200, "a step gives ms or the port's error");
    }
    host_read(host, &board->out, board->now_ms);
    board->now_ms += pause_ms;
}

// A clean line: whatever came before, a board greets.
static void expect_welcome(struct board *board, struct host *host, uint32_t damage)
{
    uint32_t welcomes = host->welcomes;
    // Neither end's present one: to the board that would be the same connection.
    uint16_t connection = 1;
    while (connection == host->link.connection || connection == board->node.link.connection) {
        connection++;
    }
    host->talk.errs = 0;
    board->in.damage = board->out.damage = 0;
    board->in.count = board->out.count = 0;
    check(cl_link_connect(&host->link, connection, board->now_ms) == 0, "a host connects");
    for (uint32_t i = 0; i < 5000 && host->welcomes == welcomes; i++) {
        exchange(board, host, noise_u32() % 3);
    }
    check(host->welcomes > welcomes, "a board greets on a clean line");
    board->in.damage = board->out.damage = damage;
    host->talk.errs = 1;
}

static void talk_for_a_while(struct board *board, struct host *host)
{
    for (uint32_t i = 0; i < 400 && choices_left(); i++) {
        if (chosen_below(3) == 0) {
            talk_on(&host->talk);
        }
        if (chosen_below(200) == 0) {
            uint8_t bytes[64];
            for (uint32_t k = 0; k < sizeof bytes; k++) {
                bytes[k] = (uint8_t)chosen_below(256);
            }
            line_put(&board->in, bytes, 1 + chosen_below(sizeof bytes));
        }
        exchange(board, host, chosen_below(20) ? chosen_below(3) : chosen_below(800));
    }
}

// As after a power cut: only what the storage holds is left, and perhaps something else.
static void restart(struct board *board, const struct cl_node_config *config)
{
    if (chosen_below(4) == 0) {
        board->medium.data[chosen_below(MEDIUM_BYTES_MAX)] = (uint8_t)chosen_below(256);
    }
    board->medium.budget = UINT32_MAX;
    memset(config->memory, 0xA5, config->memory_bytes);
    cl_saver_init(&board->saver, &board->storage);
    check(cl_node_init(&board->node, config) > 0, "a node begins");
}

void fuzz_node(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    struct board *board = block_of(sizeof *board);
    struct host *host = block_of(sizeof *host);
    memset(board, 0, sizeof *board);
    struct cl_port port = {.context = board,
                           .read = port_read,
                           .write = port_write,
                           .now_ms = port_now_ms,
                           .receive_bytes = 1500,
                           .board = "fuzz"};
    struct cl_sensor sensor = {board, SENSOR_BYTES, sensor_start, sensor_step, 8, 0};
    struct cl_node_config config = {.port = &port,
                                    .model = &small_model,
                                    .sensor = &sensor,
                                    .memory_bytes = cl_node_bytes(&small_model, SENSOR_BYTES)};
    uint32_t train_bytes = cl_train_bytes(&small_trainable, CL_OPTIMIZER_ADAM);
    uint32_t sensor_offset = small_model.head.sensor_offset;
    check(config.memory_bytes == CL_NODE_BYTES(SMALL_ARENA, train_bytes) +
                                     CL_NODE_SENSOR_BYTES(SMALL_ARENA, sensor_offset, SENSOR_BYTES),
          "the macro and the function agree");
    config.memory = block_of(config.memory_bytes);
    board->now_ms = 0xFFFFF000u;
    medium_init(&board->medium, MEDIUM_BYTES_MAX);
    board->storage = medium_storage(&board->medium);
    config.saver = chosen_below(4) ? &board->saver : 0;
    restart(board, &config);
    host_init(host, &board->node.session);
    do {
        expect_welcome(board, host, chosen_below(3) ? 20 + chosen_below(4000) : 0);
        board->medium.budget = chosen_below(4) ? UINT32_MAX : chosen_below(MEDIUM_BYTES_MAX);
        talk_for_a_while(board, host);
        if (chosen_below(2)) {
            restart(board, &config);
        }
    } while (choices_left());
    board->medium.budget = UINT32_MAX;
    expect_welcome(board, host, 0);
    reached(REACH_ADDED, board->node.session.counters[CL_COUNTER_SAMPLES_ADDED]);
    free(board->medium.data);
    free(config.memory);
    free(host->memory);
    free(host);
    free(board);
}
