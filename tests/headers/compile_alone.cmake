# Compiles each of HEADERS alone, with COMPILER and FLAGS.
set(failed 0)
foreach(header IN LISTS HEADERS)
    execute_process(COMMAND "${COMPILER}" ${FLAGS} -Wall -Wextra -Wpedantic -Werror -fsyntax-only -include "${header}" -x c++ /dev/null
                    RESULT_VARIABLE result)
    if(result)
        message("${header} does not compile alone")
        math(EXPR failed "${failed} + 1")
    endif()
endforeach()
if(failed)
    message(FATAL_ERROR "${failed} headers do not compile alone")
endif()
