// Error codes. Public functions return int32_t: >= 0 is a useful number, < 0 is one of these.
// A port's or a sensor's own negative codes pass through unchanged; keep them below CL_ERROR_PORT.
#ifndef CUTLAYER_ERROR_H
#define CUTLAYER_ERROR_H

#include <stdint.h>

#if defined(CL_CHECK_RESULT)
// given by the build
#elif defined(__GNUC__)
#define CL_CHECK_RESULT __attribute__((warn_unused_result))
#else
#define CL_CHECK_RESULT
#endif

enum cl_error {
    CL_OK = 0,
    CL_ERROR_ARGUMENT = -1,  // a caller passed something it never may
    CL_ERROR_MEMORY = -2,    // the caller's buffer is too small
    CL_ERROR_FRAME = -3,     // bytes that are no frame: bad COBS, bad CRC-32, too long
    CL_ERROR_LENGTH = -4,    // a message shorter or longer than its kind says
    CL_ERROR_KIND = -5,      // a message of unknown kind
    CL_ERROR_VALUE = -6,     // a field outside its range, a float that is not finite
    CL_ERROR_STATE = -7,     // a message that the present state does not take
    CL_ERROR_STEP = -8,      // a step that is neither the last nor the next one
    CL_ERROR_SAMPLE = -9,    // a sample number that is not the pending one
    CL_ERROR_SENSOR = -10,   // the sensor has no such recording or failed
    CL_ERROR_OVERFLOW = -11, // the gradient accumulator could overflow
    CL_ERROR_CLOSED = -12,   // the link is not connected
    CL_ERROR_STORAGE = -13,  // there is no storage, it failed, or it is too small
    CL_ERROR_KEY = -14,      // only with a key, or not with this one
    CL_ERROR_LIMIT = -15,    // beyond what the board lets a host do
    CL_ERROR_PORT = -128,    // codes below this belong to the port or the sensor
};

#endif
