#define _XOPEN_SOURCE 700
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define LINK_LOST (CL_ERROR_PORT - 1)

static int32_t failed(const char *what, const char *address)
{
    fprintf(stderr, "error: %s %s: %s\n", what, address, strerror(errno));
    return CL_ERROR_PORT;
}

static int set_nonblocking(int descriptor)
{
    return fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
}

static int32_t open_unix(struct listener *listener, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return failed("cannot listen at", path);
    }
    strcpy(address.sun_path, path);
    struct stat before;
    if (stat(path, &before) == 0 && S_ISSOCK(before.st_mode)) {
        (void)unlink(path);
    }
    listener->listening = socket(AF_UNIX, SOCK_STREAM, 0);
    if (listener->listening < 0 ||
        bind(listener->listening, (struct sockaddr *)&address, sizeof address) < 0) {
        return failed("cannot listen at", path);
    }
    snprintf(listener->path, sizeof listener->path, "%s", path);
    snprintf(listener->url, sizeof listener->url, "unix://%s", path);
    return CL_OK;
}

static int32_t name_tcp(struct listener *listener, const char *host)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    char port[16];
    if (getsockname(listener->listening, (struct sockaddr *)&bound, &length) < 0 ||
        getnameinfo((struct sockaddr *)&bound, length, 0, 0, port, sizeof port, NI_NUMERICSERV) !=
            0) {
        return failed("cannot listen at", host);
    }
    const char *format = strchr(host, ':') ? "tcp://[%s]:%s" : "tcp://%s:%s";
    snprintf(listener->url, sizeof listener->url, format, host, port);
    return CL_OK;
}

static int32_t open_tcp(struct listener *listener, const char *address)
{
    char host[LISTENER_URL_BYTES];
    snprintf(host, sizeof host, "%s", address);
    char *colon = strrchr(host, ':');
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = 0;
    errno = EINVAL;
    if (!colon) {
        return failed("HOST:PORT expected, not", address);
    }
    *colon = 0;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        return failed("cannot find", address);
    }
    const int yes = 1;
    listener->listening = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
    int result = listener->listening;
    if (result >= 0) {
        (void)setsockopt(listener->listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        result = bind(listener->listening, found->ai_addr, found->ai_addrlen);
    }
    freeaddrinfo(found);
    return result < 0 ? failed("cannot listen at", address) : name_tcp(listener, host);
}

static int32_t open_pty(struct listener *listener)
{
    struct termios raw;
    listener->host = posix_openpt(O_RDWR | O_NOCTTY);
    if (listener->host < 0 || grantpt(listener->host) < 0 || unlockpt(listener->host) < 0) {
        return failed("cannot open a", "pty");
    }
    const char *name = ptsname(listener->host);
    listener->terminal = name ? open(name, O_RDWR | O_NOCTTY) : -1;
    if (listener->terminal < 0 || tcgetattr(listener->terminal, &raw) < 0) {
        return failed("cannot open a", "pty");
    }
    raw.c_iflag = 0;
    raw.c_oflag = 0;
    raw.c_lflag = 0;
    raw.c_cflag = CS8 | CREAD | CLOCAL;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(listener->terminal, TCSANOW, &raw) < 0 || set_nonblocking(listener->host) < 0) {
        return failed("cannot set up", name);
    }
    snprintf(listener->url, sizeof listener->url, "serial://%s", name);
    return CL_OK;
}

int32_t listener_open(struct listener *listener, const char *address)
{
    memset(listener, 0, sizeof *listener);
    listener->listening = -1;
    listener->host = -1;
    listener->terminal = -1;
    if (strcmp(address, "pty") == 0) {
        return open_pty(listener);
    }
    int32_t result;
    if (strncmp(address, "unix:", 5) == 0) {
        result = open_unix(listener, address + 5);
    } else if (strncmp(address, "tcp:", 4) == 0) {
        result = open_tcp(listener, address + 4);
    } else {
        errno = EINVAL;
        result = failed("tcp:HOST:PORT, unix:PATH or pty expected, not", address);
    }
    if (result < 0) {
        return result;
    }
    if (listen(listener->listening, 1) < 0 || set_nonblocking(listener->listening) < 0) {
        return failed("cannot listen at", address);
    }
    return CL_OK;
}

void listener_close(struct listener *listener)
{
    const int descriptors[] = {listener->listening, listener->host, listener->terminal};
    for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; ++i) {
        if (descriptors[i] >= 0) {
            (void)close(descriptors[i]);
        }
    }
    if (listener->path[0]) {
        (void)unlink(listener->path);
    }
}

void listener_accept(struct listener *listener)
{
    if (listener->host >= 0 || listener->listening < 0) {
        return;
    }
    const int yes = 1;
    listener->host = accept(listener->listening, 0, 0);
    if (listener->host >= 0) {
        listener->write_blocked = 0;
        (void)set_nonblocking(listener->host);
        (void)setsockopt(listener->host, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
}

// The result of read() or write() as struct cl_port wants it. A host that has gone makes room for
// the next.
static int32_t settle(struct listener *listener, ssize_t result)
{
    if (result > 0) {
        return (int32_t)result;
    }
    if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return 0;
    }
    if (listener->listening >= 0) {
        (void)close(listener->host);
        listener->host = -1;
        return LINK_LOST;
    }
    return 0; // a pty has no end while we hold its terminal
}

int32_t listener_read(struct listener *listener, uint8_t *data, uint32_t capacity)
{
    if (listener->host < 0) {
        return LINK_LOST;
    }
    return capacity > 0 ? settle(listener, read(listener->host, data, capacity)) : 0;
}

int32_t listener_write(struct listener *listener, const uint8_t *data, uint32_t count)
{
    if (listener->host < 0) {
        return LINK_LOST;
    }
    if (count == 0) {
        return 0;
    }
    int32_t result = settle(listener, write(listener->host, data, count));
    listener->write_blocked = result >= 0 && (uint32_t)result < count;
    return result;
}
