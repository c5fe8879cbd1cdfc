# Compiles SOURCE with COMPILER and FLAGS, with its mistake.
if(NOT COMPILER)
    message("skipped: the compiler is not there")
    return()
endif()

file(STRINGS "${SOURCE}" expected LIMIT_COUNT 1)
if(NOT expected MATCHES "^// first line: (.+)$")
    message(FATAL_ERROR "${SOURCE} does not begin with '// first line: ' and a regular expression")
endif()
set(expected "${CMAKE_MATCH_1}")

set(mode -fsyntax-only)
if(COMPILER MATCHES "nvcc")
    set(mode -x cu --cuda -o /dev/null)
endif()

execute_process(COMMAND "${COMPILER}" ${FLAGS} ${mode} -DTENON_CONTROL=0 "${SOURCE}"
                RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result)
    message(FATAL_ERROR "${SOURCE} compiles")
endif()
string(REGEX MATCH "[^\n]*error[^\n/]*: [^\n]*" line "${output}")
if(NOT line MATCHES "${expected}")
    message(FATAL_ERROR "expected in the first error line: ${expected}\ngot: ${line}\n${output}")
endif()
message("${line}")
