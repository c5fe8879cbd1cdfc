# run(<output variable> <command>...): fails the test where the command fails.
function(run output)
    execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE text ERROR_VARIABLE messages RESULT_VARIABLE result)
    if(NOT result STREQUAL "0")
        message(FATAL_ERROR "${ARGN}: expected exit code 0, got ${result}:\n${text}${messages}")
    endif()
    set(${output} "${text}" PARENT_SCOPE)
endfunction()

# write_text(<path>): a text of a few kilobytes, to train on.
function(write_text path)
    set(content "")
    foreach(i RANGE 1 400)
        math(EXPR square "${i} * ${i} % 97")
        string(APPEND content "In line ${i} the cat number ${square} sat on the mat, and the dog looked on.\n")
    endforeach()
    file(WRITE "${path}" "${content}")
endfunction()
