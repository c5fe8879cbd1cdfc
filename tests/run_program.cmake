# run(<output variable> <command>...): fails the test where the command fails.
function(run output)
    execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE text ERROR_VARIABLE messages RESULT_VARIABLE result)
    if(NOT result STREQUAL "0")
        message(FATAL_ERROR "${ARGN}: expected exit code 0, got ${result}:\n${text}${messages}")
    endif()
    set(${output} "${text}" PARENT_SCOPE)
endfunction()
