# An application of two files: main.cpp is compiled without a kernel, and without Eigen in reach.
include("${CMAKE_CURRENT_LIST_DIR}/../run.cmake")
fresh_folder("${BINARY_DIR}")
run("${COMPILER}" -std=c++20 "-I${TENON}/include" -c "${CMAKE_CURRENT_LIST_DIR}/main.cpp" -o "${BINARY_DIR}/main.o")
run("${COMPILER}" ${FLAGS} -O1 -c "${CMAKE_CURRENT_LIST_DIR}/model.cpp" -o "${BINARY_DIR}/model.o")
run("${COMPILER}" "${BINARY_DIR}/main.o" "${BINARY_DIR}/model.o" -o "${BINARY_DIR}/program")
run("${BINARY_DIR}/program")
