# No build system: the compiler is told where tenon and Eigen are.
include("${CMAKE_CURRENT_LIST_DIR}/../run.cmake")
fresh_folder("${BINARY_DIR}")
run("${COMPILER}" ${FLAGS} "${CMAKE_CURRENT_LIST_DIR}/../main.cpp" -o "${BINARY_DIR}/program")
run("${BINARY_DIR}/program")
