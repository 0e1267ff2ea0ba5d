*** Comments ***
Boots each board and greets it from a host. Training in Renode: pytest -m renode.
renode-test --variable "FIRMWARE:/folder/of/NAME.elf" boards/renode/boards.robot

*** Variables ***
${FIRMWARE}     ${CURDIR}/../../build/renode
${CUTLAYER}     ${CURDIR}/../../.venv/bin/cutlayer
${PORT}         3456

*** Keywords ***
Should Greet A Host
    [Arguments]        ${board}
    Execute Command    $bin=@${FIRMWARE}/${board}.elf
    Execute Command    $port=${PORT}
    Execute Command    include @${CURDIR}/${board}.resc
    Start Emulation
    ${result}=         Run Process    ${CUTLAYER}    devices    tcp://127.0.0.1:${PORT}    --json    --insecure
    Should Be Equal As Integers       ${result.rc}    0    ${result.stderr}
    # WELCOME has 16 bytes for the name.
    Should Contain     ${result.stdout}    "board": "${board[:16]}"

*** Test Cases ***
STM32F4 Discovery Should Greet A Host
    Should Greet A Host    stm32f4_discovery

nRF52840 DK Should Greet A Host
    Should Greet A Host    nrf52840dk
