// Runs on the computer that builds: the memory that a node needs for the bundle's model and a
// sensor that needs none, so that the linker can plan it.
#include <stdio.h>

#include "cutlayer/engine.h"
#include "cutlayer/node.h"

// An interpreted head names its engine, which is not for this computer.
const struct cl_engine cutlayer_engine = {0};
extern const struct cl_model cutlayer_model;

int main(void)
{
    printf("%lu\n", (unsigned long)cl_node_bytes(&cutlayer_model, 0));
    return 0;
}
