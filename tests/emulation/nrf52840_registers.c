// What the nRF52840 port does with its registers, which are memory of this process: every word that
// is not 0 after chip_open, then what sending, receiving and the alarm do to the events.
#define _DEFAULT_SOURCE
#include "nrf52840/chip.c"

#include "registers.h"

#define WORD(address) (*(volatile uint32_t *)(address))
enum { CRYSTAL_STARTED = 0x40000100, RECEIVED = 0x40002108, TRANSMITTED = 0x4000211C };
enum {
    RXD = 0x40002518,
    TXD = 0x4000251C,
    COMPARED_1 = 0x40008144,
    CC_0 = 0x40008540,
    CC_1 = 0x40008544
};

static const uint32_t pages[] = {0x40000000, 0x40002000, 0x40008000, 0x50000000};

static void write_bytes(const char *what)
{
    int32_t count = chip_write((const uint8_t *)"ab", 2);
    printf("%s %d sent %c event %u\n", what, count, (int)WORD(TXD), WORD(TRANSMITTED));
}

int main(void)
{
    struct chip chip = {0};
    for (unsigned i = 0; i < 4; ++i) {
        map(pages[i]);
    }
    WORD(CRYSTAL_STARTED) = 1;
    chip_open(&chip);
    printf("ticks %u\nsysticks %u\n", chip.ticks_per_ms, chip.systicks_per_ms);
    printf("semihosting %u\n", chip.has_semihosting);
    for (unsigned i = 0; i < 4; ++i) {
        for (uint32_t address = pages[i]; address < pages[i] + 0x1000; address += 4) {
            if (address != CRYSTAL_STARTED && WORD(address)) {
                printf("%x %x\n", address, WORD(address));
            }
        }
    }

    write_bytes("idle");
    write_bytes("busy");
    WORD(TRANSMITTED) = 1;
    write_bytes("done");

    WORD(RXD) = 'x';
    chip_interrupt();
    WORD(RECEIVED) = 1;
    chip_interrupt();
    printf("event %u\n", WORD(RECEIVED));

    WORD(CC_1) = 5;
    chip_interrupt();
    printf("early %u\n", WORD(CC_1));
    WORD(COMPARED_1) = 1;
    chip_interrupt();
    printf("alarm %u event %u\n", WORD(CC_1), WORD(COMPARED_1));

    WORD(CC_0) = 77;
    printf("now %u\n", chip_ticks());
    return 0;
}
