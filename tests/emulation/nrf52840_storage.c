// The nRF52840's storage on a controller and a flash that are memory of this process. Each store to
// them is stepped through and then does what the chip does with it: a word is written only in WRITE
// mode, can only clear bits and only twice; a page is erased in ERASE mode.
#define _GNU_SOURCE
#include "nrf52840/storage.c"

#include "cutlayer/slots.h"
#include "registers.h"

#include <signal.h>
#include <ucontext.h>

#define FLASH ((uint32_t *)(uintptr_t)CORTEX_M_STORAGE_ORIGIN)
#define REGISTERS ((void *)0x4001E000ul)
enum { WORDS = CORTEX_M_STORAGE_BYTES / 4, PAGE_WORDS = PAGE_BYTES / 4, TRAP_FLAG = 0x100 };

static uint32_t flash[WORDS];
static uint8_t writes[WORDS];
static uint32_t *stored_to;
static uint32_t erased_pages, violations;

static void protect(int protection)
{
    mprotect(FLASH, CORTEX_M_STORAGE_BYTES, protection);
    mprotect(REGISTERS, PAGE_BYTES, protection);
}

static void on_store(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    stored_to = info->si_addr;
    protect(PROT_READ | PROT_WRITE);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void erase(uint32_t address)
{
    const uint32_t word = (address - CORTEX_M_STORAGE_ORIGIN) / 4;
    if (CONTROLLER->config != ERASE || word >= WORDS || address % PAGE_BYTES) {
        violations++;
        return;
    }
    memset(flash + word, 0xFF, PAGE_BYTES);
    memset(writes + word, 0, PAGE_WORDS);
    memcpy(FLASH + word, flash + word, PAGE_BYTES);
    erased_pages++;
}

static void after_store(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    const uint32_t word = (uint32_t)(stored_to - FLASH);
    if (word < WORDS) {
        violations += CONTROLLER->config != WRITE || ++writes[word] > 2;
        flash[word] &= *stored_to;
        *stored_to = flash[word];
    } else if (stored_to == (const uint32_t *)&CONTROLLER->erase_page) {
        erase(CONTROLLER->erase_page);
    }
    protect(PROT_READ);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

static void open_chip(void)
{
    const struct sigaction store = {.sa_sigaction = on_store, .sa_flags = SA_SIGINFO};
    const struct sigaction stored = {.sa_sigaction = after_store, .sa_flags = SA_SIGINFO};
    map((unsigned long)REGISTERS);
    for (uint32_t at = 0; at < CORTEX_M_STORAGE_BYTES; at += PAGE_BYTES) {
        map((unsigned long)CORTEX_M_STORAGE_ORIGIN + at);
    }
    CONTROLLER->ready = 1;
    sigaction(SIGSEGV, &store, 0);
    sigaction(SIGTRAP, &stored, 0);
    protect(PROT_READ);
}

// A body that begins where no word of the processor does, as a caller's may.
static int32_t put(struct cl_slots *slots, uint8_t fill, uint32_t bytes)
{
    uint8_t piece[1 + 128];
    int32_t result = cl_slots_begin(slots, -1, bytes);
    while (result == 0) {
        result = cl_slots_erase(slots);
    }
    for (uint32_t at = 0; at < bytes && result >= 0; at += 128) {
        memset(piece, fill, sizeof piece);
        result = cl_slots_write(slots, piece + 1, bytes - at < 128 ? bytes - at : 128);
    }
    return result < 0 ? result : cl_slots_commit(slots);
}

static void say(const char *what, enum cl_slots_kind kind)
{
    struct cl_slots slots;
    uint8_t first = 0, last = 0;
    const int32_t opened = cl_slots_open(&slots, chip_storage(), kind);
    const int32_t newest = cl_slots_newest(&slots);
    const uint8_t slot = newest == 1;
    const uint32_t bytes = slots.slots[slot].body_bytes;
    if (newest >= 0 && (cl_slots_read(&slots, slot, 0, &first, 1) < 0 ||
                        cl_slots_read(&slots, slot, bytes - 1, &last, 1) < 0)) {
        exit(1);
    }
    printf("%s opened %d slot %d holds %u %u\n", what, opened, newest, first, last);
}

int main(void)
{
    struct cl_slots key, train;
    const struct cl_storage *storage = chip_storage();
    uint8_t word[8] = {0x5A};
    open_chip();
    say("new", CL_SLOTS_TRAIN);
    if (cl_slots_open(&key, storage, CL_SLOTS_KEY) < 0 ||
        cl_slots_open(&train, storage, CL_SLOTS_TRAIN) < 0) {
        return 1;
    }
    printf("key in %d\n", put(&key, 7, 48));
    for (uint8_t i = 1; i <= 3; i++) {
        printf("state in %d\n", put(&train, i, 5001));
    }
    say("key", CL_SLOTS_KEY);
    say("state", CL_SLOTS_TRAIN);
    printf("erased %u violations %u mode %u\n", erased_pages, violations, CONTROLLER->config);

    const uint32_t end = CORTEX_M_STORAGE_BYTES;
    printf("beyond %d %d %d\n", storage->write(0, end, word, 8),
           storage->erase(0, end - 4096, 8192), storage->read(0, end - 4, word, 8));
    printf("unaligned %d %d\n", storage->write(0, 2, word, 8), storage->erase(0, 8, 4096));
    printf("again %d\n", storage->write(0, 0, word, 8));
    printf("erased %u violations %u mode %u\n", erased_pages, violations, CONTROLLER->config);
    return 0;
}
