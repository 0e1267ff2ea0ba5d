// What the integers make of floats on an AVR, against tables in float_cases.h (generated):
// quotients, and multipliers of three scales. Says "wrong" and its number for each that differs,
// and "done".
#include <avr/pgmspace.h>

#include "float_bits.h"
#include "float_cases.h"

void say(const char *text);
int main(void);

static float number(const uint32_t *place)
{
    const uint32_t bits = pgm_read_dword(place);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void wrong(const char *what, uint16_t index)
{
    char text[] = "00000\n";
    for (int8_t i = 4; i >= 0; i--, index /= 10u) {
        text[i] = (char)('0' + index % 10u);
    }
    say("wrong ");
    say(what);
    say(text);
}

int main(void)
{
    for (uint16_t i = 0; i < QUOTIENT_COUNT; i++) {
        const float x = number(&quotients[i][0]), y = number(&quotients[i][1]);
        if (cl_float_bits(cl_divide(x, y)) != pgm_read_dword(&quotients[i][2])) {
            wrong("quotient ", i);
        }
    }
    for (uint16_t i = 0; i < MULTIPLIER_COUNT; i++) {
        const uint32_t *row = multipliers[i];
        int32_t multiplier = -1;
        int8_t shift = -1;
        const int32_t result = cl_quantize_multiplier(number(row), number(row + 1), number(row + 2),
                                                      &multiplier, &shift);
        const int32_t expected = (int32_t)pgm_read_dword(row + 3);
        if (result < 0 ? expected != -1
                       : multiplier != expected || shift != (int8_t)pgm_read_dword(row + 4)) {
            wrong("multiplier ", i);
        }
    }
    say("done\n");
    return 0;
}
