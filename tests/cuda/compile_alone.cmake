# nvcc's front end reads each of HEADERS alone, for the device and for the host.
set(failed 0)
foreach(header IN LISTS HEADERS)
    execute_process(COMMAND "${NVCC}" ${FLAGS} -arch=sm_90a -Werror all-warnings -ptx -include "${header}" -x cu /dev/null
                            -o /dev/null
                    RESULT_VARIABLE result)
    if(result)
        message("${header} does not compile alone")
        math(EXPR failed "${failed} + 1")
    endif()
endforeach()
if(failed)
    message(FATAL_ERROR "${failed} headers do not compile alone")
endif()
