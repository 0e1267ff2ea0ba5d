#ifndef CUTLAYER_OWN_REGISTERS_H
#define CUTLAYER_OWN_REGISTERS_H

// A function of its own: inlined, its pointers go to the stack for want of registers.
#if defined(__GNUC__)
#define CL_OWN_REGISTERS __attribute__((noinline, unused))
#else
#define CL_OWN_REGISTERS
#endif

#endif
