# count_lines.cmake: -DCOMPILER=<compiler> -DFLAGS=<list> -DHEADER=<header> -DMOST=<lines>
# Fails where the header has more lines than that once preprocessed.
file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/count_${MOST}.cpp" "#include <${HEADER}>\n")
execute_process(COMMAND "${COMPILER}" ${FLAGS} -E "${CMAKE_CURRENT_BINARY_DIR}/count_${MOST}.cpp"
                OUTPUT_FILE "${CMAKE_CURRENT_BINARY_DIR}/count_${MOST}.ii" COMMAND_ERROR_IS_FATAL ANY)
file(STRINGS "${CMAKE_CURRENT_BINARY_DIR}/count_${MOST}.ii" lines REGEX "." ENCODING UTF-8)
list(LENGTH lines count)
message("${HEADER}: ${count} lines, at most ${MOST}")
if(count LESS 1000 OR count GREATER MOST)
    message(FATAL_ERROR "expected at most ${MOST} lines, got ${count}")
endif()
