*** Comments ***
Boots the firmware and greets it from a host. Training in Renode: pytest -m renode.
renode-test --variable FIRMWARE:/path/to/firmware.elf boards/renode/stm32f4_discovery.robot

*** Variables ***
${FIRMWARE}     ${CURDIR}/../../build/renode/firmware.elf
${CUTLAYER}     cutlayer
${PORT}         3456

*** Test Cases ***
Should Greet A Host
    Execute Command    $bin=@${FIRMWARE}
    Execute Command    $port=${PORT}
    Execute Command    include @${CURDIR}/stm32f4_discovery.resc
    Start Emulation
    ${result}=         Run Process    ${CUTLAYER}    devices    tcp://127.0.0.1:${PORT}    --json
    Should Be Equal As Integers       ${result.rc}    0    ${result.stderr}
    Should Contain     ${result.stdout}    "board": "stm32f4_discovery"
