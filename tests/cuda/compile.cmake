# Compiles SOURCE with NVCC and FLAGS, and sees that Eigen is not in it.
execute_process(COMMAND "${NVCC}" ${FLAGS} -M "${SOURCE}" OUTPUT_VARIABLE dependencies COMMAND_ERROR_IS_FATAL ANY)
if(dependencies MATCHES "[^ \n]*/Eigen/[^ \n]*")
    message(FATAL_ERROR "${SOURCE} includes ${CMAKE_MATCH_0}")
endif()
execute_process(COMMAND "${NVCC}" ${FLAGS} -Werror all-warnings -c "${SOURCE}" -o "${SOURCE}.o"
                COMMAND_ERROR_IS_FATAL ANY)
