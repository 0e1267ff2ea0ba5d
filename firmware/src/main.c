// One node on one board: the same file for every port.
#include "build_sensor.h"
#include "cutlayer/node.h"
#include "cutlayer_model.h"
#include "secure.h"

#if defined(ARDUINO)
#define main cutlayer_main // the core has a main of its own, which comes here by setup and loop
int main(int argc, char **argv);
#endif

#ifdef CUTLAYER_ENGINE_BYTES
#define TEXT(macro) TEXT_OF(macro)
#define TEXT_OF(value) #value
#define BYTES TEXT(CUTLAYER_ENGINE_BYTES)
#define DOES_NOT_FIT "error: the interpreter needs more than " BYTES ": raise custom_engine_bytes"
#else
#define DOES_NOT_FIT "error: the node does not fit its memory"
#endif

extern const struct cl_model cutlayer_model;

static BUILD_SENSOR sensor;
static struct cl_node node;
static uint64_t node_memory[(BUILD_NODE_BYTES + 7) / 8] __attribute__((aligned(16)));

int main(int argc, char **argv)
{
    struct board *board = board_open(argc, argv);
    if (!board) {
        return 1;
    }
    const struct cl_port *port = &board->port;
    if (build_sensor_open(&sensor, board, &cutlayer_model.head) < 0) {
        port->log(port->context, "error: the sensor does not give what the head takes");
        return 1;
    }
    struct cl_node_config config = {
        .port = port,
        .model = &cutlayer_model,
        .sensor = &sensor.sensor,
        .saver = board->saver,
        .memory = node_memory,
        .memory_bytes = sizeof node_memory,
    };
    if (secure(board, &config) < 0) {
        return 1;
    }
    if (cl_node_init(&node, &config) < 0) {
        port->log(port->context, DOES_NOT_FIT);
        return 1;
    }
    int32_t result;
    do {
        result = board_wait(board, cl_node_step(&node));
    } while (result >= 0);
    return 0;
}
