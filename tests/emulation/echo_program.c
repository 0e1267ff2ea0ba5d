// The STM32F4 port as on a chip with no debugger: whatever calls BKPT there would fault. Says
// "ready", then sends back what it receives.
#include "board.h"
#include "cortex_m/chip.h"

void open_in_qemu(struct chip *chip);

#define chip_open open_in_qemu
#include "stm32f4/chip.c"
#undef chip_open

void chip_open(struct chip *chip)
{
    open_in_qemu(chip);
    chip->has_semihosting = 0;
}

static void send(const struct cl_port *port, const uint8_t *data, int32_t count)
{
    for (int32_t sent = 0; sent < count;) {
        sent += port->write(port->context, data + sent, (uint32_t)(count - sent));
    }
}

int main(int argc, char **argv)
{
    uint8_t data[32];
    struct board *board = board_open(argc, argv);
    const struct cl_port *port = &board->port;
    port->log(port->context, "nobody hears this");
    send(port, (const uint8_t *)"ready", 5);
    while (board_wait(board, 20) >= 0) {
        send(port, data, port->read(port->context, data, sizeof data));
    }
    return 0;
}
