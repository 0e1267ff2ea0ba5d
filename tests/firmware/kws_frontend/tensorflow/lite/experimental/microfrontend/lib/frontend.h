// A stand-in for the microfrontend's header: what kws/frontend.h needs of it.
#ifndef FAKE_MICROFRONTEND_H
#define FAKE_MICROFRONTEND_H

#include <stdint.h>

struct complex_int16_t {
    int16_t real;
    int16_t imag;
};

struct FrontendState {
    uint32_t chunks;
};

#endif
