// What the STM32F4 port writes to its registers, which are memory of this process: a line each.
// The clock's ready flag is as a chip has it after reset.
#define _DEFAULT_SOURCE
#include "stm32f4/chip.c"

#include "registers.h"

int main(void)
{
    struct chip chip = {0};
    map(0x40000000);
    map((unsigned long)USART & ~0xFFFul);
    map(0x40020000);
    map(0x40023000);
    RCC->control = 0x83;
    GPIOA->mode = 0xA8000000; // the debugger's pins, as after reset
    GPIOA->pull = 0x64000000;
    chip_open(&chip);
    printf("ticks %u\nsysticks %u\n", chip.ticks_per_ms, chip.systicks_per_ms);
    printf("semihosting %u\n", chip.has_semihosting);
    printf("prescaler %u\ncounts %u\n", TIM2->prescaler, TIM2->control1);
    printf("divider %u\ncontrol %x\n", USART->divider, USART->control1);
    printf("mode %x\npull %x\n", GPIOA->mode, GPIOA->pull);
    printf("alternate %x %x\n", GPIOA->alternate[0], GPIOA->alternate[1]);
    printf("enabled %x %x %x\n", RCC->ahb1_enable, RCC->apb1_enable, RCC->apb2_enable);
    return 0;
}
