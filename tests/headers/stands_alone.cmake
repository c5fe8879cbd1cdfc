# stands_alone.cmake: -DCOMPILER=<compiler> -DFLAGS=<list> -DHEADER=<header> -DFOREIGN=<regular expression>
# Fails where the header includes a file whose path matches.
file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/stands_alone.cpp" "#include <${HEADER}>\n")
execute_process(COMMAND "${COMPILER}" ${FLAGS} -M "${CMAKE_CURRENT_BINARY_DIR}/stands_alone.cpp"
                OUTPUT_VARIABLE included COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^ \n\\]+" included "${included}")
list(FILTER included INCLUDE REGEX "${FOREIGN}")
if(included)
    message(FATAL_ERROR "expected ${HEADER} to include no ${FOREIGN}, got ${included}")
endif()
