#include "secure.h"

#include "cutlayer_build.h"

#if !CUTLAYER_INSECURE
#include "guard/guard_monocypher.h"
#endif

#if CUTLAYER_INSECURE
int32_t secure(const struct board *board, struct cl_node_config *config)
{
    (void)config;
    board->port.log(board->port.context, "WARNING: CUTLAYER_INSECURE: no keys, all is plain");
    return CL_OK;
}
#else
static void set_key(void *context, const uint8_t *device_id, const uint8_t *key)
{
    guard_monocypher_set_key(context, device_id, key);
}

int32_t secure(const struct board *board, struct cl_node_config *config)
{
    static struct guard_monocypher monocypher;
    static struct cl_guard guard;
    static struct cl_keys keys;
    const struct cl_port *port = &board->port;
    const struct guard_config guard_config = {CL_LINK_BOARD, port->random, port->context};
    const struct cl_keys_config keys_config = {board->storage, set_key, &monocypher};
    uint8_t drawn;
    if (!board->storage || guard_monocypher_init(&monocypher, &guard_config) < 0 ||
        port->random(port->context, &drawn, sizeof drawn) < 0) {
        port->log(port->context, "error: without storage and a source of randomness there are no "
                                 "keys; build this board's firmware with CUTLAYER_INSECURE");
        return CL_ERROR_KEY;
    }
    const int32_t has_key = cl_keys_open(&keys, &keys_config);
    if (has_key < 0) {
        port->log(port->context, "error: the storage has no room for a key, or fails");
        return has_key;
    }
    if (!has_key) {
        port->log(port->context, "no key yet: cutlayer provision");
    }
    guard = guard_monocypher(&monocypher);
    config->guard = &guard;
    config->keys = &keys;
    return CL_OK;
}
#endif
