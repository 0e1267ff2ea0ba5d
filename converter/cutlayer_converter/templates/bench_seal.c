// A connection's handshake and its frames on an emulated Cortex-M, for
// cutlayer_converter.measure_seal: a board and its host, both here. It writes lines, of the board:
//   guard BYTES (of its struct), stack BYTES, handshake TICKS, then for PAYLOAD_BYTES of payload
//   seal TICKS, open TICKS, and refuse TICKS for a frame with a flipped bit.
#include "bench_machine.h"
#include "guard/guard_monocypher.h"

#include <string.h>

static struct guard_monocypher board, host;
static struct cl_guard board_guard, host_guard;
static uint32_t bytes_drawn;
static uint8_t syn[CL_GUARD_SYN_ACK_BYTES], syn_ack[CL_GUARD_SYN_ACK_BYTES];
static uint8_t body[CL_LINK_HEADER_BYTES + PAYLOAD_BYTES + CL_GUARD_FRAME_BYTES]
    __attribute__((aligned(4)));

static void check(int32_t result)
{
    if (result < 0) {
        say("failed\n");
        fault_handler();
    }
}

static int32_t draw(void *context, uint8_t *data, uint32_t count)
{
    (void)context;
    for (uint32_t i = 0; i < count; i++) {
        data[i] = (uint8_t)(bytes_drawn++ * 37u);
    }
    return 0;
}

static void prepare(struct guard_monocypher *guard, enum cl_link_role role)
{
    static const uint8_t key[CL_GUARD_KEY_BYTES] = {1, 2, 3}, device_id[CL_GUARD_DEVICE_ID_BYTES];
    const struct guard_config config = {.role = role, .random = draw};
    check(guard_monocypher_init(guard, &config));
    guard_monocypher_set_key(guard, device_id, key);
}

static uint32_t answer(void)
{
    const uint32_t since = TIMER->value;
    (void)board_guard.meet(board_guard.context, 7, syn, CL_GUARD_SYN_BYTES);
    (void)board_guard.introduce(board_guard.context, 7, syn_ack);
    return since - TIMER->value;
}

static void start_body(void)
{
    memset(body, 0x5A, sizeof body);
    body[2] = 7;
    body[3] = 0;
}

static uint32_t timed_seal(const struct cl_guard *guard)
{
    start_body();
    const uint32_t since = TIMER->value;
    check(guard->seal(guard->context, body, CL_LINK_HEADER_BYTES + PAYLOAD_BYTES));
    return since - TIMER->value;
}

static uint32_t timed_open(int32_t expected)
{
    const uint8_t *parameters;
    const uint32_t since = TIMER->value;
    const int32_t opened =
        board_guard.open(board_guard.context, body, (uint32_t)sizeof body, &parameters);
    const uint32_t ticks = since - TIMER->value;
    check(opened == expected ? 0 : -1);
    return ticks;
}

static void everything(void)
{
    (void)answer();
    check(host_guard.meet(host_guard.context, 7, syn_ack, CL_GUARD_SYN_ACK_BYTES));
    (void)timed_seal(&host_guard);
    (void)timed_open(CL_LINK_HEADER_BYTES + PAYLOAD_BYTES);
    (void)timed_seal(&board_guard);
}

static void count(void)
{
    prepare(&board, CL_LINK_BOARD);
    prepare(&host, CL_LINK_HOST);
    board_guard = guard_monocypher(&board);
    host_guard = guard_monocypher(&host);
    (void)host_guard.introduce(host_guard.context, 7, syn);
    say_number("guard ", (uint32_t)sizeof board);
    say_number("\nstack ", stack_bytes(everything));
    say_number("\nhandshake ", answer());
    (void)host_guard.introduce(host_guard.context, 7, syn);
    everything();
    say_number("\nseal ", timed_seal(&board_guard));
    (void)timed_seal(&host_guard);
    say_number("\nopen ", timed_open(CL_LINK_HEADER_BYTES + PAYLOAD_BYTES));
    (void)timed_seal(&host_guard);
    body[sizeof body - 1] ^= 1;
    say_number("\nrefuse ", timed_open(CL_ERROR_KEY));
    say("\n");
}
