// Any Arduino board: setup, loop, and the clock of millis and micros.
#include "parts.h"

// main of src/main.c: the core has one of its own.
extern "C" int cutlayer_main(int argc, char **argv);

static struct board the_board;

static int32_t random_bytes(void *, uint8_t *data, uint32_t count)
{
    return cutlayer_random(data, count);
}

static uint32_t now_ms(void *)
{
    return millis();
}

static uint32_t ticks(void *)
{
    return micros();
}

extern "C" struct board *board_open(int, char **)
{
    struct board *board = &the_board;
    if (link_open(&board->port) < 0) {
        machine_log(0, "error: the link does not open");
        return 0;
    }
    board->port.now_ms = now_ms;
    board->port.ticks = ticks;
    board->port.stack_bytes = machine_stack_bytes;
    board->port.random = cutlayer_random ? random_bytes : nullptr;
    board->port.log = machine_log;
    board->port.board = CUTLAYER_BOARD;
    board->microphone = microphone_open();
    recordings_open(&board->recordings);
    return board;
}

extern "C" int32_t board_wait(struct board *, int32_t wait_ms)
{
    const uint32_t start_ms = millis();
    const uint32_t most_ms = wait_ms < 0 ? 1 : static_cast<uint32_t>(wait_ms);
    while (millis() - start_ms < most_ms && !link_waits()) {
        machine_rest();
    }
    return CL_OK;
}

void setup()
{
}

// Comes back only when the board cannot run, or was told to stop: then it says so by its light.
void loop()
{
    (void)cutlayer_main(0, 0);
    pinMode(LED_BUILTIN, OUTPUT);
    for (uint8_t on = HIGH;; on = on == HIGH ? LOW : HIGH) {
        digitalWrite(LED_BUILTIN, on);
        delay(100);
    }
}
