// A Cortex-M board: one chip's UART is the link, its timer the clock, SysTick the alarm.
#include "board.h"

#include "cortex_m/chip.h"
#include "cortex_m/cortex_m.h"
#include "cortex_m/semihosting.h"
#include "cutlayer/node.h"

struct systick {
    volatile uint32_t control;
    volatile uint32_t reload;
    volatile uint32_t value;
};

// Armv7-M and Armv8-M architecture reference manuals, "System address map".
#define SYSTICK ((struct systick *)0xE000E010u)
enum { SYSTICK_ENABLE = 1, SYSTICK_INTERRUPT = 2, SYSTICK_CORE_CLOCK = 4 };
#define SYSTICK_MAX 0xFFFFFFu
#define NVIC_ENABLE ((volatile uint32_t *)0xE000E100u)

struct clock {
    uint32_t last_ticks;
    uint32_t ticks_beyond_ms;
    uint32_t now_ms;
};

static struct chip chip;
static struct clock the_clock;
static struct board the_board;
static struct cl_saver saver;
static uint8_t has_more_to_write;

void systick_handler(void);

void cortex_m_enable_interrupt(uint32_t number)
{
    NVIC_ENABLE[number / 32] = 1u << (number % 32);
}

static int32_t link_read(void *context, uint8_t *data, uint32_t capacity)
{
    (void)context;
    return cortex_m_read(data, capacity);
}

static int32_t link_write(void *context, const uint8_t *data, uint32_t count)
{
    (void)context;
    int32_t taken = chip_write(data, count);
    has_more_to_write = taken >= 0 && (uint32_t)taken < count;
    return taken;
}

// No interrupt counts the ms, so that none disturbs a count of instructions. Called more often than
// the ticks wrap.
static uint32_t now_ms(void *context)
{
    struct clock *clock = context;
    uint32_t ticks = chip_ticks();
    uint32_t passed = ticks - clock->last_ticks;
    clock->last_ticks = ticks;
    clock->now_ms += passed / chip.ticks_per_ms;
    clock->ticks_beyond_ms += passed % chip.ticks_per_ms;
    if (clock->ticks_beyond_ms >= chip.ticks_per_ms) {
        clock->ticks_beyond_ms -= chip.ticks_per_ms;
        clock->now_ms += 1;
    }
    return clock->now_ms;
}

static uint32_t ticks(void *context)
{
    (void)context;
    return chip_ticks();
}

__attribute__((weak)) int32_t chip_random(uint8_t *data, uint32_t count)
{
    (void)data;
    (void)count;
    return CL_ERROR_PORT;
}

__attribute__((weak)) const struct cl_storage *chip_storage(void)
{
    return 0;
}

// Emulators model no generator, or one that anybody can foretell: there it is the computer's.
static int32_t random_bytes(void *context, uint8_t *data, uint32_t count)
{
    static int32_t source = CL_ERROR_PORT;
    (void)context;
    if (!chip.has_semihosting) {
        return chip_random(data, count);
    }
    if (source < 0) {
        source = semihosting_open("/dev/urandom");
    }
    return source >= 0 && semihosting_read(source, 0, data, count) == (int32_t)count
               ? CL_OK
               : CL_ERROR_PORT;
}

static uint32_t stack_bytes(void *context)
{
    (void)context;
    return cortex_m_stack_bytes();
}

static void log_line(void *context, const char *line)
{
    (void)context;
    if (chip.has_semihosting) {
        semihosting_write(line);
        semihosting_write("\n");
    }
}

struct board *board_open(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    struct board *board = &the_board;
    chip_open(&chip);
    cortex_m_open_flashed(&board->recordings);
    if (chip.has_semihosting && (cortex_m_open_files(&board->recordings) < 0 ||
                                 cortex_m_open_microphone(&board->microphone) < 0)) {
        log_line(0, "error: the microphone's file cannot be read");
        return 0;
    }
    if (!chip.has_semihosting) {
        board->storage = chip_storage();
    } else if (cortex_m_open_storage(&board->storage) < 0) {
        log_line(0, "error: the storage's file cannot be opened");
        return 0;
    }
    if (board->storage) {
        cl_saver_init(&saver, board->storage);
        board->saver = &saver;
    }
    board->port = (struct cl_port){
        .context = &the_clock,
        .read = link_read,
        .write = link_write,
        .now_ms = now_ms,
        .ticks = ticks,
        .random = random_bytes,
        .stack_bytes = stack_bytes,
        .log = log_line,
        .receive_bytes = CL_NODE_RECEIVE_BYTES,
        .board = CUTLAYER_BOARD,
    };
    return board;
}

void systick_handler(void)
{
    SYSTICK->control = 0;
}

// Wakes early where SysTick's 24 bits are too few, which board_wait may.
int32_t board_wait(struct board *board, int32_t wait_ms)
{
    (void)board;
    // A UART takes a byte or a few and does not interrupt when it would take more: asleep for a ms
    // the core would send a kilobyte a second.
    if (wait_ms <= 0 || has_more_to_write) {
        has_more_to_write = 0;
        return CL_OK;
    }
    uint32_t longest_ms = SYSTICK_MAX / chip.systicks_per_ms;
    uint32_t sleep_ms = (uint32_t)wait_ms < longest_ms ? (uint32_t)wait_ms : longest_ms;
    SYSTICK->reload = sleep_ms * chip.systicks_per_ms;
    SYSTICK->value = 0;
    SYSTICK->control = SYSTICK_ENABLE | SYSTICK_INTERRUPT | SYSTICK_CORE_CLOCK;
    // With interrupts held off a byte cannot slip in between the look and the sleep; WFI wakes all
    // the same.
    __asm volatile("cpsid i" ::: "memory");
    if (cortex_m_waiting() == 0) {
        __asm volatile("dsb\n wfi" ::: "memory");
    }
    __asm volatile("cpsie i\n isb" ::: "memory");
    SYSTICK->control = 0;
    return CL_OK;
}

void cortex_m_stop(const char *reason)
{
    log_line(0, reason);
    if (chip.has_semihosting) {
        semihosting_exit(1);
    }
    for (;;) {
        __asm volatile("wfi");
    }
}
