include("${CMAKE_CURRENT_LIST_DIR}/../run.cmake")
fresh_folder("${BINARY_DIR}")
set(prefix "${BINARY_DIR}/prefix")
run("${CMAKE_COMMAND}" -S "${TENON}" -B "${BINARY_DIR}/tenon" "-DCMAKE_CXX_COMPILER=${COMPILER}" -DTENON_BUILD_TESTS=OFF
    -DTENON_BUILD_EXAMPLES=OFF -DTENON_BUILD_BENCH=OFF)
run("${CMAKE_COMMAND}" --install "${BINARY_DIR}/tenon" --prefix "${prefix}")
run("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}" -B "${BINARY_DIR}/consumer" "-DCMAKE_CXX_COMPILER=${COMPILER}"
    "-DCMAKE_PREFIX_PATH=${prefix}")
run("${CMAKE_COMMAND}" --build "${BINARY_DIR}/consumer")
run("${BINARY_DIR}/consumer/program")
