// An AVR in simavr whose UART 0 is a Unix socket: runner MACHINE CLOCK_HZ ELF EEPROM LISTENING_FD
//
// The chip starts with the first host, and rests while there is none. It runs as fast as this
// computer can, and sleeps in real time. What it writes to GPIOR0 goes to stderr. EEPROM is a file
// of what is in it, or "". Ends at SIGTERM; with code 1 when the program crashes.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <simavr/avr_eeprom.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

enum { RUNS_PER_LOOK = 2000 }; // instructions between two looks at the socket
enum { GPIOR0 = 0x3E };        // in data space, on the ATmega1280 and 2560
enum { REST_NS = 500000 };     // simavr sleeps for a few cycles at a time: saved up until here

struct link {
    int listening;
    int host;
    avr_irq_t *receive;
    int takes; // 1 while the UART has room for a byte
    uint8_t in[4096];
    size_t in_begin, in_end;
    uint8_t out[4096];
    size_t out_end;
    uint64_t rest_ns; // slept by the chip, and not yet in real time
};

static struct link the_link;

static void die(const char *what)
{
    fprintf(stderr, "error: %s\n", what);
    exit(1);
}

static void quiet(avr_t *avr, const int level, const char *format, va_list arguments)
{
    (void)avr;
    if (level <= LOG_ERROR) {
        vfprintf(stderr, format, arguments);
    }
}

// --- link ---

static void wait_for_host(struct link *link)
{
    link->host = accept4(link->listening, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (link->host < 0) {
        die(strerror(errno));
    }
    link->in_begin = link->in_end = link->out_end = 0;
}

static void flush(struct link *link)
{
    size_t sent = 0;
    while (sent < link->out_end) {
        ssize_t count = send(link->host, link->out + sent, link->out_end - sent, MSG_NOSIGNAL);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
            struct pollfd writable = {link->host, POLLOUT, 0};
            (void)poll(&writable, 1, -1);
        } else if (count < 0) {
            break; // the host is gone: the next read says so
        } else {
            sent += (size_t)count;
        }
    }
    link->out_end = 0;
}

static void on_output(struct avr_irq_t *irq, uint32_t value, void *context)
{
    struct link *link = context;
    (void)irq;
    link->out[link->out_end++] = (uint8_t)value;
    if (link->out_end == sizeof link->out) {
        flush(link);
    }
}

static void feed(struct link *link)
{
    while (link->takes && link->in_begin < link->in_end) {
        avr_raise_irq(link->receive, link->in[link->in_begin++]);
    }
}

static void on_xon(struct avr_irq_t *irq, uint32_t value, void *context)
{
    struct link *link = context;
    (void)irq;
    (void)value;
    link->takes = 1;
    feed(link);
}

static void on_xoff(struct avr_irq_t *irq, uint32_t value, void *context)
{
    struct link *link = context;
    (void)irq;
    (void)value;
    link->takes = 0;
}

static void look(struct link *link)
{
    flush(link);
    if (link->in_begin == link->in_end) {
        ssize_t count = recv(link->host, link->in, sizeof link->in, 0);
        if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) {
            close(link->host);
            wait_for_host(link);
            return;
        }
        link->in_begin = 0;
        link->in_end = count > 0 ? (size_t)count : 0;
    }
    feed(link);
}

// --- chip ---

// In real time, or until the host has something to say.
static void sleep_in_real_time(avr_t *avr, avr_cycle_count_t cycles)
{
    struct link *link = &the_link;
    link->rest_ns += (uint64_t)cycles * 1000000000u / avr->frequency;
    if (link->rest_ns < REST_NS) {
        return;
    }
    flush(link);
    if (link->in_begin == link->in_end) {
        struct timespec limit = {(time_t)(link->rest_ns / 1000000000u),
                                 (long)(link->rest_ns % 1000000000u)};
        struct pollfd readable = {link->host, POLLIN, 0};
        (void)ppoll(&readable, 1, &limit, 0);
    }
    link->rest_ns = 0;
    look(link);
}

static void on_console(avr_t *avr, avr_io_addr_t address, uint8_t value, void *context)
{
    (void)context;
    avr->data[address] = value;
    fputc(value, stderr);
}

static void fill_eeprom(avr_t *avr, const char *path)
{
    uint8_t content[4096], found[sizeof content];
    FILE *file = fopen(path, "rb");
    if (!file) {
        die("the EEPROM's file cannot be read");
    }
    size_t bytes = fread(content, 1, sizeof content, file);
    fclose(file);
    avr_eeprom_desc_t given = {content, 0, (uint32_t)bytes};
    avr_eeprom_desc_t taken = {found, 0, (uint32_t)bytes};
    memset(found, 0, sizeof found);
    (void)avr_ioctl(avr, AVR_IOCTL_EEPROM_SET, &given); // the result says nothing: so look
    (void)avr_ioctl(avr, AVR_IOCTL_EEPROM_GET, &taken);
    if (memcmp(content, found, bytes) != 0) {
        die("the EEPROM is smaller than its file");
    }
}

static avr_t *make_chip(const char *machine, uint32_t clock_hz, const char *elf)
{
    elf_firmware_t firmware;
    memset(&firmware, 0, sizeof firmware);
    if (elf_read_firmware(elf, &firmware) != 0) {
        die("the firmware is no ELF file");
    }
    avr_t *avr = avr_make_mcu_by_name(machine);
    if (!avr) {
        die("simavr does not know the machine");
    }
    (void)avr_init(avr);
    avr->frequency = clock_hz;
    avr->sleep = sleep_in_real_time;
    avr_load_firmware(avr, &firmware);
    avr_register_io_write(avr, GPIOR0, on_console, 0);
    return avr;
}

static void connect_uart(avr_t *avr, struct link *link)
{
    // Neither printed, nor slowed down while the program polls.
    uint32_t flags = 0;
    (void)avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(uint32_t)(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POLL_SLEEP);
    (void)avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    uint32_t uart = AVR_IOCTL_UART_GETIRQ('0');
    link->receive = avr_io_getirq(avr, uart, UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUTPUT), on_output, link);
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUT_XON), on_xon, link);
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUT_XOFF), on_xoff, link);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        die("usage: runner MACHINE CLOCK_HZ ELF EEPROM LISTENING_FD");
    }
    avr_global_logger_set(quiet);
    struct link *link = &the_link;
    link->listening = atoi(argv[5]);
    link->takes = 1;
    avr_t *avr = make_chip(argv[1], (uint32_t)atol(argv[2]), argv[3]);
    connect_uart(avr, link);
    if (argv[4][0] != 0) {
        fill_eeprom(avr, argv[4]);
    }
    wait_for_host(link);
    for (uint32_t runs = 0;; runs++) {
        int state = avr_run(avr);
        if (state == cpu_Done || state == cpu_Crashed || avr->pc == 0) {
            flush(link);
            // Asleep with interrupts off, or back at the reset vector by a call of null.
            fputs(state == cpu_Done ? "halted\n" : "fault\n", stderr);
            return 1;
        }
        if (runs >= RUNS_PER_LOOK) {
            runs = 0;
            look(link);
        }
    }
}
