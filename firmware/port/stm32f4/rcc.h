// STM32F405 and F407: reset and clock control (ST RM0090, section 7).
#ifndef STM32F4_RCC_H
#define STM32F4_RCC_H

#include <stdint.h>

struct rcc {
    volatile uint32_t control;
    volatile uint32_t pll;
    uint32_t reserved0[10];
    volatile uint32_t ahb1_enable;
    volatile uint32_t ahb2_enable;
    uint32_t reserved1[2];
    volatile uint32_t apb1_enable;
    volatile uint32_t apb2_enable;
};

#define RCC ((struct rcc *)0x40023800u)

#endif
