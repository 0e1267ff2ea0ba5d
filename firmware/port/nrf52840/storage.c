// The storage in the nRF52840's flash, by its controller NVMC (Nordic PS 1.7, section 4.3).
// boards/NAME.json says where (storage_origin) and how much flash is kept for it.
//
// The core stands still while a page is erased (85 ms) or a word written (41 us). What comes in
// meanwhile beyond the UART's FIFO is lost, and the link sends it again. A word may be written
// twice between two erases; the slots write it once.
#include <string.h>

#include "cortex_m/chip.h"

#ifdef CORTEX_M_STORAGE_ORIGIN

struct controller {
    volatile uint32_t ready;
    uint32_t reserved0[64];
    volatile uint32_t config;
    volatile uint32_t erase_page;
};

#define CONTROLLER ((struct controller *)0x4001E400u)
enum { READ_ONLY = 0, WRITE = 1, ERASE = 2 };
#define READY_LOOKS 10000000u // far more than the 85 ms that a page takes
#define PAGE_BYTES 4096u

#if CORTEX_M_STORAGE_ORIGIN % 4096u || CORTEX_M_STORAGE_BYTES % 4096u
#error "cutlayer.storage_origin or storage_bytes of the board's JSON is no multiple of a page, 4096"
#endif

static int32_t wait_until_ready(void)
{
    __sync_synchronize();
    for (uint32_t i = 0; i < READY_LOOKS; i++) {
        if (CONTROLLER->ready & 1u) {
            return CL_OK;
        }
    }
    return CL_ERROR_PORT;
}

static void set_mode(uint32_t mode)
{
    CONTROLLER->config = mode;
    __sync_synchronize();
}

// A place outside might be the program's own.
static int is_inside(uint32_t offset, uint32_t count, uint32_t unit)
{
    return offset % unit == 0 && count % unit == 0 && offset <= CORTEX_M_STORAGE_BYTES &&
           count <= CORTEX_M_STORAGE_BYTES - offset;
}

static volatile uint32_t *word_at(uint32_t offset)
{
    return (volatile uint32_t *)(uintptr_t)(CORTEX_M_STORAGE_ORIGIN + offset);
}

static int32_t storage_read(void *context, uint32_t offset, void *data, uint32_t count)
{
    (void)context;
    if (!is_inside(offset, count, 1)) {
        return CL_ERROR_PORT;
    }
    memcpy(data, (const void *)(uintptr_t)(CORTEX_M_STORAGE_ORIGIN + offset), count);
    return CL_OK;
}

// The controller tells no failure; the word itself does.
static int32_t write_word(uint32_t offset, uint32_t value)
{
    *word_at(offset) = value;
    const int32_t result = wait_until_ready();
    return result < 0 || *word_at(offset) == value ? result : CL_ERROR_PORT;
}

static int32_t storage_write(void *context, uint32_t offset, const void *data, uint32_t count)
{
    uint32_t value;
    (void)context;
    if (!is_inside(offset, count, sizeof value)) {
        return CL_ERROR_PORT;
    }
    int32_t result = wait_until_ready();
    set_mode(WRITE);
    for (uint32_t at = 0; at < count && result == CL_OK; at += sizeof value) {
        memcpy(&value, (const uint8_t *)data + at, sizeof value);
        result = write_word(offset + at, value);
    }
    set_mode(READ_ONLY);
    return result;
}

static int32_t storage_erase(void *context, uint32_t offset, uint32_t count)
{
    (void)context;
    if (!is_inside(offset, count, PAGE_BYTES)) {
        return CL_ERROR_PORT;
    }
    int32_t result = wait_until_ready();
    set_mode(ERASE);
    for (uint32_t at = 0; at < count && result == CL_OK; at += PAGE_BYTES) {
        CONTROLLER->erase_page = CORTEX_M_STORAGE_ORIGIN + offset + at;
        result = wait_until_ready();
    }
    set_mode(READ_ONLY);
    return result;
}

const struct cl_storage *chip_storage(void)
{
    static const struct cl_storage storage = {
        .read = storage_read,
        .write = storage_write,
        .erase = storage_erase,
        .bytes = CORTEX_M_STORAGE_BYTES,
        .block_bytes = PAGE_BYTES,
    };
    return &storage;
}

#endif
